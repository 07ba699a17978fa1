"""A backup host: its user, its programs, its keys and credentials, its repository, its daemon."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Final

from pyinfra.api.deploy import deploy

from deploy.core import layout
from deploy.core.backuphost import (
    CONFIGURATION,
    CREDENTIALS,
    HOME,
    KEYS,
    PROGRAMS,
    SETTINGS_FILE,
    repository_directory,
    settings_text,
    unit_text,
)
from deploy.core.model import BackupHost, Estate
from deploy.ops import files, programs, system
from deploy.roles.base import repository
from deploy.secretfiles import SecretFile

_CREATE: Final = "/etc/postgresql-common/createcluster.d"
_CREATE_TEXT: Final = """\
# Made by `strongroom host apply`: this host has PostgreSQL's programs, for dumps and for restore
# tests, and no server of its own.
create_main_cluster = false
"""
_UNIT: Final = "strongroom-daemon.service"
_TEMPLATES: Final = Path(__file__).parents[1] / "templates"
# Says what is bad, with its hint, and ends as `doctor` did.
_DOCTOR: Final = """\
said=$(strongroom doctor 2>&1); code=$?
[ $code = 0 ] || printf '%s\\n' "$said" | grep -A 1 -e ^bad -e ^strongroom; (exit $code)"""
# Whoever is root becomes the user that owns keys and backups; nobody else gets at them.
_COMMAND: Final = """\
#!/bin/sh
# Made by `strongroom host apply`.
export STRONGROOM_CONFIG={settings} CREDENTIALS_DIRECTORY={credentials}
if [ "$(id -u)" = 0 ]; then
  cd /; exec runuser -u {user} -- {programs}/current/bin/strongroom "$@"
fi
exec {programs}/current/bin/strongroom "$@"
"""


@deploy("backup host")
def backup_host(estate: Estate, declared: BackupHost) -> None:
    """Put it all there, and the daemon running."""
    user = declared.user
    repository(estate, declared.host.name)
    _packages(declared)
    system.command(
        name="user of the daemon",
        item=f"user {user}",
        expected="there, without a shell",
        unless=f"id -u {user} >/dev/null",
        run=f"useradd --system --user-group --home-dir {HOME} --shell /usr/sbin/nologin {user}",
    )
    private = partial(files.directory, owner=user, group=user, mode="0700")
    private(name="state", path=HOME)
    if directory := repository_directory(declared):
        private(name="repository", path=directory)
    files.directory(name="programs", path=PROGRAMS)
    wheels = tuple(sorted(declared.wheels_directory.glob("*.whl")))
    programs.environment(name="strongroom installed", place=PROGRAMS, wheels=wheels)
    files.file(name="command", path="/usr/local/bin/strongroom", mode="0755",
               content=_COMMAND.format(settings=SETTINGS_FILE, credentials=CREDENTIALS,
                                       user=user, programs=PROGRAMS))  # fmt: skip
    files.directory(name="configuration", path=CONFIGURATION)
    _keys(estate, declared)
    files.file(
        name="settings",
        path=SETTINGS_FILE,
        content=settings_text(declared),
        group=user,
        mode="0640",
    )
    recipients = " ".join(f"--recipient {shlex.quote(one)}" for one in declared.recipients)
    system.command(
        name="repository made",
        item="repository",
        expected="ready for backups",
        unless="strongroom list --json >/dev/null",
        run=f"strongroom init --config {SETTINGS_FILE} {recipients}",
    )
    files.file(
        name="unit of the daemon",
        path=f"/etc/systemd/system/{_UNIT}",
        content=unit_text(declared, (_TEMPLATES / _UNIT).read_text(encoding="utf-8")),
    )
    system.unit(name="daemon", unit_name=_UNIT)
    system.fresh(
        name="daemon with its settings",
        unit_name=_UNIT,
        watched=f"{SETTINGS_FILE} {KEYS}/* {CREDENTIALS}/* /etc/systemd/system/{_UNIT}"
        f" {PROGRAMS}/current/pyvenv.cfg",
    )
    system.doctor(name="the next backup would work", item="strongroom doctor", run=_DOCTOR)


def _packages(declared: BackupHost) -> None:
    files.directory(name="directory of cluster options", path=_CREATE)
    files.file(name="no cluster", path=f"{_CREATE}/strongroom.conf", content=_CREATE_TEXT)
    majors = [f"postgresql-{major}" for major in declared.postgresql_majors]
    system.packages(
        name="packages of the backup host", names=("python3-venv", "age", "zstd", *majors)
    )


def _keys(estate: Estate, declared: BackupHost) -> None:
    pki, user = estate.site.pki_directory, declared.user
    private = partial(files.directory, owner=user, group=user, mode="0700")
    private(name="directory of keys", path=KEYS)
    private(name="directory of credentials", path=CREDENTIALS)
    place = partial(files.file, owner=user, group=user, mode="0644")
    place(
        name="CA of the servers",
        path=f"{KEYS}/server-ca.crt",
        content=(pki / layout.SERVER_CA).read_text(encoding="ascii"),
    )
    roles = dict.fromkeys(one.backup.role for one in estate.servers if one.backup is not None)
    for role in roles:
        pair = layout.client_pair(pki, role, declared.host.name)
        place(
            name=f"certificate of {role}",
            path=f"{KEYS}/{role}.crt",
            content=pair.certificate.read_text(encoding="ascii"),
        )
        files.secret_file(
            name=f"key of {role}",
            path=f"{KEYS}/{role}.key",
            read=SecretFile(path=pair.key).read,
            owner=user,
            group=user,
        )
    for credential in declared.credentials:
        source = layout.credential_file(estate.site.secrets_directory, credential)
        files.secret_file(
            name=f"credential {credential}",
            path=f"{CREDENTIALS}/{credential}",
            read=SecretFile(path=source).read,
            owner=user,
            group=user,
        )
