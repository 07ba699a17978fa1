"""Where keys, certificates and secrets lie, on the operator's machine and on the hosts.

On the operator's machine (`Site.pki_directory`), as `strongroom host pki` makes it:

    server-ca.crt client-ca.crt           what clients and servers trust; during a change of the
                                          CA, the old and the new one after another
    hosts/<host>/server.crt server.key    one server key a host
    clients/<role>@<host>.crt .key        one client key for a role on a host; its common name is
                                          the role
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERVER_CA: Final = "server-ca.crt"
CLIENT_CA: Final = "client-ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its private key, as files."""

    certificate: Path
    key: Path


def server_pair(pki_directory: Path, host: str) -> KeyPair:
    """Return the files of a host's server certificate."""
    place = pki_directory / "hosts" / host
    return KeyPair(certificate=place / "server.crt", key=place / "server.key")


def client_pair(pki_directory: Path, role: str, host: str) -> KeyPair:
    """Return the files of the client certificate of a role on a host."""
    place = pki_directory / "clients"
    name = f"{role}@{host}"
    return KeyPair(certificate=place / f"{name}.crt", key=place / f"{name}.key")


def password_file(secrets_directory: Path, role: str) -> Path:
    """Return the file with a role's password: one line."""
    return secrets_directory / "passwords" / role


def credential_file(secrets_directory: Path, name: str) -> Path:
    """Return the file of a credential of the daemon (`notify-urls`, `dsn-portal`)."""
    return secrets_directory / "credentials" / name


def replica_certificates(cluster_directory: str) -> dict[str, str]:
    """Return where a replica has what it comes in to its primary with, by libpq's options."""
    place = f"{cluster_directory}/tls"
    return {
        "sslrootcert": f"{place}/server-ca.crt",
        "sslcert": f"{place}/replica.crt",
        "sslkey": f"{place}/replica.key",
    }


def host_certificates(cluster_directory: str) -> dict[str, str]:
    """Return where a database host has them, by the setting that names each."""
    place = f"{cluster_directory}/tls"
    return {
        "ssl_cert_file": f"{place}/server.crt",
        "ssl_key_file": f"{place}/server.key",
        "ssl_ca_file": f"{place}/client-ca.crt",
    }
