"""One moment of one database, held still while several sessions dump and count it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from backup.errors import PostgresError
from backup.postgres import census, definitions, properties, surroundings
from backup.postgres.census import ListedRelation
from backup.postgres.copying import Copying
from backup.postgres.database import (
    LOCK_TIMEOUT,
    MissingRelationError,
    Session,
    connect,
    quote_identifier,
)
from backup.postgres.digests import take_digests
from backup.postgres.dsn import Dsn
from backup.postgres.tools import find_tools
from backup.repository import catalog
from backup.repository.catalog import Catalog, Digests, Relation

# Somebody would have to create, rename or drop a table in each of these few milliseconds.
ATTEMPTS: Final = 10
_LOCKS_PER_STATEMENT: Final = 500
_PAUSE: Final = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server that was asked. `system_identifier` is None where the role may not read it."""

    version: str
    version_num: int
    system_identifier: str | None
    cluster_name: str
    is_standby: bool

    @property
    def major(self) -> int:
        """The major version: 15, 16 and so on."""
        return self.version_num // 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An exported snapshot with every table locked ACCESS SHARE; lives as long as its block.

    `started_at` is the server's clock when it was taken; `lsn` was the end of the WAL written
    (on a standby: replayed) just after. `relations` have sizes, no counts; `listed` are the same
    with their oids. `sequences` were read after the snapshot was taken and before the block began.
    """

    snapshot_id: str
    lsn: str
    started_at: datetime
    server: Server
    database: str
    database_oid: int
    relations: tuple[Relation, ...]
    large_object_bytes: int
    listed: tuple[ListedRelation, ...]
    sequences: tuple[catalog.Sequence, ...]
    _session: Session
    _dsn: Dsn
    _application_name: str
    _lock_timeout: timedelta

    async def check_held(self) -> None:
        """Raise PostgresError unless the transaction that holds the snapshot is still open.

        A dump that joined before the holder was lost may have locked its tables after it.
        """
        found = await self._session.fetch_value(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'ExclusiveLock'"
            " AND locktype = 'virtualxid' AND now() <= $1",
            self.started_at,
        )
        if found != 1:
            raise PostgresError(f"the snapshot {self.snapshot_id} was lost during the dump")

    async def catalog(
        self,
        *,
        jobs: int,
        digest_salt: bytes | None = None,
        tool_directories: tuple[Path, ...] = (),
    ) -> Catalog:
        """Return the private catalogue, with exact row counts taken in this very snapshot.

        Up to `jobs` further sessions count. Not counted: foreign tables, partitioned parents
        (their leaves are; it is the other way round where a table is hash-partitioned by an enum,
        see `census.list_relations`), unpopulated materialised views, extension tables that pg_dump
        leaves out or filters, and on a standby unlogged tables. The schema is read in the session
        that holds the tables' locks, so that nobody who waits for one can stop it. With a salt
        the content is digested too, when all is counted.
        """
        counted = await census.count_rows(
            self._dsn,
            self._session,
            self.snapshot_id,
            self.listed,
            jobs=jobs,
            application_name=self._application_name,
            lock_timeout=self._lock_timeout,
        )
        digests = None
        if digest_salt is not None:
            digests = await self.digests(
                jobs=jobs, salt=digest_salt, tool_directories=tool_directories
            )
        held = self._session
        beside, covers = await surroundings.read_surroundings(held)
        defined = await definitions.read_objects(held)
        return Catalog(
            database=await properties.read_database(held),
            bootstrap_superuser=await held.fetch_value(
                "SELECT rolname::text FROM pg_roles WHERE oid = 10"
            ),
            relations=tuple(
                replace(one.relation, rows=counted.get(one.oid)) for one in self.listed
            ),
            sequences=self.sequences,
            roles=await properties.read_roles(held),
            extensions=await properties.read_extensions(held),
            large_objects=await held.fetch_value("SELECT count(*) FROM pg_largeobject_metadata"),
            subscriptions=await properties.read_subscriptions(held),
            server_settings=await properties.read_server_settings(held),
            objects=tuple(sorted((*defined, *beside), key=lambda one: (one.kind, one.name))),
            large_object_rights=await definitions.read_large_object_rights(held),
            default_privileges=await definitions.read_default_privileges(held),
            collations=await definitions.read_collations(held),
            digests=digests,
            covers=covers,
        )

    async def digests(
        self, *, jobs: int, salt: bytes, tool_directories: tuple[Path, ...] = ()
    ) -> Digests:
        """Return the digests of all tables and large objects, read in up to `jobs` sessions.

        Not beside `catalog`: both may need the session that holds the snapshot.
        """
        copying = Copying(
            tools=find_tools(self.server.major, bin_directories=tool_directories),
            dsn=self._dsn,
            snapshot_id=self.snapshot_id,
            server_version=self.server.version_num,
            application_name=self._application_name,
        )
        return await take_digests(copying, self._session, self.listed, jobs=jobs, salt=salt)


@asynccontextmanager
async def hold_snapshot(
    dsn: Dsn, *, application_name: str, lock_timeout: timedelta = LOCK_TIMEOUT
) -> AsyncIterator[Snapshot]:
    """Export a snapshot and hold it, and ACCESS SHARE on every table, until the block ends.

    TRUNCATE and rewriting ALTERs do not honour snapshots taken before them, so each table in the
    snapshot is locked before the snapshot is taken (LOCK TABLE takes none itself), or is shown
    to have kept its file until it was locked. Raises PostgresError when leaving the block
    normally if the holding transaction was lost meanwhile.
    """
    async with connect(
        dsn, application_name=application_name, lock_timeout=lock_timeout
    ) as session:
        server = await _read_server(session)
        for attempt in range(ATTEMPTS):
            exported = await _lock_and_export(session, is_standby=server.is_standby)
            if exported is not None:
                break
            await asyncio.sleep(_PAUSE.total_seconds() * attempt)
        else:
            raise PostgresError(
                f"no quiet moment in {ATTEMPTS} attempts: tables of {dsn} kept being created,"
                " renamed or dropped",
                hint="find who creates tables that often in pg_stat_activity",
            )
        taken = await session.fetch_row(
            "SELECT d.datname::text AS database, d.oid::int8 AS oid,"
            " pg_table_size('pg_largeobject') AS large_object_bytes"
            " FROM pg_database d WHERE d.datname = current_database()"
        )
        measured = await census.measure(session, exported.relations)
        exported = replace(exported, relations=measured)
        # Before any dump reads them: what is restored may be further on, and is never behind.
        async with connect(
            dsn, application_name=application_name, lock_timeout=lock_timeout
        ) as other:
            sequences = await properties.read_sequences(
                other, exported.snapshot_id, is_standby=server.is_standby
            )
        snapshot = Snapshot(
            snapshot_id=exported.snapshot_id,
            lsn=exported.lsn,
            started_at=exported.started_at,
            server=server,
            database=taken["database"],
            database_oid=taken["oid"],
            relations=tuple(one.relation for one in measured),
            large_object_bytes=taken["large_object_bytes"],
            listed=measured,
            sequences=sequences,
            _session=session,
            _dsn=dsn,
            _application_name=application_name,
            _lock_timeout=lock_timeout,
        )
        yield snapshot
        await snapshot.check_held()
        await session.execute("COMMIT")


async def count_at_rest(
    dsn: Dsn, *, jobs: int, application_name: str
) -> tuple[catalog.Relation, ...]:
    """Return every relation with its rows, as `Snapshot.catalog` counts them.

    For a database that nobody changes: its tables are not locked all at once, as `pg_restore` does
    not either, so that a server takes as many tables as can be restored into it.
    """
    async with connect(dsn, application_name=application_name) as session:
        is_standby = (await _read_server(session)).is_standby
        await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot_id = await session.fetch_value("SELECT pg_export_snapshot()")
        listed = await census.measure(
            session, await census.list_relations(session, is_standby=is_standby)
        )
        counted = await census.count_rows(
            dsn,
            session,
            snapshot_id,
            listed,
            jobs=jobs,
            application_name=application_name,
            lock_timeout=LOCK_TIMEOUT,
        )
        await session.execute("COMMIT")
    return tuple(replace(one.relation, rows=counted.get(one.oid)) for one in listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exported:
    snapshot_id: str
    lsn: str
    started_at: datetime
    relations: tuple[ListedRelation, ...]


async def _lock_and_export(session: Session, *, is_standby: bool) -> _Exported | None:
    """Begin, lock, export; None when a table came or went at a bad moment: try again."""
    before = await census.list_relations(session, is_standby=is_standby)
    await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        await _lock(session, before)
        position = "pg_last_wal_replay_lsn()" if is_standby else "pg_current_wal_lsn()"
        # The first query of the transaction: it takes the snapshot.
        row = await session.fetch_row(
            "SELECT pg_export_snapshot() AS id, statement_timestamp() AS started_at,"
            f" {position}::text AS lsn"
        )
        relations = await census.list_relations(session, is_standby=is_standby)
        late = await _not_locked(session, relations)
        await _lock(session, late)
        if await _have_new_files(session, late) or await _not_locked(session, relations):
            await session.execute("ROLLBACK")
            return None
    except MissingRelationError:
        await session.execute("ROLLBACK")
        return None
    return _Exported(
        snapshot_id=row["id"], lsn=row["lsn"], started_at=row["started_at"], relations=relations
    )


async def _lock(session: Session, listed: Sequence[ListedRelation]) -> None:
    # ONLY: children are in the list themselves, each once.
    names = [
        f"ONLY {quote_identifier(one.relation.schema)}.{quote_identifier(one.relation.name)}"
        for one in listed
        if one.can_be_locked
    ]
    for start in range(0, len(names), _LOCKS_PER_STATEMENT):
        batch = ", ".join(names[start : start + _LOCKS_PER_STATEMENT])
        await session.execute(f"LOCK TABLE {batch} IN ACCESS SHARE MODE")


async def _not_locked(
    session: Session, listed: Sequence[ListedRelation]
) -> tuple[ListedRelation, ...]:
    """Return the tables of the snapshot that this session has no lock on, by oid, not by name."""
    rows = await session.fetch(
        "SELECT l.relation::int8 AS oid FROM pg_locks l WHERE l.pid = pg_backend_pid()"
        " AND l.locktype = 'relation' AND l.mode = 'AccessShareLock' AND l.granted"
    )
    locked = {row["oid"] for row in rows}
    return tuple(one for one in listed if one.can_be_locked and one.oid not in locked)


async def _have_new_files(session: Session, listed: Sequence[ListedRelation]) -> bool:
    """Whether a table was rewritten or truncated after the snapshot: its file is another now.

    pg_relation_filenode() reads the newest catalogue, pg_class in this transaction the snapshot's.
    """
    for one in listed:
        now = await session.fetch_value("SELECT pg_relation_filenode($1::int8::oid)::int8", one.oid)
        if (now or 0) != one.file:
            return True
    return False


async def _read_server(session: Session) -> Server:
    row = await session.fetch_row(
        "SELECT version() AS version, current_setting('server_version_num')::int4 AS number,"
        " current_setting('cluster_name') AS cluster_name, pg_is_in_recovery() AS is_standby,"
        " has_function_privilege('pg_control_system()', 'EXECUTE') AS may_identify"
    )
    identifier = None
    if row["may_identify"]:
        identifier = await session.fetch_value(
            "SELECT system_identifier::text FROM pg_control_system()"
        )
    return Server(
        version=row["version"],
        version_num=row["number"],
        system_identifier=identifier,
        cluster_name=row["cluster_name"],
        is_standby=row["is_standby"],
    )
