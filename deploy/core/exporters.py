"""What Prometheus scrapes of a host, and the rules that it alerts by: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from deploy.core.model import NODE_EXPORTER_PORT, POSTGRES_EXPORTER_PORT
from deploy.core.types import Address, endpoint

NODE_EXPORTER: Final = "prometheus-node-exporter"
POSTGRES_EXPORTER: Final = "prometheus-postgres-exporter"
# The node exporter adds what it finds in files here (its "textfile collector").
TEXTFILES: Final = "/var/lib/prometheus/node-exporter"
_HEADER: Final = "# Made by `strongroom host apply`.\n"
_EXPIRY: Final = "strongroom_host_certificate_expiry_timestamp_seconds"


def node_exporter_options(address: Address) -> str:
    """Return the file of options of the node exporter: it listens on the host's address only."""
    listen = endpoint(address, NODE_EXPORTER_PORT)
    options = f"--web.listen-address={listen} --collector.textfile.directory={TEXTFILES}"
    return f'{_HEADER}ARGS="{options}"\n'


def postgres_exporter_options(address: Address, *, role: str, port: int) -> str:
    """Return the file of options of PostgreSQL's exporter, which comes in through the socket.

    It holds no password: the kernel says who is calling (`peer`).
    """
    source = f"user={role} host=/run/postgresql port={port} dbname=postgres"
    listen = endpoint(address, POSTGRES_EXPORTER_PORT)
    return f"{_HEADER}DATA_SOURCE_NAME='{source}'\nARGS=\"--web.listen-address={listen}\"\n"


def expiry_metrics(certificates: Mapping[str, datetime]) -> str:
    """Return when each certificate that was placed on a host ends, as Prometheus reads it."""
    lines = [
        f"# HELP {_EXPIRY} When a certificate that was placed on this host ends.",
        f"# TYPE {_EXPIRY} gauge",
    ]
    lines += [
        f'{_EXPIRY}{{certificate="{name}"}} {not_after.timestamp():.0f}'
        for name, not_after in certificates.items()
    ]
    return "\n".join(lines) + "\n"


def exporters(*, has_server: bool) -> Iterable[str]:
    """Return the units of a host's exporters, which are called like their packages."""
    return (NODE_EXPORTER, POSTGRES_EXPORTER) if has_server else (NODE_EXPORTER,)
