"""What watches a host: exporters for Prometheus on the host's own address, and alert rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from pyinfra.api.deploy import deploy

from deploy.core import exporters, layout
from deploy.core.backuphost import CONFIGURATION
from deploy.core.certificates import describe
from deploy.core.model import MONITORING_ROLE, REPLICATION_ROLE, Estate
from deploy.core.pki import decode_certificates
from deploy.ops import files, system

_TEMPLATES: Final = Path(__file__).parents[1] / "templates"
_DAEMON_RULES: Final = Path(__file__).parents[2] / "scheduler/monitoring/strongroom.rules.yml"


@deploy("monitoring")
def monitoring(estate: Estate, host_name: str) -> None:
    """Put it there, if the site is monitored; nothing is taken away from one that is not."""
    if estate.site.monitoring is None:
        return
    server, backup_host = estate.postgresql_host(host_name), estate.backup_host(host_name)
    address = next(host.address for host in estate.hosts() if host.name == host_name)
    units = tuple(exporters.exporters(has_server=server is not None))
    system.packages(name="packages of the exporters", names=units)
    _exporter(exporters.NODE_EXPORTER, exporters.node_exporter_options(address))
    files.file(
        name="when certificates end",
        path=f"{exporters.TEXTFILES}/strongroom.prom",
        content=exporters.expiry_metrics(dict(_certificates(estate, host_name))),
    )
    if server is not None:
        options = exporters.postgres_exporter_options(
            address, role=MONITORING_ROLE.name, port=server.port
        )
        _exporter(exporters.POSTGRES_EXPORTER, options)
    if backup_host is not None:
        for path in (_DAEMON_RULES, _TEMPLATES / "hosts.rules.yml"):
            files.file(
                name=f"alert rules {path.name}",
                path=f"{CONFIGURATION}/{path.name}",
                content=path.read_text(encoding="utf-8"),
            )


def _exporter(unit: str, options: str) -> None:
    place = f"/etc/systemd/system/{unit}.service.d"
    drop_in, options_file = f"{place}/strongroom.conf", f"/etc/default/{unit}"
    files.directory(name=f"directory of settings of {unit}", path=place)
    files.file(
        name=f"sandbox of {unit}",
        path=drop_in,
        content=(_TEMPLATES / "exporter-unit.conf").read_text(encoding="utf-8"),
    )
    files.file(name=f"options of {unit}", path=options_file, content=options)
    system.daemon_reload(name=f"unit of {unit} read", unit_name=f"{unit}.service", drop_in=drop_in)
    system.unit(name=unit, unit_name=f"{unit}.service")
    system.fresh(
        name=f"{unit} with its options",
        unit_name=f"{unit}.service",
        watched=f"{drop_in} {options_file}",
    )


def _certificates(estate: Estate, name: str) -> Iterator[tuple[str, datetime]]:
    """Yield each certificate that the host gets, and when it ends."""
    pki = estate.site.pki_directory
    has_server = estate.postgresql_host(name) is not None
    pairs = [(f"server {name}", layout.server_pair(pki, name))] if has_server else []
    if estate.replica(name) is not None:
        role = REPLICATION_ROLE.name
        pairs.append((f"client {role}", layout.client_pair(pki, role, name)))
    if estate.backup_host(name) is not None:
        pairs += [
            (f"client {server.backup.role}", layout.client_pair(pki, server.backup.role, name))
            for server in estate.servers
            if server.backup is not None
        ]
    for label, pair in pairs:
        data = pair.certificate.read_bytes()
        yield label, describe(decode_certificates(data, str(pair.certificate))[0]).not_after
