"""What a backup host's files say, as it follows from what is declared."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

from deploy.core import toml
from deploy.core.model import BackupHost, DatabaseServer, Estate
from deploy.core.types import Address

HOME: Final = "/var/lib/strongroom"
PROGRAMS: Final = "/opt/strongroom"
CONFIGURATION: Final = "/etc/strongroom"
CREDENTIALS: Final = f"{CONFIGURATION}/credentials"
KEYS: Final = f"{CONFIGURATION}/tls"
SETTINGS_FILE: Final = f"{CONFIGURATION}/strongroom.toml"
REPORTS: Final = f"{HOME}/reports"
_HEADER: Final = """\
# Made by `strongroom host apply` out of the inventory: what is changed here is found by
# `strongroom host plan` and undone by the next apply.
"""


def completed_settings(
    table: dict[str, Any], servers: tuple[DatabaseServer, ...], *, listen: str | None = None
) -> dict[str, Any]:
    """Return the daemon's table with the connection of every database that has none of its own.

    It is the one of the server that declares a database of that name, over TLS, as the backup
    role, by the certificate that is placed on the host. Its metrics are served on `listen`.
    """
    databases = table.get("databases")
    done = {"state_directory": HOME} | table
    if listen is not None and "monitoring" not in table:
        done["monitoring"] = {"listen": listen}
    if not isinstance(databases, dict):
        return done
    done["databases"] = {name: _with_dsn(name, given, servers) for name, given in databases.items()}
    return done


def _with_dsn(name: str, given: Any, servers: tuple[DatabaseServer, ...]) -> Any:  # noqa: ANN401
    homes = [one for one in servers if any(name == database.name for database in one.databases)]
    if not isinstance(given, dict) or "dsn" in given or len(homes) != 1:
        return given
    server = homes[0]
    return {"dsn": dsn(server, name), **given} if server.backup is not None else given


def dsn(server: DatabaseServer, database: str) -> str:
    """Return how a backup host reaches a database: it holds no password."""
    assert server.backup is not None
    role = server.backup.role
    options = urlencode(
        {
            "sslmode": "verify-full",
            "sslrootcert": f"{KEYS}/server-ca.crt",
            "sslcert": f"{KEYS}/{role}.crt",
            "sslkey": f"{KEYS}/{role}.key",
            "ssl_min_protocol_version": "TLSv1.3",
        },
        safe="/",
    )
    place = f"{server.host.name}:{server.port}/{quote(database)}"
    return f"postgresql://{quote(role)}@{place}?{options}"


def settings_text(declared: BackupHost) -> str:
    """Return the daemon's settings file."""
    return _HEADER + toml.render(declared.settings)


def repository_directory(declared: BackupHost) -> str | None:
    """Return the directory of a repository on the host itself; None for a bucket."""
    place = declared.parsed.repository or ""
    return place if place.startswith("/") else None


def allowed_addresses(estate: Estate) -> tuple[Address, ...]:
    """Return the database servers' addresses: all that the daemon talks to, but for buckets."""
    return tuple(server.host.address for server in estate.servers)


def unit_text(declared: BackupHost, template: str) -> str:
    """Return the daemon's unit: the template, with this host's user, places and credentials."""
    repository = repository_directory(declared)
    writable = f"ReadWritePaths={repository}\n" if repository else ""
    loaded = "".join(
        f"LoadCredential={name}:{CREDENTIALS}/{name}\n" for name in declared.credentials
    )
    return template.replace("@USER@", declared.user).replace("@PLACES@\n", writable + loaded)
