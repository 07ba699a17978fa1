"""Which ports of a host are declared open to an address: pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from deploy.core.hba import effective_rules
from deploy.core.model import (
    DAEMON_METRICS_PORT,
    NODE_EXPORTER_PORT,
    POSTGRES_EXPORTER_PORT,
    Estate,
)
from deploy.core.types import Network

SSH_PORT = 22


def open_ports(estate: Estate, name: str, address: str) -> frozenset[int]:
    """Return the TCP ports of a host that connections from this address may reach."""
    where = ipaddress.ip_address(address)
    return frozenset(
        port
        for port, network in _ways(estate, name)
        if network.version == where.version and where in network
    )


def _ways(estate: Estate, name: str) -> Iterator[tuple[int, Network]]:
    site = estate.site
    yield from ((SSH_PORT, network) for network in site.operator_networks)
    server, backup_host = estate.postgresql_host(name), estate.backup_host(name)
    scraped: tuple[int, ...] = (NODE_EXPORTER_PORT,)
    if server is not None:
        scraped = (*scraped, POSTGRES_EXPORTER_PORT)
        for rule in effective_rules(estate, server):
            if rule.address is not None and rule.method != "reject":
                yield server.port, rule.address
    if backup_host is not None:
        scraped = (*scraped, DAEMON_METRICS_PORT)
    if site.monitoring is not None:
        yield from ((port, network) for port in scraped for network in site.monitoring.networks)
    for host in estate.hosts():
        if host.name == name:
            for opening in host.openings:
                yield from ((opening.port, network) for network in opening.networks)
