"""How a replica comes in to its primary, and what makes a copy of a server one: pure.

Over TLS 1.3, as a role that may do nothing else, by the certificate of its host: there is no
password anywhere. Its replication slot keeps the write-ahead log for it while it is away, up to
`max_slot_wal_keep_size`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deploy.core.layout import replica_certificates
from deploy.core.model import REPLICATION_ROLE, DatabaseServer, Replica
from deploy.core.tuning import Tuned

# What else may lie beside a data directory: a copy that is not whole yet.
UNFINISHED: Final = "strongroom-new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a data directory holds. `system` and `primary` are system identifiers, if known."""

    is_empty: bool
    is_standby: bool = False
    system: str = ""
    primary: str = ""


def data_in_the_way(holding: Holding, primary: str) -> str:
    """Return why a replica can't be what a data directory holds; empty if nothing is in the way.

    While the primary does not answer, a standby is taken for one of its own: it is left alone.
    """
    if holding.is_empty:
        return ""
    if not holding.is_standby:
        return (
            f"holds the data of a server that is no standby, and is left as it is: a replica of"
            f" {primary} needs it empty (docs/runbooks/add-a-replica.md)"
        )
    if not holding.system:
        return "holds a standby of which nobody can tell whose it is, and is left as it is"
    if holding.primary not in {"", holding.system}:
        return (
            f"holds a standby of another server than {primary} (system {holding.system}, not"
            f" {holding.primary}), and is left as it is (docs/runbooks/add-a-replica.md)"
        )
    return ""


def connection(replica: Replica, primary: DatabaseServer) -> str:
    """Return libpq's options for coming in to the primary: nothing in them needs quoting.

    The address is the declared one, and the certificate has to vouch for the name.
    """
    options = {
        "host": primary.host.name,
        "hostaddr": primary.host.address,
        "port": primary.port,
        "user": REPLICATION_ROLE.name,
        "application_name": replica.host.name,
        "connect_timeout": 10,
        "gssencmode": "disable",
        "sslmode": "verify-full",
        "ssl_min_protocol_version": "TLSv1.3",
        **replica_certificates(replica.server.configuration_directory),
    }
    return " ".join(f"{name}={value}" for name, value in options.items())


def standby_settings(replica: Replica, primary: DatabaseServer) -> tuple[Tuned, ...]:
    """Return what a replica is told beside what its primary is told.

    Only what a reload takes back: a replica that is promoted is not restarted by the next apply.
    """
    return (
        Tuned(
            name="primary_conninfo",
            value=connection(replica, primary),
            reason=f"follows {primary.host.name}, by certificate",
        ),
        Tuned(
            name="primary_slot_name",
            value=replica.replication_slot,
            reason="the primary keeps what this one lacks",
        ),
    )
