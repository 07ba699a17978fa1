"""What is asked of a replica, and of a server about those that copy it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deploy.core.checks import Names, Probe, Target, nothing
from deploy.core.model import REPLICATION_ROLE

_APPLY: Final = "strongroom host apply"
_RUNBOOK: Final = "docs/runbooks/add-a-replica.md"
# More than this behind is not following any more.
_LAG_BYTES: Final = 64 * 1024 * 1024
_SILENCE: Final = "2 minutes"
_ROLE: Final = "(SELECT oid FROM pg_roles WHERE rolname = '@replication_role@')"

# Asked of a replica these would pass without saying anything: it archives nothing, and no backup
# is taken there.
NOT_OF_A_REPLICA: Final = frozenset({"archiver", "backup-reads-everything"})


def _is_replica(target: Target) -> bool:
    return target.replica is not None


def _is_copied(target: Target) -> bool:
    return target.replica is None and target.server is not None and target.server.has_replicas


def _slots(target: Target) -> frozenset[str]:
    # A replica has none: nobody follows it.
    if target.replica is not None:
        return frozenset()
    return frozenset(
        f"{one.replication_slot} is in use" for one in target.estate.replicas_of(target.host.name)
    )


def _slots_of_others(target: Target) -> frozenset[str]:
    if target.replica is not None or target.server is None:
        return frozenset()
    return frozenset(f"{name} is in use" for name in target.server.replication_slots)


def _sessions(target: Target) -> frozenset[str]:
    role = REPLICATION_ROLE.name
    return frozenset(
        f"{one.host.name} is streaming as {role} from {one.host.address} over TLSv1.3"
        for one in target.estate.replicas_of(target.host.name)
    )


def _received(target: Target) -> frozenset[str]:
    assert target.replica is not None
    return frozenset(
        {f"streaming from {target.replica.primary} by {target.replica.replication_slot}"}
    )


def _sql(  # noqa: PLR0917 - rows of a table
    id_: str,
    what: str,
    text: str,
    expected: str,
    hint: str,
    applies: Callable[[Target], bool] = lambda _: True,
    required: Names = nothing,
    allowed: Names = nothing,
) -> Probe:
    return Probe(
        id=id_,
        what=what,
        language="sql",
        scope="cluster",
        text=text,
        expected=expected,
        hint=hint,
        applies=applies,
        required=required,
        allowed=allowed,
    )


REPLICATION_PROBES: Final = (
    _sql(
        "replication-slots",
        "each replica has its slot, and nobody else holds up disk",
        "SELECT slot_name || CASE WHEN wal_status IN ('lost', 'unreserved') THEN ' has lost what it"
        " kept' WHEN active THEN ' is in use' ELSE ' is used by nobody' END"
        " FROM pg_replication_slots WHERE NOT temporary ORDER BY 1",
        "one for each declared replica, in use",
        f"pg_drop_replication_slot what nobody declared; else {_RUNBOOK}",
        required=_slots,
        allowed=_slots_of_others,
    ),
    _sql(
        "replicas-stream",
        "every replica streams, over TLS 1.3, as the role for that, and nobody else does",
        "SELECT application_name || ' is ' || r.state || ' as ' || r.usename || ' from '"
        " || coalesce(host(client_addr), 'the socket') || ' over ' || coalesce(version, 'no TLS')"
        " FROM pg_stat_replication r LEFT JOIN pg_stat_ssl USING (pid) ORDER BY 1",
        "a session of each declared replica, from its address",
        f"the log of the replica says why; {_RUNBOOK}",
        _is_copied,
        _sessions,
    ),
    _sql(
        "replicas-lag",
        "no replica is far behind",
        "SELECT application_name || ' is behind by '"
        " || coalesce(pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 'all')"
        " FROM pg_stat_replication WHERE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(),"
        f" replay_lsn), {_LAG_BYTES} + 1) > {_LAG_BYTES} ORDER BY 1",
        "64 MB of the write-ahead log or less",
        "is the replica's disk, or the network, too slow? what does it replay?",
        _is_copied,
    ),
    _sql(
        "replication-role",
        "the role that streams may do nothing else",
        "SELECT 'not there' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname ="
        " '@replication_role@') UNION ALL SELECT 'is superuser, or makes roles or databases, or"
        " passes row security' FROM pg_roles WHERE rolname = '@replication_role@' AND (rolsuper OR"
        " rolcreaterole OR rolcreatedb OR rolbypassrls)"
        " UNION ALL SELECT 'has a password' FROM pg_authid WHERE rolname = '@replication_role@'"
        " AND rolpassword IS NOT NULL"
        " UNION ALL SELECT 'is a member of ' || g.rolname FROM pg_auth_members m JOIN pg_roles g"
        f" ON g.oid = m.roleid WHERE m.member = {_ROLE}"
        " UNION ALL SELECT DISTINCT 'has rights in ' || coalesce(datname, 'the cluster') FROM"
        " pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid WHERE refclassid ="
        f" 'pg_authid'::regclass AND refobjid = {_ROLE}",
        "no attribute but LOGIN and REPLICATION, no password, no membership, no right",
        "REVOKE what is named; DROP OWNED BY @replication_role@ in that database",
        _is_copied,
    ),
    _sql(
        "standby-recovers",
        "the replica is one: it writes nothing of its own",
        "SELECT 'it is written to' WHERE NOT pg_is_in_recovery()",
        "in recovery",
        "was it promoted? then the inventory has to say so: docs/runbooks/promote-a-replica.md",
        _is_replica,
    ),
    _sql(
        "standby-streams",
        "the replica receives from its primary, by its slot",
        "SELECT coalesce((SELECT status || ' from ' || sender_host || ' by '"
        " || coalesce(nullif(slot_name, ''), 'no slot') FROM pg_stat_wal_receiver),"
        " 'nothing is received')",
        "streaming from @primary@ by @replication_slot@",
        f"the replica's log says why; {_RUNBOOK}",
        _is_replica,
        _received,
    ),
    _sql(
        "standby-replays",
        "what the replica receives it replays, and the primary is heard of",
        "SELECT 'replay is paused' WHERE CASE WHEN pg_is_in_recovery() THEN"
        " pg_is_wal_replay_paused() ELSE false END"
        " UNION ALL SELECT pg_size_pretty(n) || ' are received and not replayed' FROM (SELECT"
        " pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())) q (n)"
        f" WHERE n > {_LAG_BYTES}"
        " UNION ALL SELECT 'nothing heard since ' || last_msg_receipt_time"
        f" FROM pg_stat_wal_receiver WHERE last_msg_receipt_time < now() - interval '{_SILENCE}'",
        f"64 MB or less wait; something is heard every {_SILENCE}",
        "SELECT pg_wal_replay_resume() if it is paused; a long query holds it up, or a slow disk",
        _is_replica,
    ),
)
