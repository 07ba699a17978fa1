"""What a role may read: the questions that decide whether its dump can be whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backup.postgres.census import IN_USER_SCHEMA
from backup.postgres.database import Session
from backup.postgres.locktable import LockTable

_QUERY: Final = f"""
WITH me AS (SELECT * FROM pg_roles WHERE rolname = current_user),
tables AS (
  SELECT c.oid, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relowner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'm') AND {IN_USER_SCHEMA}
)
SELECT
  me.rolsuper AS is_superuser,
  (SELECT count(*) FROM tables) AS tables,
  (SELECT count(*) FROM tables WHERE NOT has_table_privilege(oid, 'SELECT')) AS unreadable,
  CASE WHEN me.rolsuper OR me.rolbypassrls THEN 0 ELSE
    (SELECT count(*) FROM tables WHERE relrowsecurity
       AND (relforcerowsecurity OR NOT pg_has_role(relowner, 'USAGE'))) END AS hidden,
  CASE WHEN me.rolsuper OR current_setting('lo_compat_privileges')::bool THEN 0 ELSE
    (SELECT count(*) FROM pg_largeobject_metadata l
     WHERE NOT pg_has_role(l.lomowner, 'USAGE') AND NOT EXISTS (
       SELECT FROM aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT'
         AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))) END AS unreadable_large_objects,
  has_table_privilege('pg_authid', 'SELECT') AS reads_passwords,
  (SELECT count(*) FROM tables WHERE relkind <> 'm') AS locked_tables,
  (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'S' AND {IN_USER_SCHEMA}) AS sequences,
  current_setting('max_locks_per_transaction')::int8 AS locks_per_session,
  current_setting('max_connections')::int8
    + current_setting('max_prepared_transactions')::int8 AS sessions,
  (SELECT sum(current_setting(name)::int8)::int8 FROM unnest(ARRAY['max_connections',
     'max_prepared_transactions', 'autovacuum_max_workers', 'max_worker_processes',
     'max_wal_senders']) name)
    + coalesce(current_setting('autovacuum_worker_slots', true)::int8, 0) AS all_sessions,
  clock_timestamp() AS server_time,
  current_setting('server_version_num')::int4 / 10000 AS major,
  version() AS version
FROM me
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the role of a session can read of its database.

    `unreadable` counts relations, `hidden` those whose row security applies to the role.
    """

    is_superuser: bool
    tables: int
    unreadable: int
    hidden: int
    unreadable_large_objects: int
    reads_passwords: bool
    lock_table: LockTable
    server_time: datetime
    major: int
    version: str


async def read_access(session: Session) -> Access:
    """Return what the session's role can read."""
    row = await session.fetch_row(_QUERY)
    lock_table = LockTable(
        tables=row["locked_tables"],
        sequences=row["sequences"],
        major=row["major"],
        per_session=row["locks_per_session"],
        sessions=row["sessions"],
        all_sessions=row["all_sessions"],
    )
    read = {name: row[name] for name in Access.__dataclass_fields__ if name != "lock_table"}
    return Access(lock_table=lock_table, **read)
