"""pg_hba.conf: the whole list that follows from a declaration, linted, and as text.

The server takes the first line that fits a connection and no other (PostgreSQL manual, "The
pg_hba.conf File"): so a line that an earlier one covers is dead, and one that an earlier one
overlaps means something else than it says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from deploy.core.access import ADMINISTRATION, ALL, REPLICATION, AccessRule
from deploy.core.model import MONITORING_ROLE, REPLICATION_ROLE, DatabaseServer, Estate
from deploy.core.types import ADMINISTRATOR, Address, Network, network_of

Rules: TypeAlias = tuple[AccessRule, ...]

# More than this is not a network that somebody means; a /16 has 65,536 addresses.
_WIDEST: Final = {4: 16, 6: 48}
_EVERYWHERE: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
# Nobody is an administrator from afar, whatever else is declared.
_NO_REMOTE_ADMINISTRATOR: Final = tuple(
    AccessRule(databases=(database,), roles=(ADMINISTRATOR,), address=network, method="reject")
    for network in _EVERYWHERE
    for database in (ALL, REPLICATION)
)
_EXPORTER: Final = AccessRule(
    type="local",
    databases=("postgres",),
    roles=(MONITORING_ROLE.name,),
    method="peer",
    comment="PostgreSQL's exporter for Prometheus, from the host itself",
)
_HEADER: Final = """\
# Made by `strongroom host apply` out of the inventory: what is changed here is found by
# `strongroom host plan` and undone by the next apply. The first line that fits a connection counts.
"""
# `all` covers no replication; `host` covers connections with and without TLS.
_END: Final = """\
# Whatever was not admitted above.
local   all          all  reject
local   replication  all  reject
host    all          all  all  reject
host    replication  all  all  reject
"""


def effective_rules(estate: Estate, server: DatabaseServer) -> Rules:
    """Return every rule of a server in order, but for the rejects that end every list."""
    return (
        ADMINISTRATION,
        *_NO_REMOTE_ADMINISTRATOR,
        *((_EXPORTER,) if server.is_monitored else ()),
        *_backup_rules(estate, server),
        *_replication_rules(estate, server),
        *server.access_rules,
    )


def _backup_rules(estate: Estate, server: DatabaseServer) -> Iterator[AccessRule]:
    # A backup of a replica lacks the rows of unlogged tables: nobody takes one by mistake.
    if server.backup is None or estate.replica(server.host.name) is not None:
        return
    # pg_dumpall reads the roles out of the database `postgres`.
    databases = dict.fromkeys((*(database.name for database in server.databases), "postgres"))
    for backup_host in estate.backup_hosts:
        yield AccessRule(
            databases=tuple(databases),
            roles=(server.backup.role,),
            address=network_of(backup_host.host.address),
            method="cert",
            comment=f"backups by {backup_host.host.name}",
        )


def _replication_rules(estate: Estate, server: DatabaseServer) -> Iterator[AccessRule]:
    for replica in estate.replicas_of(server.host.name):
        yield AccessRule(
            databases=(REPLICATION,),
            roles=(REPLICATION_ROLE.name,),
            address=network_of(replica.host.address),
            method="cert",
            comment=f"replica {replica.host.name}",
        )


def lint(rules: Sequence[AccessRule], superusers: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return what is wrong with a list of rules, one sentence each; none if nothing is.

    `superusers` are the declared roles that nobody may be from afar, beside the administrator.
    """
    found: list[str] = []
    if not _administrator_gets_in(rules):
        found.append("the administrator is locked out: no local peer rule for it comes first")
    for position, rule in enumerate(rules):
        found += _wide(rule)
        found += _administers_from_afar(rule, superusers)
        for earlier in rules[:position]:
            if covers(earlier, rule):
                found.append(f"{text(rule)}: never counts, since {text(earlier)} comes before it")
                break
            if _differ(earlier, rule) and overlap(earlier, rule):
                found.append(
                    f"{text(rule)}: overlaps {text(earlier)}, which asks for another method"
                )
                break
    return tuple(found)


def first_match(
    rules: Sequence[AccessRule], *, database: str, role: str, address: Address | None
) -> AccessRule | None:
    """Return the rule that a connection is judged by: over TLS, or the socket without `address`."""
    for rule in rules:
        is_here = address is None if rule.address is None else _is_in(address, rule.address)
        if is_here and _names(rule.databases, database) and _names(rule.roles, role):
            return rule
    return None


def covers(one: AccessRule, other: AccessRule) -> bool:
    """Whether every connection that `other` fits is fitted by `one`."""
    return (
        one.type == other.type
        and _hold(one.databases, other.databases, except_for=REPLICATION)
        and _hold(one.roles, other.roles)
        and _network_holds(one.address, other.address)
    )


def overlap(one: AccessRule, other: AccessRule) -> bool:
    """Whether there is a connection that fits both."""
    if one.type != other.type or not _share(one.roles, other.roles):
        return False
    if not _share(one.databases, other.databases, except_for=REPLICATION):
        return False
    return _network_holds(one.address, other.address) or _network_holds(other.address, one.address)


def render(rules: Sequence[AccessRule]) -> str:
    """Return the file: the rules, then the rejects that end every list."""
    lines = [_HEADER]
    for rule in rules:
        lines.append(f"# {rule.comment}\n" if rule.comment else "")
        lines.append(f"{text(rule)}\n")
    return "".join([*lines, _END])


def text(rule: AccessRule) -> str:
    """Return a rule as its line."""
    fields = [rule.type, _quoted(rule.databases, ALL, REPLICATION), _quoted(rule.roles, ALL)]
    if rule.address is not None:
        fields.append(str(rule.address))
    fields.append(rule.method)
    if rule.certificate:
        fields.append("clientcert=verify-full")
    return " ".join(fields)


def _quoted(names: Sequence[str], *keywords: str) -> str:
    # Quoted, a name is a name: `"all"` would be the database of that name, `"+x"` no group.
    return ",".join(name if name in keywords else f'"{name}"' for name in names)


def _administrator_gets_in(rules: Sequence[AccessRule]) -> bool:
    rule = first_match(rules, database=ADMINISTRATOR, role=ADMINISTRATOR, address=None)
    return rule is not None and rule.admits_administrator()


def _wide(rule: AccessRule) -> Iterator[str]:
    if rule.address is None or rule.method == "reject":
        return
    widest = _WIDEST[rule.address.version]
    if rule.address.prefixlen < widest:
        yield f"{text(rule)}: {rule.address} is wider than /{widest}"


def _administers_from_afar(rule: AccessRule, superusers: frozenset[str]) -> Iterator[str]:
    if rule.type == "local" or rule.method == "reject":
        return
    if rule.roles == (ALL,) and rule.databases == (ALL,):
        yield f"{text(rule)}: admits everybody to everything"
    elif rule.roles == (ALL,) and superusers:
        yield f"{text(rule)}: admits superusers from afar ({', '.join(sorted(superusers))})"
    for name in sorted({ADMINISTRATOR, *superusers} & set(rule.roles)):
        yield f"{text(rule)}: admits the superuser {name} from afar"


def _differ(one: AccessRule, other: AccessRule) -> bool:
    # To reject a few first and admit the rest after is how exceptions are written.
    if one.method == "reject":
        return False
    return (one.method, one.certificate) != (other.method, other.certificate)


def _names(names: Sequence[str], name: str) -> bool:
    return name in names or (names == (ALL,) and name != REPLICATION)


def _hold(one: Sequence[str], other: Sequence[str], except_for: str = "") -> bool:
    return set(other) <= set(one) or (ALL in one and except_for not in other)


def _share(one: Sequence[str], other: Sequence[str], except_for: str = "") -> bool:
    if set(one) & set(other):
        return True
    return (ALL in one and set(other) != {except_for}) or (
        ALL in other and set(one) != {except_for}
    )


def _is_in(address: Address | None, network: Network) -> bool:
    return address is not None and address.version == network.version and address in network


def _network_holds(one: Network | None, other: Network | None) -> bool:
    if one is None or other is None:
        return one is other
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return other.subnet_of(one)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return other.subnet_of(one)
    return False
