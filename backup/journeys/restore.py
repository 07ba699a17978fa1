"""`restore`: a backup into a new database, and the rows counted when it is there.

gather: the manifest, its signature, the private half, the server
plan:   the steps, which `--dry-run` and a person's confirmation show
act:    missing roles, a new database, definitions, data in parallel, indexes and constraints
report: what was restored, and that every table holds the rows that were counted in the dump

Nothing that exists is changed: no role, no database. A restore that fails drops the database that
it made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from backup.errors import IntegrityError, PostgresError, StalledError, StrongroomError
from backup.journeys.archives import OpenBackup
from backup.journeys.progress import Progress
from backup.journeys.restoreplan import APPLICATION, Destination, RestorePlan
from backup.journeys.threads import Running, run_each, settled
from backup.postgres import commands, selection, target
from backup.postgres.answers import answered
from backup.postgres.command import Command
from backup.postgres.commands import RestoreTarget, TableName
from backup.postgres.database import Doings, connect
from backup.postgres.dsn import Dsn
from backup.postgres.globals import GlobalsPlan, statements_for
from backup.postgres.process import MemoryFile, run, writing
from backup.postgres.snapshot import count_at_rest
from backup.postgres.target import CreatedDatabase, Surroundings
from backup.repository.catalog import Catalog, DatabaseProperties, Relation
from backup.repository.manifest import StoredPart

_log = logging.getLogger(__name__)

# Building all indexes of a database takes as long as it takes.
_NO_LIMIT = timedelta(days=30)

# Told of each tool that ended well: what was run, what it said on standard error, how long it took.
Heard: TypeAlias = Callable[[Command, str, timedelta], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A database that holds what the backup held: every count was compared."""

    backup_id: str
    database: str
    destination: str
    tables: int
    rows: int
    created_roles: tuple[str, ...]
    notes: tuple[str, ...]
    duration: timedelta


async def restore(
    backup: OpenBackup,
    plan: RestorePlan,
    destination: Destination,
    *,
    is_fresh: bool = False,
    counts: bool = True,
    heard: Heard | None = None,
    clock: Callable[[], datetime],
    progress: Progress,
) -> Restored:
    """Do what the plan says; on return the database is there and its rows were counted.

    `is_fresh`: nobody else uses the cluster, so roles that exist get their attributes too.
    `counts` False is for who compares the whole database himself: no row was counted then. On any
    exception the database is dropped again, or the message says that it is there; roles that were
    created stay.
    """
    started = clock()
    catalog = backup.catalog
    progress.begin("restoring", sum(part.plain_bytes for part in plan.parts))
    around = await _surroundings(destination.dsn)
    globals_plan = statements_for(
        await asyncio.to_thread(_text, backup, "globals"),
        around.roles,
        is_fresh=is_fresh,
        bootstrap_superuser=catalog.bootstrap_superuser,
    )
    missing_tablespaces = tuple(sorted(set(globals_plan.tablespaces) - around.tablespaces))
    into = RestoreTarget(
        tools=plan.tools,
        dsn=destination.dsn,
        is_superuser=plan.is_superuser,
        has_tablespaces=not missing_tablespaces,
    )
    await target.create_roles(destination.dsn, globals_plan, application_name=APPLICATION)
    made = await _make(destination.dsn, catalog.database)
    _log.info("database %s is made", made.name, extra={"action": "database_created"})
    try:
        with MemoryFile() as schema:
            loaded = await _fill(
                backup,
                plan,
                destination,
                into=into,
                schema=schema,
                heard=heard,
                clock=clock,
                progress=progress,
            )
        if not plan.is_whole:
            await _set_sequences(destination, catalog, plan)
        expected = _expected(catalog, plan, loaded)
        tables, rows = await _count(expected, destination) if counts else (0, 0)
        notes = await target.complete_database(
            destination.dsn, catalog.database, application_name=APPLICATION
        )
    except BaseException as error:
        await _drop(destination.dsn, made, error)
        raise
    return Restored(
        backup_id=plan.backup_id,
        database=plan.database,
        destination=plan.destination,
        tables=tables,
        rows=rows,
        created_roles=globals_plan.created_roles,
        notes=(*made.notes, *notes, *_notes(globals_plan, missing_tablespaces, plan)),
        duration=clock() - started,
    )


async def _drop(dsn: Dsn, made: CreatedDatabase, error: BaseException) -> None:
    """Drop the database that could not be filled; where that fails, say so and why it was to be."""
    try:
        await target.drop_created(dsn, made, application_name=APPLICATION)
    except (PostgresError, StalledError) as failure:
        why = f"{error.message}; then " if isinstance(error, StrongroomError) else ""
        kind = type(error) if isinstance(error, StrongroomError) else PostgresError
        raise kind(
            f"{why}the database {made.name} could not be dropped, it is not finished:"
            f" {failure.message}",
            hint=f"drop the database {made.name} yourself, and restore again",
        ) from error


async def _make(dsn: Dsn, properties: DatabaseProperties) -> CreatedDatabase:
    """Create the database; when cancelled, see that there is none.

    A server that is told to stop a CREATE DATABASE may have it all the same, after we have looked.
    """
    creating = asyncio.ensure_future(
        target.create_database(dsn, properties, application_name=APPLICATION)
    )
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError as error:
        await settled([creating])
        if creating.exception() is None:
            await _drop(dsn, creating.result(), error)
        raise


async def _fill(
    backup: OpenBackup,
    plan: RestorePlan,
    destination: Destination,
    *,
    into: RestoreTarget,
    schema: MemoryFile,
    heard: Heard | None,
    clock: Callable[[], datetime],
    progress: Progress,
) -> tuple[TableName, ...]:
    """Load definitions, data and indexes; return the tables loaded, unless all were."""
    running = Running()

    def load_schema(part: StoredPart) -> None:
        for chunk in backup.chunks(part):
            schema.write(chunk)
            progress.advance(len(chunk))

    def define(part: StoredPart) -> None:
        definitions(commands.pg_restore_seekable(into, "pre-data", part=part.name))

    def tell(command: Command, stderr: str, begun: datetime) -> None:
        if heard is not None:
            heard(command, stderr, clock() - begun)

    def definitions(command: Command) -> bytes:
        begun = clock()
        done = run(command, stdin=schema, timeout=_NO_LIMIT, entered=running.entered)
        tell(command, done.stderr_tail, begun)
        return done.stdout

    async def minded(working: Awaitable[object]) -> None:
        # Indexes take as long as they take, and no byte moves meanwhile.
        await answered(
            working,
            label=str(destination.dsn),
            is_at_work=Doings(destination.dsn).are_going_on,
            patience=destination.stall_timeout,
        )

    await run_each(load_schema, [backup.part("schema")], jobs=1, running=running)
    await minded(run_each(define, [backup.part("schema")], jobs=1, running=running))
    chosen = await _holding_rows(destination, plan)
    streams = _streams(plan, backup.catalog, chosen)

    def load(stream: tuple[StoredPart, TableName | None]) -> None:
        part, table = stream
        running.check()
        command = commands.pg_restore_streamed(into, "data", part=part.name, table=table)
        begun = clock()
        stall = destination.stall_timeout
        with writing(command, stall=stall, entered=running.entered) as writer:
            for chunk in backup.chunks(part):
                if not writer.write(chunk):
                    break
                progress.advance(len(chunk))
        tell(command, writer.stderr_tail, begun)

    await run_each(load, streams, jobs=destination.jobs, running=running)

    def build_listed(listing: bytes | None, *, jobs: int) -> None:
        running.check()
        definitions(
            commands.pg_restore_seekable(
                into, "post-data", part="schema", jobs=jobs, listing=listing
            )
        )

    def build(jobs: int) -> None:
        if not plan.is_whole:
            listing = definitions(commands.pg_restore_list(plan.tools))
            build_listed(selection.standing_alone(listing), jobs=1)
        elif backup.catalog.has_partitions:
            listing = definitions(commands.pg_restore_list(plan.tools, "post-data"))
            for stage in selection.stages(listing):
                build_listed(stage.listing, jobs=jobs if stage.is_parallel else 1)
        else:
            build_listed(None, jobs=jobs)

    progress.begin("indexing", None)
    await minded(run_each(build, [destination.jobs], jobs=1, running=running))
    return chosen


async def _holding_rows(destination: Destination, plan: RestorePlan) -> tuple[TableName, ...]:
    """Return the chosen tables that hold rows themselves: of a partitioned one, its leaves."""
    if plan.is_whole:
        return ()
    async with connect(destination.dsn, application_name=APPLICATION) as session:
        found = [
            leaf
            for relation in plan.relations
            for leaf in await selection.leaves(
                session, TableName(schema=relation.schema, name=relation.name)
            )
        ]
    return tuple(dict.fromkeys(found))


def _streams(
    plan: RestorePlan, catalog: Catalog, chosen: Sequence[TableName]
) -> list[tuple[StoredPart, TableName | None]]:
    """Return what is fed to a pg_restore each, largest first: a part, or one table out of it."""
    apart = {
        TableName(schema=one.schema, name=one.name): one.part
        for one in catalog.relations
        if one.part is not None
    }
    streams: list[tuple[StoredPart, TableName | None]] = []
    for part in sorted(plan.parts, key=lambda part: -part.plain_bytes):
        if part.kind == "rest" and not plan.is_whole:
            streams += [(part, table) for table in chosen if table not in apart]
        elif part.kind == "rest" or (
            part.kind == "table"
            and (plan.is_whole or part.name in {apart.get(table) for table in chosen})
        ):
            streams.append((part, None))
    return streams


async def _set_sequences(destination: Destination, catalog: Catalog, plan: RestorePlan) -> None:
    """Give the sequences that feed the chosen tables their values; all others start anew."""
    values = {(one.schema, one.name): one for one in catalog.sequences}
    async with connect(destination.dsn, application_name=APPLICATION) as session:
        for relation in plan.relations:
            table = TableName(schema=relation.schema, name=relation.name)
            for name in await selection.owned_sequences(session, table):
                state = values.get((name.schema, name.name))
                if state is not None:
                    await selection.set_sequence(session, state)


def _expected(
    catalog: Catalog, plan: RestorePlan, loaded: Sequence[TableName]
) -> tuple[Relation, ...]:
    """Return what was counted in the dump and has to be there again, as often as then."""
    chosen = {(one.schema, one.name) for one in plan.relations}
    chosen |= {(one.schema, one.name) for one in loaded}
    return tuple(
        one
        for one in catalog.relations
        if one.rows is not None
        and one.is_dumped
        and (plan.is_whole or (one.schema, one.name) in chosen)
    )


async def _count(expected: Sequence[Relation], destination: Destination) -> tuple[int, int]:
    """Count the rows; return how many tables and rows there are. Raises on any difference."""
    observed = await count_at_rest(
        destination.dsn, jobs=destination.jobs, application_name=APPLICATION
    )
    found = {(one.schema, one.name): one.rows for one in observed}
    for one in expected:
        rows = found.get((one.schema, one.name))
        if rows != one.rows:
            raise IntegrityError(
                f"table {one.schema}.{one.name} has {rows} rows after the restore,"
                f" and had {one.rows} in the dump's snapshot",
                hint="nothing was left behind; try an older backup, and report this one",
            )
    return len(expected), sum(one.rows or 0 for one in expected)


async def _surroundings(dsn: Dsn) -> Surroundings:
    async with target.maintenance(dsn, APPLICATION) as session:
        return await target.read_surroundings(session)


def _text(backup: OpenBackup, part: str) -> str:
    return b"".join(backup.chunks(backup.part(part))).decode("utf-8")


def _notes(
    globals_plan: GlobalsPlan, missing_tablespaces: tuple[str, ...], plan: RestorePlan
) -> tuple[str, ...]:
    notes = []
    if globals_plan.created_superusers:
        notes.append(f"new superusers: {', '.join(globals_plan.created_superusers)}")
    if missing_tablespaces:
        notes.append(
            "everything is in the default tablespace: the cluster has no tablespace"
            f" {', '.join(missing_tablespaces)}"
        )
    if not plan.is_whole:
        notes.append("tables that were not named are empty, and foreign keys were left out")
    return tuple(notes)
