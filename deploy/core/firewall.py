"""A host's packet filter: what may come in, from where, and why; everything else is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deploy.core.hba import effective_rules
from deploy.core.model import (
    DAEMON_METRICS_PORT,
    NODE_EXPORTER_PORT,
    POSTGRES_EXPORTER_PORT,
    Estate,
    Host,
    Opening,
    Site,
)
from deploy.core.types import Network

SSH_PORT: Final = 22
TABLE: Final = "inet strongroom"
_HEADER: Final = """\
#!/usr/sbin/nft -f
# Made by `strongroom host apply` out of the inventory: what is changed here is found by
# `strongroom host plan` and undone by the next apply. The table is replaced whole, at once.
table inet strongroom
delete table inet strongroom
table inet strongroom {
  chain input {
    type filter hook input priority filter; policy drop;
    iif "lo" accept
    ct state established,related accept
    ct state invalid drop
    meta l4proto { 1, 58 } limit rate 50/second accept
"""
_END: Final = """\
    limit rate 5/minute log prefix "strongroom-drop " level info
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
  }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    port: int
    protocol: str
    networks: tuple[Network, ...]
    comment: str


def render_server(estate: Estate, name: str) -> str:
    """Return the rules of a database host: PostgreSQL is open to whom an access rule admits."""
    server = estate.postgresql_host(name)
    assert server is not None
    clients = dict.fromkeys(
        rule.address
        for rule in effective_rules(estate, server)
        if rule.address is not None and rule.method != "reject"
    )
    ways = [_Way(port=server.port, protocol="tcp", networks=tuple(clients), comment="PostgreSQL")]
    return _render(estate.site, server.host, ways, (NODE_EXPORTER_PORT, POSTGRES_EXPORTER_PORT))


def render_backup_host(estate: Estate, name: str) -> str:
    """Return the rules of a backup host: nobody but operators and the monitoring comes in."""
    backup_host = estate.backup_host(name)
    assert backup_host is not None
    return _render(estate.site, backup_host.host, [], (NODE_EXPORTER_PORT, DAEMON_METRICS_PORT))


def _render(site: Site, host: Host, ways: list[_Way], scraped: tuple[int, ...]) -> str:
    found = [
        _Way(port=SSH_PORT, protocol="tcp", networks=site.operator_networks, comment="operators"),
        *ways,
    ]
    if site.monitoring is not None:
        found += (
            _Way(port=port, protocol="tcp", networks=site.monitoring.networks, comment="monitoring")
            for port in scraped
        )
    found += (_of_opening(opening) for opening in host.openings)
    return _HEADER + "".join(line for way in found for line in _lines(way)) + _END


def _of_opening(opening: Opening) -> _Way:
    return _Way(
        port=opening.port,
        protocol=opening.protocol,
        networks=opening.networks,
        comment=opening.comment or "declared",
    )


def _lines(way: _Way) -> list[str]:
    lines = []
    for version, family in ((4, "ip"), (6, "ip6")):
        networks = [str(one) for one in way.networks if one.version == version]
        if networks:
            lines.append(
                f"    {family} saddr {{ {', '.join(networks)} }}"
                f' {way.protocol} dport {way.port} accept comment "{way.comment}"\n'
            )
    return lines
