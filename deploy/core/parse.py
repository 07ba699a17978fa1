"""From an inventory's plain data to an `Estate`, or to one error that names every mistake.

Nothing is asked of any host here: whatever is wrong in an inventory is known before a host is
changed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from backup import settings as daemon_settings
from backup.errors import SettingsError
from backup.settings import Settings
from deploy.core.backuphost import completed_settings
from deploy.core.consistency import contradictions
from deploy.core.model import (
    DAEMON_METRICS_PORT,
    BackupHost,
    DatabaseServer,
    Estate,
    Host,
    Replica,
    Site,
)
from deploy.core.types import Declared, endpoint

DATABASE_SERVERS: Final = "database_servers"
REPLICAS: Final = "replicas"
BACKUP_HOSTS: Final = "backup_hosts"
HINT: Final = (
    "docs/provisioning.md lists what an inventory may say; inventories/example.py shows it"
)

_HOST_KEYS: Final = frozenset({"hostname", "address", "tls_names", "openings"})
_KEYS: Final = _HOST_KEYS | {"site", "database_server", "backup_host", "primary"}
_GROUPS: Final = (DATABASE_SERVERS, REPLICAS, BACKUP_HOSTS)
# Of a server's table, what follows from the rest of the inventory.
_FOLLOWING: Final = {
    "is_monitored": "site.monitoring",
    "has_replicas": "the hosts of the group replicas",
}
# pyinfra's own: how to connect, and its global arguments.
_PYINFRA_PREFIXES: Final = ("ssh_", "_")
_NOWHERE: Final = Path("/nonexistent/strongroom.toml")

_Value = TypeVar("_Value", bound=Declared)


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryHost:
    """A host as the inventory has it: its name there, its groups, its data."""

    name: str
    groups: frozenset[str]
    data: Mapping[str, Any]


class _Problems:
    """What is wrong so far."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def make(self, kind: type[_Value], place: str, data: Mapping[str, Any]) -> _Value | None:
        """Return the value, or note why there is none."""
        try:
            return kind.model_validate(dict(data))
        except ValidationError as error:
            self.found += [f"{place}{problem}" for problem in _sentences(error)]
            return None


def parse_estate(hosts: Iterable[InventoryHost]) -> Estate:
    """Return what an inventory declares. Raises `SettingsError` with every mistake there is."""
    problems = _Problems()
    sites: list[tuple[str, Any]] = []
    members: dict[str, list[InventoryHost]] = {group: [] for group in _GROUPS}
    for host in hosts:
        problems.found += _unknown_keys(host)
        sites.append((host.name, host.data.get("site")))
        if (group := _group(host, problems)) is not None:
            members[group].append(host)
    copied = [host.data.get("primary") for host in members[REPLICAS]]
    made = (_server(host, copied, problems) for host in members[DATABASE_SERVERS])
    servers = tuple(server for server in made if server is not None)
    # What a replica is, and where a backup host connects to, follows from the servers.
    copies = (_replica(host, members, servers, problems) for host in members[REPLICAS])
    found = (_backup_host(host, servers, problems) for host in members[BACKUP_HOSTS])
    replicas = tuple(one for one in copies if one is not None)
    backup_hosts = tuple(one for one in found if one is not None)
    site = _site(sites, problems)
    if site is not None and not problems.found:
        estate = Estate(site=site, servers=servers, replicas=replicas, backup_hosts=backup_hosts)
        problems.found += contradictions(estate)
        if not problems.found:
            return estate
    raise SettingsError("inventory: " + "; ".join(problems.found), hint=HINT)


def _group(host: InventoryHost, problems: _Problems) -> str | None:
    found = [group for group in _GROUPS if group in host.groups]
    if len(found) != 1:
        where = f"in both of {' and '.join(found)}" if found else "in none"
        problems.found.append(f"{host.name} is {where} of the groups {', '.join(_GROUPS)}")
        return None
    return found[0]


def _unknown_keys(host: InventoryHost) -> Iterator[str]:
    if "primary" in host.data and REPLICAS not in host.groups:
        yield f"{host.name}: primary goes with hosts of the group {REPLICAS}"
    for key in host.data:
        if key not in _KEYS and not key.startswith(_PYINFRA_PREFIXES):
            yield f"{host.name}: {key} is not a setting (known: {', '.join(sorted(_KEYS))})"


def _site(given: list[tuple[str, Any]], problems: _Problems) -> Site | None:
    if not given:
        problems.found.append("there is no host")
        return None
    name, table = given[0]
    if not isinstance(table, Mapping):
        problems.found.append(f"{name}: site is missing (a table in the inventory's group data)")
        return None
    for other, other_table in given[1:]:
        if other_table != table:
            problems.found.append(f"{name} and {other} are declared to be of different sites")
    return problems.make(Site, "site.", table)


def _host(host: InventoryHost) -> dict[str, Any]:
    table = {key: host.data[key] for key in _HOST_KEYS - {"hostname"} if key in host.data}
    # `host.name` may carry a connector's prefix: what it calls itself is always said.
    if "hostname" in host.data:
        table["name"] = host.data["hostname"]
    return table


def _server(host: InventoryHost, copied: list[Any], problems: _Problems) -> DatabaseServer | None:
    table = _table(host, "database_server", problems)
    for key in sorted(_FOLLOWING.keys() & table.keys()):
        problems.found.append(f"{host.name}: {key} follows from {_FOLLOWING[key]}")
    table["is_monitored"] = _is_monitored(host)
    table["has_replicas"] = host.data.get("hostname") in copied
    return problems.make(DatabaseServer, f"{host.name}: ", table | {"host": _host(host)})


def _replica(
    host: InventoryHost,
    members: Mapping[str, list[InventoryHost]],
    servers: tuple[DatabaseServer, ...],
    problems: _Problems,
) -> Replica | None:
    primary = host.data.get("primary")
    own = problems.make(Host, f"{host.name}: host.", _host(host))
    if primary is None:
        problems.found.append(f"{host.name}: primary is missing: the hostname of what it copies")
        return None
    homes = [one for one in members[DATABASE_SERVERS] if one.data.get("hostname") == primary]
    if not homes:
        is_copy = any(one.data.get("hostname") == primary for one in members[REPLICAS])
        why = "a replica itself" if is_copy else f"no host of the group {DATABASE_SERVERS}"
        problems.found.append(f"{host.name}: its primary {primary} is {why}")
        return None
    problems.found += _unlike(host, homes[0])
    server = next((one for one in servers if one.host.name == primary), None)
    if server is None or own is None:
        return None  # told as a mistake of the one or the other
    return Replica(primary=server.host.name, server=server.model_copy(update={"host": own}))


def _unlike(host: InventoryHost, primary: InventoryHost) -> Iterator[str]:
    """Yield in what a replica is declared to be something else than its primary."""
    given, copied = (one.data.get("database_server") for one in (host, primary))
    if not isinstance(given, Mapping) or not isinstance(copied, Mapping):
        return  # a replica need not say it again
    majors = [
        table["package"].get("major") if isinstance(table.get("package"), Mapping) else None
        for table in (given, copied)
    ]
    if majors[0] != majors[1]:
        yield (
            f"{host.name}: a replica has the major of its primary {primary.name}: {majors[1]},"
            f" not {majors[0]}"
        )
        return
    keys = sorted(key for key in given.keys() | copied.keys() if given.get(key) != copied.get(key))
    if keys:
        yield (
            f"{host.name}: database_server says something else than that of its primary"
            f" {primary.name} ({', '.join(keys)}): a replica is what its primary is"
        )


def _backup_host(
    host: InventoryHost, servers: tuple[DatabaseServer, ...], problems: _Problems
) -> BackupHost | None:
    table = _table(host, "backup_host", problems)
    given = table.get("settings")
    table["settings"] = completed_settings(
        dict(given) if isinstance(given, Mapping) else {},
        servers,
        listen=_listen(host) if _is_monitored(host) else None,
    )
    try:
        table["parsed"] = daemon_defaults(table["settings"])
    except SettingsError as error:
        problems.found.append(f"{host.name}: backup_host.{error.message}")
        problems.make(Host, f"{host.name}: host.", _host(host))
        return None
    return problems.make(BackupHost, f"{host.name}: ", table | {"host": _host(host)})


def _is_monitored(host: InventoryHost) -> bool:
    site = host.data.get("site")
    return isinstance(site, Mapping) and bool(site.get("monitoring"))


def _listen(host: InventoryHost) -> str | None:
    try:
        address = ipaddress.ip_address(str(host.data.get("address")))
    except ValueError:
        return None  # told as a mistake of the host
    return endpoint(address, DAEMON_METRICS_PORT)


def daemon_defaults(table: Mapping[str, Any]) -> Settings:
    """Return what the daemon makes of a settings file with this table, and nothing around it."""
    return daemon_settings.load(
        environment={}, is_root=True, config=_NOWHERE, config_may_be_missing=True, overrides=table
    )


def _table(host: InventoryHost, key: str, problems: _Problems) -> dict[str, Any]:
    table = host.data.get(key)
    if isinstance(table, Mapping):
        return {f"{name}": value for name, value in table.items()}
    problems.found.append(f"{host.name}: {key} is missing (a table)")
    return {}


def _sentences(error: ValidationError) -> Iterator[str]:
    # What was given is left out: it might be a secret that somebody put in the wrong place.
    for item in error.errors(include_url=False, include_input=False):
        place = ".".join(str(step) for step in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        yield f"{place}: {message}" if place else message
