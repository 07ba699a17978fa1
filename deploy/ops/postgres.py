"""A PostgreSQL cluster: its settings, its access rules, what is in it, and when it reads them.

Settings and access rules are tried before they count, and put back if they do not work. Whether to
reload or restart is read off the server (what it read when, what waits for a restart), never off
what this run did: a run may be killed in between.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import Final

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.core import scram, serverconfig, sql
from deploy.core.databaseplan import plan_database, plan_databases, unalterable
from deploy.core.model import DatabaseServer
from deploy.core.objects import Database
from deploy.core.roleplan import plan_roles
from deploy.core.tuning import Tuned
from deploy.facts.cluster import (
    DatabasesOf,
    DatabaseStateOf,
    NewestChange,
    RolesOf,
    ServedSerial,
    ServerStateOf,
    TablesOf,
)
from deploy.facts.files import FileEntry, FileText
from deploy.facts.system import HardwareOf
from deploy.ops import files, record
from deploy.ops.record import Commands
from deploy.secretfiles import SecretFile

_TRY_SETTINGS: Final = """\
set -eu; umask 077; cd /
trial=$(mktemp -d /run/strongroom-trial.XXXXXX); trap 'rm -rf "$trial"' EXIT
cp -a {conf}/. "$trial/"; base64 -d >"$trial/conf.d/{name}"
chown -R postgres: "$trial"
if ! said=$(runuser -u postgres -- {bin}/postgres -C data_directory \
  -c config_file="$trial/postgresql.conf" 2>&1 >/dev/null); then
  printf 'the server would not start with these settings: %s\\n' "$said" >&2; exit 1
fi
mkdir -p {conf}/conf.d; new={conf}/conf.d/.{name}.strongroom-new
cp "$trial/conf.d/{name}" "$new"; chown postgres:postgres "$new"; chmod 0644 "$new"; sync "$new"
mv -f "$new" {conf}/conf.d/{name}"""

# Waits until the server says that it has read its files since.
_RELOAD: Final = """\
ask() {{ runuser -u postgres -- psql -XqAt -p {port} -d postgres -c "$1"; }}
reload() {{ since=$(date +%s.%N); pg_ctlcluster {major} main reload; tries=0
  while :; do
    is_read=$(ask "SELECT extract(epoch FROM pg_conf_load_time()) >= $since") || return 1
    [ "$is_read" != t ] || return 0
    tries=$((tries + 1)); [ $tries -lt 100 ] || return 1; sleep 0.1
  done; }}
"""

# The parser is the server's own, and it can only be asked about the file in its place.
_TRY_ACCESS: Final = (
    _RELOAD  # noqa: S608 - a script of shell, no question
    + """\
set -eu; umask 077; cd /; hba={conf}/pg_hba.conf; old={conf}/.pg_hba.conf.strongroom-old
new={conf}/.pg_hba.conf.strongroom-new
base64 -d >"$new"; chown postgres:postgres "$new"; chmod 0640 "$new"; sync "$new"
if ! ask 'SELECT 1' >/dev/null; then mv -f "$new" "$hba"; exit 0; fi
cp -p "$hba" "$old"; back() {{ mv -f "$old" "$hba"; }}
trap back EXIT; mv -f "$new" "$hba"
said=$(ask "SELECT 'line ' || line_number || ': ' || error FROM pg_hba_file_rules
  WHERE error IS NOT NULL")
if [ -n "$said" ]; then
  printf 'the server refuses these access rules: %s\\n' "$said" >&2; exit 1
fi
if ! reload; then
  back; pg_ctlcluster {major} main reload
  echo 'these access rules lock the administrator out: put back' >&2; exit 1
fi
trap - EXIT; rm -f "$old\""""
)


def _paths(server: DatabaseServer) -> dict[str, str]:
    major = str(server.package.major)
    return {
        "conf": server.configuration_directory,
        "bin": f"/usr/lib/postgresql/{major}/bin",
        "major": major,
        "port": str(server.port),
        "name": serverconfig.FILE_NAME,
    }


def _psql(script: str, *, port: int, database: str) -> StringCommand:
    return StringCommand(
        f"cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -p {port} -d {database} -f -",
        _stdin=script,
    )


@operation()
def settings(server: DatabaseServer, standby: tuple[Tuned, ...] = ()) -> Commands:
    """Keep the file of settings; a server would start with it, or it is not put in its place."""
    hardware = host.get_fact(HardwareOf)
    assert hardware is not None
    wanted = serverconfig.server_settings(
        server, memory_mib=hardware.memory_mib, cpus=hardware.cpus, standby=standby
    )
    content = serverconfig.render(wanted).encode()
    path = f"{server.configuration_directory}/conf.d/{serverconfig.FILE_NAME}"
    entry = host.get_fact(FileEntry, path=path)
    if entry is not None and entry.sha256 == hashlib.sha256(content).hexdigest():
        yield from files.keep(path, content, owner="postgres", group="postgres", mode="0644")
        return
    record.lines(path, content.decode(), host.get_fact(FileText, path=path))
    yield StringCommand(
        _TRY_SETTINGS.format(**_paths(server)), _stdin=base64.encodebytes(content).decode()
    )


@operation()
def no_overrides(server: DatabaseServer) -> Commands:
    """Take back what ALTER SYSTEM set: it wins over every file, and nobody sees it in one."""
    state = host.get_fact(ServerStateOf, port=server.port)
    if state is None or not state.overrides:
        return
    for name in state.overrides:
        record.change(
            f"setting {name}",
            expected="as in the files",
            observed=f"{state.value(name)!r} by ALTER SYSTEM",
        )
    resets = "".join(f"ALTER SYSTEM RESET {sql.ident(name)};\n" for name in state.overrides)
    yield _psql(resets, port=server.port, database="postgres")


@operation()
def access(server: DatabaseServer, content: str) -> Commands:
    """Keep pg_hba.conf: tried by the server, taken, and put back if it does not work."""
    path = f"{server.configuration_directory}/pg_hba.conf"
    entry = host.get_fact(FileEntry, path=path)
    if entry is not None and entry.sha256 == hashlib.sha256(content.encode()).hexdigest():
        yield from files.keep(
            path, content.encode(), owner="postgres", group="postgres", mode="0640"
        )
        return
    record.lines(path, content, host.get_fact(FileText, path=path))
    yield StringCommand(
        _TRY_ACCESS.format(**_paths(server)), _stdin=base64.encodebytes(content.encode()).decode()
    )


@operation()
def started(server: DatabaseServer) -> Commands:
    """Start the server if it is down. Debian's unit says nothing of a failure: it is asked."""
    if host.get_fact(ServerStateOf, port=server.port) is not None:
        return
    record.change("PostgreSQL", expected="accepting connections", observed="down")
    yield StringCommand(_cautiously("start", server))


@operation()
def reloaded(server: DatabaseServer, watched: str) -> Commands:
    """Have the server read its files if any of them is newer than what it read.

    `watched` are the shell's words for them.
    """
    state = host.get_fact(ServerStateOf, port=server.port)
    newest = host.get_fact(NewestChange, paths=watched)
    if state is None or newest is None or newest <= state.loaded_at:
        return
    record.change(
        "configuration of PostgreSQL", expected="read by the server", observed="newer on disk"
    )
    yield StringCommand(f"cd /\n{_RELOAD.format(**_paths(server))}reload")


@operation()
def restarted(server: DatabaseServer) -> Commands:
    """Restart the server if a setting waits for that, once it is sure to come back."""
    state = host.get_fact(ServerStateOf, port=server.port)
    if state is None or not state.pending:
        return
    record.change(
        "PostgreSQL", expected="restarted", observed=f"pending: {', '.join(state.pending)}"
    )
    yield StringCommand(_cautiously("restart", server))


@operation()
def served_certificate(server: DatabaseServer, serial: str) -> Commands:
    """Fail unless the server really shows the certificate that was placed."""
    state = host.get_fact(ServerStateOf, port=server.port)
    if state is None or state.value("ssl") != "on":
        return
    served = host.get_fact(ServedSerial, port=server.port)
    if served is None or int(served, 16) != int(serial, 16):
        yield record.failing(
            "certificate of PostgreSQL",
            f"the server shows serial {served}, not {serial}: its log says why",
        )


@operation()
def roles(server: DatabaseServer, password_files: Mapping[str, SecretFile]) -> Commands:
    """Keep the roles: attributes, passwords, memberships, settings; see `core/roleplan.py`."""
    observed = host.get_fact(RolesOf, port=server.port)
    passwords = {name: read() for name, read in password_files.items()}
    planned, found = plan_roles(
        server.all_roles(),
        observed or (),
        passwords,
        server.undeclared,
        lambda: os.urandom(scram.SALT_BYTES),
    )
    record.findings(found)
    record.changes(planned)
    if planned:
        yield _psql(sql.script(planned), port=server.port, database="postgres")


@operation()
def databases(server: DatabaseServer) -> Commands:
    """Keep the databases there, with their owners, limits and settings."""
    observed = host.get_fact(DatabasesOf, port=server.port) or ()
    planned = plan_databases(server.databases, observed)
    record.findings(unalterable(server.databases, observed))
    record.changes(planned)
    if planned:
        # CREATE DATABASE does not go into a transaction.
        yield _psql(
            sql.script(planned, in_transaction=False), port=server.port, database="postgres"
        )


@operation()
def database(server: DatabaseServer, declared: Database) -> Commands:
    """Keep the inside of a database: extensions, schemas, rights and default privileges."""
    role = None if server.backup is None else server.backup.role
    observed = host.get_fact(
        DatabaseStateOf, port=server.port, database=declared.name, backup_role=role
    )
    if observed is None:
        yield record.failing(f"database {declared.name}", "is not there, or the server is down")
        return
    planned, found = plan_database(declared, observed, server.backup, server.undeclared)
    record.findings(found)
    record.changes(planned)
    if planned:
        yield _psql(sql.script(planned), port=server.port, database=declared.name)


@operation()
def filled(server: DatabaseServer, declared: Database) -> Commands:
    """Fill a database that has no table from the operator's file, as its owner: all or nothing."""
    source = declared.initial_sql
    if source is None or host.get_fact(TablesOf, port=server.port, database=declared.name):
        return
    record.change(
        f"content of database {declared.name}", expected=f"as {source.name} says", observed="none"
    )
    begin = (*sql.QUIETLY, "BEGIN", f"SET LOCAL ROLE {sql.ident(declared.owner)}", "")
    text = source.read_text(encoding="utf-8")
    yield _psql(";\n".join(begin) + f"{text}\nCOMMIT;\n", port=server.port, database=declared.name)


def _cautiously(verb: str, server: DatabaseServer) -> str:
    """Return shell that does this to the server only if it would start, and waits until it has."""
    paths = _paths(server)
    conf, binaries = paths["conf"], paths["bin"]
    return (
        f"set -eu; cd /; runuser -u postgres -- {binaries}/postgres -C data_directory"
        f" -c config_file={conf}/postgresql.conf >/dev/null"
        f" && systemctl {verb} postgresql@{paths['major']}-main"
        f" && runuser -u postgres -- timeout 120 sh -c"
        f" 'until pg_isready -q -p {server.port}; do sleep 0.2; done'"
    )
