"""A streaming replica: its slot on the primary, its configuration, its copy of the data.

Nothing here overwrites data. A copy is made beside its place, proven by its manifest, and takes
its place at once; what already lies there is left as it is, whatever it is.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from typing import Final

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.core import sql
from deploy.core.model import DatabaseServer, Replica
from deploy.core.replication import UNFINISHED, connection, data_in_the_way
from deploy.facts.standby import ConfiguredData, HoldingOf, SlotsOf
from deploy.ops import record
from deploy.ops.record import Commands

# A cluster as the package would make it, for its configuration only: the data comes from the
# primary. Until that is done it is named as what it is, and made again.
_CONFIGURE: Final = """\
set -eu; cd /; conf={conf}; data={data}; scratch=$data.strongroom-conf
if [ -e "$conf/postgresql.conf" ] && ! grep -q "^data_directory = '$scratch'" \
  "$conf/postgresql.conf"; then
  echo "$conf is the configuration of another cluster: left as it is" >&2; exit 1
fi
rm -rf "$scratch" "$conf/postgresql.conf" "$conf/pg_hba.conf" "$conf/pg_ident.conf"
install -d -o postgres -g postgres "${{data%/*}}"
pg_createcluster --port={port} --start-conf=auto -d "$scratch" {major} main >/dev/null
pg_conftool {major} main set data_directory "$data"
rm -rf "$scratch\""""

# In a unit of its own, so that it outlives a deploy that is killed, and there is only one.
_COPY: Final = """\
set -eu; cd /; unit=strongroom-base-backup; script=/run/$unit
if ! systemctl is-active -q $unit; then
  systemctl reset-failed $unit 2>/dev/null || true
  base64 -d >"$script"
  systemd-run -q --unit=$unit --description='Copy of a primary' --property=Type=exec bash "$script"
fi
while systemctl is-active -q $unit; do sleep 0.2; done
rm -f "$script"
if [ ! -e {data}/standby.signal ]; then
  echo "the copy was not made: $(journalctl -q -o cat -u $unit -n 4 | tr '\\n' ';')" >&2; exit 1
fi"""
_SCRIPT: Final = """\
set -eu; umask 077; cd /; data={data}; new=$data.{unfinished}
if [ -n "$(ls -A "$data" 2>/dev/null)" ]; then
  echo "$data holds something: left as it is" >&2; exit 1
fi
install -d -o postgres -g postgres -m 0755 "${{data%/*}}"
tries=0; rm -rf "$new"
until said=$(runuser -u postgres -- {bin}/pg_basebackup --pgdata="$new" --dbname={connection} \
  --slot={slot} --wal-method=stream --checkpoint=fast --no-password 2>&1); do
  # A copy before was ended: the primary is about to notice.
  case $said in *'is active for PID'*) ;; *) printf '%s\\n' "$said" >&2; exit 1 ;; esac
  tries=$((tries + 1)); [ $tries -lt 60 ] || {{ printf '%s\\n' "$said" >&2; exit 1; }}
  rm -rf "$new"; sleep 1
done
runuser -u postgres -- {bin}/pg_verifybackup --quiet "$new"
runuser -u postgres -- touch "$new/standby.signal"
sync "$new/standby.signal" "$new"
if [ -d "$data" ]; then rmdir "$data"; fi
mv -T "$new" "$data"; sync "${{data%/*}}\""""


@operation()
def slots(server: DatabaseServer, names: Sequence[str]) -> Commands:
    """Keep a replication slot for each replica, and report those of nobody: they hold up disk."""
    found = host.get_fact(SlotsOf, port=server.port) or ()
    statements: list[str] = []
    for name in names:
        slot = next((one for one in found if one.name == name), None)
        if slot is None or slot.is_lost:
            observed = "not there" if slot is None else "lost: its replica has to be made anew"
            record.change(f"replication slot {name}", expected="there", observed=observed)
            if slot is not None:
                statements.append(f"SELECT pg_drop_replication_slot({sql.literal(name)});\n")
            create = f"SELECT pg_create_physical_replication_slot({sql.literal(name)}, true);\n"
            statements.append(create)
    for slot in found:
        if slot.name not in {*names, *server.replication_slots}:
            record.finding(f"replication slot {slot.name}", "not declared; it holds up disk")
    if statements:
        yield StringCommand(
            "cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1"
            f" -p {server.port} -d postgres -f - >/dev/null",
            _stdin="".join(statements),
        )


@operation()
def configuration(server: DatabaseServer) -> Commands:
    """Keep the configuration of a cluster there that gets its data from elsewhere."""
    conf = server.configuration_directory
    named = host.get_fact(ConfiguredData, configuration=conf)
    if named == server.data_directory:
        return
    record.change(f"configuration {conf}", expected="there", observed=named or "not there")
    yield StringCommand(
        _CONFIGURE.format(
            conf=conf, data=server.data_directory, port=server.port, major=server.package.major
        )
    )


@operation()
def copied(replica: Replica, primary: DatabaseServer) -> Commands:
    """Have a copy of the primary, if the data directory is empty; refuse if it is another's."""
    data = replica.server.data_directory
    binaries = f"/usr/lib/postgresql/{replica.server.package.major}/bin"
    way_in = connection(replica, primary)
    holding = host.get_fact(HoldingOf, data=data, binaries=binaries, connection=way_in)
    if problem := data_in_the_way(holding, primary.host.name):
        yield record.failing(data, problem)
        return
    if not holding.is_empty:
        return
    record.change(data, expected=f"a copy of {primary.host.name}", observed="empty")
    script = _SCRIPT.format(
        data=data,
        unfinished=UNFINISHED,
        bin=binaries,
        connection=shlex.quote(way_in),
        slot=replica.replication_slot,
    )
    yield StringCommand(
        _COPY.format(data=data), _stdin=base64.encodebytes(script.encode()).decode()
    )
