"""`host promote`: a replica becomes a server of its own, once its primary takes no writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from backup.errors import StrongroomError
from deploy.core.model import DatabaseServer, Estate, Replica
from deploy.core.promotion import (
    PrimarySeen,
    ReplicaSeen,
    next_steps,
    objections,
)
from deploy.remote import Remote, UnreachableError

_RUNBOOK: Final = "docs/runbooks/promote-a-replica.md"
_LIMIT: Final = timedelta(minutes=8)
_ASK: Final = """\
export LC_ALL=C; cd /
ask() { runuser -u postgres -- psql -XAtqw -v ON_ERROR_STOP=1 -p @port@ -d postgres -c "$1"; }
"""
# A server that runs and does not answer may take writes for all that is known.
_LOOK_AT_PRIMARY: Final = (
    _ASK
    + """\
if pg_ctlcluster @major@ main status >/dev/null 2>&1; then
  [ "$(ask 'SELECT pg_is_in_recovery()' 2>/dev/null)" = t ] && echo standby || echo writable
else
  /usr/lib/postgresql/@major@/bin/pg_controldata @data@ 2>/dev/null | sed -n \\
    -e 's/^Database cluster state: *//p' -e 's/^Latest checkpoint location: *//p'
  echo end
fi
"""
)
# What was received is replayed first: a replica that can't do that is not what anybody wants.
_LOOK_AT_REPLICA: Final = (
    _ASK  # noqa: S608 - a script of shell, no input in it
    + """\
for try in $(seq 600); do
  is_behind=$(ask "SELECT pg_is_in_recovery() AND
    coalesce(pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn(), false)") || exit 1
  [ "$is_behind" = t ] || break
  sleep 0.1
done
ask "SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_stat_wal_receiver
  WHERE status = 'streaming'), coalesce(pg_last_wal_receive_lsn()::text, ''),
  coalesce(pg_last_wal_replay_lsn()::text, '')"
"""
)
# An assigned transaction is the proof that it takes writes.
_PROMOTE: Final = (
    _ASK
    + """\
[ "$(ask 'SELECT pg_promote(true, 300)')" = t ] || { echo 'it is not promoted yet' >&2; exit 1; }
ask 'SELECT pg_current_xact_id(), pg_current_wal_lsn()'
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What was seen, and what came of it. `position` is where the new server's writes began."""

    host: str
    primary: str
    primary_state: str
    was_standby: bool
    received: str
    replayed: str
    was_promoted: bool
    position: str | None
    next_steps: tuple[str, ...]


def promote(
    estate: Estate,
    replica: Replica,
    *,
    remote_of: Callable[[str], Remote],
    inventory: str,
    is_fenced: bool,
    agree: Callable[[PrimarySeen, ReplicaSeen], bool],
) -> Promotion:
    """Promote a replica if `agree` says so after both hosts were looked at.

    One that is promoted already is left as it is. Raises `StrongroomError` with every objection;
    nothing was changed then.
    """
    name, primary = replica.host.name, estate.server(replica.primary)
    assert primary is not None
    on_replica = remote_of(name)
    seen_primary = _primary(primary, remote_of(primary.host.name))
    seen = _replica(replica, on_replica)
    found = tuple(objections(seen, seen_primary, primary.host.name, is_fenced=is_fenced))
    position = None
    if seen.is_in_recovery:
        if found:
            raise StrongroomError(
                f"{name} was not promoted: {'; '.join(found)}",
                hint=f"stop the server of {primary.host.name} in good order, or see to it that it"
                f" can take no writes and say --fenced: {_RUNBOOK}",
            )
        if agree(seen_primary, seen):
            answer = on_replica.run(_filled(_PROMOTE, replica.server), timeout=_LIMIT).decode()
            position = answer.strip().rpartition("|")[2]
    return Promotion(
        host=name,
        primary=primary.host.name,
        primary_state=seen_primary.state,
        was_standby=seen.is_in_recovery,
        received=seen.received,
        replayed=seen.replayed,
        was_promoted=position is not None,
        position=position,
        next_steps=next_steps(inventory, name, primary.host.name),
    )


def _primary(server: DatabaseServer, remote: Remote) -> PrimarySeen:
    try:
        lines = remote.run(_filled(_LOOK_AT_PRIMARY, server)).decode().split("\n")
    except UnreachableError:
        return PrimarySeen(state="unreachable")
    match lines:
        case ["standby", *_]:
            return PrimarySeen(state="standby")
        case ["shut down", checkpoint, "end", *_]:
            return PrimarySeen(state="shut down", checkpoint=checkpoint)
        case [*_, "end", _]:
            return PrimarySeen(state="down")
        case _:
            return PrimarySeen(state="writable")


def _replica(replica: Replica, remote: Remote) -> ReplicaSeen:
    answer = remote.run(_filled(_LOOK_AT_REPLICA, replica.server)).decode().strip()
    in_recovery, streaming, received, replayed = answer.split("|")
    return ReplicaSeen(
        is_in_recovery=in_recovery == "t",
        is_streaming=streaming == "t",
        received=received,
        replayed=replayed,
    )


def _filled(script: str, server: DatabaseServer) -> str:
    values = {
        "port": server.port,
        "major": server.package.major,
        "data": server.data_directory,
    }
    for name, value in values.items():
        script = script.replace(f"@{name}@", str(value))
    return script
