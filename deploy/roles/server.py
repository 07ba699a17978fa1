"""A PostgreSQL server, or a replica: package, cluster with checksums, TLS, settings, access."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from pyinfra.api.deploy import deploy

from deploy.core import hba, layout, serverconfig
from deploy.core.certificates import serial_of
from deploy.core.model import REPLICATION_ROLE, DatabaseServer, Estate, Replica
from deploy.core.pki import decode_certificates
from deploy.core.replication import standby_settings
from deploy.core.tuning import Tuned
from deploy.ops import files, postgres, standby, system
from deploy.preflight import access_rules
from deploy.roles.base import repository
from deploy.secretfiles import SecretFile

_CREATE: Final = "/etc/postgresql-common/createcluster.d/strongroom.conf"
_CREATE_TEXT: Final = """\
# Made by `strongroom host apply`, before the package makes its cluster: without this it would have
# no checksums.
initdb_options = '--data-checksums --locale=C.UTF-8 --encoding=UTF8'
"""
_NO_CLUSTER_TEXT: Final = """\
# The data of a replica is a copy of its primary's.
create_main_cluster = false
"""
_DROP_IN: Final = "/etc/systemd/system/postgresql@.service.d"
_TEMPLATES: Final = Path(__file__).parents[1] / "templates"


@deploy("PostgreSQL")
def server(estate: Estate, declared: DatabaseServer) -> None:
    """Put the server there, as declared, and running."""
    _installed(estate, declared, _CREATE_TEXT)
    _tls(estate, declared)
    for path in layout.replica_certificates(declared.configuration_directory).values():
        files.absent(name=f"no {path.rpartition('/')[2]}", path=path, reason="it follows nobody")
    _running(estate, declared)


@deploy("replica")
def replica(estate: Estate, declared: Replica) -> None:
    """Put the replica there, with a copy of its primary, following it."""
    primary = estate.server(declared.primary)
    assert primary is not None
    _installed(estate, declared.server, _CREATE_TEXT + _NO_CLUSTER_TEXT)
    standby.configuration(name="configuration of the replica", server=declared.server)
    _tls(estate, declared.server)
    _client_tls(estate, declared)
    standby.copied(name="copy of the primary", replica=declared, primary=primary)
    _running(estate, declared.server, standby_settings(declared, primary))


def _installed(estate: Estate, declared: DatabaseServer, create: str) -> None:
    package = f"postgresql-{declared.package.major}"
    repository(estate, declared.host.name)
    files.directory(
        name="directory of cluster options", path="/etc/postgresql-common/createcluster.d"
    )
    files.file(name="data checksums for new clusters", path=_CREATE, content=create)
    extensions = [
        f"{package}-{library}" for library in declared.preload_libraries if library == "pgaudit"
    ]
    system.packages(name="packages of the server", names=(package, *extensions))
    files.directory(name="directory of the unit's settings", path=_DROP_IN)
    files.file(
        name="sandbox of the server's unit",
        path=f"{_DROP_IN}/strongroom.conf",
        content=(_TEMPLATES / "postgresql-unit.conf").read_text(encoding="utf-8"),
    )
    unit = f"postgresql@{declared.package.major}-main.service"
    system.daemon_reload(
        name="unit of the server read", unit_name=unit, drop_in=f"{_DROP_IN}/strongroom.conf"
    )
    system.unit(name="server at boot", unit_name="postgresql.service", is_running=False)


def _running(estate: Estate, declared: DatabaseServer, further: tuple[Tuned, ...] = ()) -> None:
    postgres.settings(name="settings of the server", server=declared, standby=further)
    postgres.started(name="server started", server=declared)
    postgres.no_overrides(name="nothing set by ALTER SYSTEM", server=declared)
    rules = access_rules(estate, declared)
    postgres.access(name="access rules (pg_hba.conf)", server=declared, content=hba.render(rules))
    postgres.reloaded(name="files read by the server", server=declared, watched=_watched(declared))
    postgres.restarted(name="settings that wait for a restart", server=declared)
    pair = layout.server_pair(estate.site.pki_directory, declared.host.name)
    postgres.served_certificate(
        name="certificate that is shown",
        server=declared,
        serial=serial_of(
            decode_certificates(pair.certificate.read_bytes(), str(pair.certificate))[0]
        ),
    )


def _tls(estate: Estate, declared: DatabaseServer) -> None:
    pki = estate.site.pki_directory
    pair = layout.server_pair(pki, declared.host.name)
    places = layout.host_certificates(declared.configuration_directory)
    postgres_only = partial(files.directory, owner="postgres", group="postgres", mode="0700")
    postgres_only(name="directory of keys", path=places["ssl_key_file"].rpartition("/")[0])
    files.secret_file(
        name="key of the server",
        path=places["ssl_key_file"],
        read=SecretFile(path=pair.key).read,
        owner="postgres",
        group="postgres",
    )
    for label, setting, source in (
        ("certificate of the server", "ssl_cert_file", pair.certificate),
        ("CA of client certificates", "ssl_ca_file", pki / layout.CLIENT_CA),
    ):
        files.file(
            name=label,
            path=places[setting],
            content=source.read_text(encoding="ascii"),
            owner="postgres",
            group="postgres",
            mode="0644",
        )


def _client_tls(estate: Estate, declared: Replica) -> None:
    pki = estate.site.pki_directory
    pair = layout.client_pair(pki, REPLICATION_ROLE.name, declared.host.name)
    places = layout.replica_certificates(declared.server.configuration_directory)
    for label, option, source in (
        ("CA of the primary", "sslrootcert", pki / layout.SERVER_CA),
        ("certificate of the replica", "sslcert", pair.certificate),
    ):
        files.file(
            name=label,
            path=places[option],
            content=source.read_text(encoding="ascii"),
            owner="postgres",
            group="postgres",
            mode="0644",
        )
    files.secret_file(
        name="key of the replica",
        path=places["sslkey"],
        read=SecretFile(path=pair.key).read,
        owner="postgres",
        group="postgres",
    )


def _watched(declared: DatabaseServer) -> str:
    conf = declared.configuration_directory
    return f"{conf}/conf.d/{serverconfig.FILE_NAME} {conf}/pg_hba.conf {conf}/tls/*" + (
        f" {declared.data_directory}/postgresql.auto.conf"
    )
