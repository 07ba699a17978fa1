"""`backup`: every table of one database at one moment, into the repository, encrypted.

gather: keys, known chunks, an exported snapshot with its tables locked
plan:   which part of the backup holds what (pure; `plan` returns it for `--dry-run`)
act:    parallel pg_dumps of that snapshot, cut into chunks, while rows are counted in it
report: the signed manifest, written last

The function takes public keys and a chunk key only: no identity fits in here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from backup.crypto.allowed_signers import AllowedSigners
from backup.damaged import DamagedObjects
from backup.errors import PostgresError, StrongroomError
from backup.evidence.entry import EntryType
from backup.evidence.log import Appended
from backup.evidence.slot import Slot, answering
from backup.holders import Holders
from backup.journeys.createlog import (
    is_logged,
    log_failure,
    log_success,
    names,
    reconcile,
    remember,
)
from backup.journeys.digestpolicy import DigestPolicy, are_digests_due
from backup.journeys.locks import lock_new, promote
from backup.journeys.openings import Opening
from backup.journeys.origin import NAMED_OTHERWISE
from backup.journeys.progress import Progress
from backup.journeys.reuse import Reusable, check_reused, find_reusable, keep_locked
from backup.journeys.threads import Running, run_each, to_end
from backup.leases import held
from backup.lock import exclusive
from backup.logmemory import open_log
from backup.postgres import census, commands, locktable
from backup.postgres.command import Command
from backup.postgres.database import connect
from backup.postgres.dsn import Dsn
from backup.postgres.parts import Part, plan_parts
from backup.postgres.process import reading
from backup.postgres.snapshot import Snapshot, hold_snapshot
from backup.postgres.tools import Tools, find_tools
from backup.repository.access import Repository, SignedManifest
from backup.repository.catalog import Catalog, Relation
from backup.repository.layout import (
    BackupId,
    BackupKey,
    encode_name,
)
from backup.repository.locking import LockRule
from backup.repository.manifest import Manifest, Previous, StoredPart
from backup.repository.pins import read_pins
from backup.repository.writing import BackupWriter, WritingKeys
from backup.unfinished import unfinished_list

_log = logging.getLogger(__name__)

_SALT_BYTES = 32

_LOCK_HINT = (
    "somebody waits to change a table that the backup reads: see wait_event_type Lock in"
    " pg_stat_activity; run the backup again, or raise lock_timeout"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What to back up, and how gently."""

    dsn: Dsn
    name: str
    jobs: int
    compression_level: int
    lock_timeout: timedelta
    stall_timeout: timedelta
    digests: DigestPolicy = "weekly"
    tool_directories: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A backup that exists and survives a power cut; `tables` is how many it has rows of."""

    manifest: Manifest
    manifest_sha256: str
    duration: timedelta
    tables: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dumped:
    """What the server gave: the stored parts with their lists, and the private catalogue."""

    snapshot: Snapshot
    tools: Tools
    parts: tuple[tuple[StoredPart, bytes], ...]
    catalog: Catalog
    has_passwords: bool


def lock_path(state_directory: Path, repository_id: str, name: str) -> Path:
    """Return the file that a backup of that name holds locked on its host, to its last word."""
    return state_directory / "locks" / f"{repository_id}-{encode_name(name)}.lock"


async def plan(source: Source) -> tuple[Part, ...]:
    """Return the parts that a backup would have now; nothing is written anywhere."""
    async with hold_snapshot(
        source.dsn, application_name="strongroom plan", lock_timeout=source.lock_timeout
    ) as snapshot:
        find_tools(snapshot.server.major, bin_directories=source.tool_directories)
        return _plan(snapshot, source)


async def create(
    source: Source,
    repository: Repository,
    keys: WritingKeys,
    allowed: AllowedSigners | None,
    *,
    state_directory: Path,
    clock: Callable[[], datetime],
    random: Callable[[int], bytes],
    version: str,
    progress: Progress,
    slot: Slot | None = None,
    lock_rule: LockRule | None = None,
) -> Created:
    """Take one backup; on return its manifest survives a power cut.

    On any exception there is no backup, and what was stored is used by the next run; unless the
    message says that it exists. Raises `BusyError` if a backup of this database is at work on this
    host. The run answers `slot`. `lock_rule` says how long the store locks; None: as it is opened.
    """
    started = clock()
    run = f"{repository.id}-{encode_name(source.name)}"
    told = state_directory / "logged" / run
    with (
        exclusive(
            lock_path(state_directory, repository.id, source.name), f"backing up {source.name}"
        ),
        unfinished_list(state_directory / "unfinished" / f"{run}.chunks") as unfinished,
        held(repository.store, "backup", clock=clock, holders=Holders(state_directory)) as lease,
    ):
        await to_end(partial(_check_files, repository, keys))
        earlier = await to_end(partial(repository.backups, source.name))
        newest = earlier[-1].id if earlier else None
        key = BackupKey(source.name, BackupId.after(newest, started, random(3)))
        lock_new(repository.store, key, earlier, lock_rule, now=started)
        damaged = DamagedObjects(state_directory, repository.id)
        log = open_log(repository.store, repository.id, keys.signing_key, state_directory)
        named = {**names(key), **answering(slot)}
        begun: list[Appended] = []  # also if the run is cancelled while this is logged
        try:
            await to_end(
                lambda: begun.append(log.append(EntryType.BACKUP_STARTED, named, now=clock()))
            )
            reusable = await to_end(
                partial(find_reusable, repository, source.name, allowed, unfinished, damaged)
            )
            previous = reusable.previous
            if previous is not None and not is_logged(told, previous, begun[0].head):
                await to_end(partial(reconcile, log, previous, clock()))
            writer = BackupWriter(
                repository.store,
                key,
                keys,
                sizes=repository.description.chunk_sizes,
                level=source.compression_level,
                known=reusable.chunks,
                remember=unfinished.remember,
            )
            is_due = await to_end(
                partial(
                    are_digests_due, repository, source.name, allowed, source.digests, now=started
                )
            )
            dumped = await _dump(
                source,
                writer,
                reusable,
                f"strongroom {slot.text if slot else 'backup'} {key.id}",  # 63 bytes at most
                progress,
                salt=random(_SALT_BYTES) if is_due else None,
            )
            catalog_sha256 = await to_end(partial(_store_lists, writer, dumped))
            await to_end(
                partial(
                    check_reused,
                    repository,
                    writer.reused,
                    reusable,
                    referred=writer.referred,
                    lease=lease,
                )
            )
            await to_end(partial(keep_locked, repository, keys.files, writer.reused))
        except BaseException as error:
            if begun:
                await to_end(partial(log_failure, log, named, error, clock()))
            raise
        snapshot = dumped.snapshot
        manifest = Manifest(
            format=1,
            repository_id=repository.id,
            backup_id=key.id.text,
            database=key.database,
            database_name=snapshot.database,
            cluster_id=snapshot.server.system_identifier or "",
            cluster_name=snapshot.server.cluster_name,
            server_version=snapshot.server.version,
            tool_version=f"pg_dump {dumped.tools.version}",
            written_by=version,
            snapshot_id=snapshot.snapshot_id,
            snapshot_time=snapshot.started_at.astimezone(UTC),
            lsn=snapshot.lsn,
            started=started,
            finished=clock(),
            parts=tuple(part for part, _ in dumped.parts),
            recipients=tuple(recipient.fingerprint for recipient in keys.recipients),
            files=keys.files,
            catalog_sha256=catalog_sha256,
            has_digests=dumped.catalog.digests is not None,
            previous=_previous(reusable.previous),
            log=begun[0].head,
            warnings=(*reusable.warnings, *_warnings(dumped, source)),
        )

        def finish() -> str:
            sha256 = writer.finish(manifest)
            unfinished.forget()
            head = log_success(log, named, manifest, sha256, clock())
            remember(told, key, head)
            return sha256

        sha256 = await _finished(finish, manifest)
        await to_end(
            partial(_promote, repository, [*earlier, key], allowed, lock_rule, now=started)
        )
    _log.info("backup %s exists", key.id, extra={"action": "backup_finished"})
    return Created(
        manifest=manifest,
        manifest_sha256=sha256,
        duration=clock() - started,
        tables=sum(one.is_dumped and one.rows is not None for one in dumped.catalog.relations),
    )


def _promote(
    repository: Repository,
    backups: Sequence[BackupKey],
    allowed: AllowedSigners | None,
    rule: LockRule | None,
    *,
    now: datetime,
) -> None:
    """Extend the locks of what the policy keeps longer than it looked before, the new one's too."""
    try:
        pinned = read_pins(repository.store) if rule is not None else ()
        promote(repository, backups, allowed, rule, now=now, pinned=pinned)
    except StrongroomError as error:
        raise type(error)(
            f"backup {backups[-1].id} exists, but locks of earlier ones could not be extended:"
            f" {error.message}",
            hint=error.hint,
        ) from error


async def _finished(finish: Callable[[], str], manifest: Manifest) -> str:
    """Make the backup exist, and say so even if the run is cancelled in this moment."""
    made: list[str] = []
    try:
        await to_end(lambda: made.append(finish()))
    except asyncio.CancelledError:
        if made:
            _log.warning(
                "interrupted too late: the backup exists, %s",
                manifest.backup_id,
                extra={"action": "backup_finished"},
            )
        raise
    return made[0]


def _check_files(repository: Repository, keys: WritingKeys) -> None:
    """Raise `IntegrityError` if what `init` wrote is not there as this host remembers it.

    A manifest vouches for these files too: a planted `restore.sh` must not be vouched for.
    """
    for file in keys.files:
        repository.check_file(file)


def _plan(snapshot: Snapshot, source: Source) -> tuple[Part, ...]:
    return plan_parts(
        snapshot.relations, jobs=source.jobs, large_object_bytes=snapshot.large_object_bytes
    )


async def _dump(
    source: Source,
    writer: BackupWriter,
    reusable: Reusable,
    application_name: str,
    progress: Progress,
    *,
    salt: bytes | None,
) -> _Dumped:
    """Store every part of one snapshot while its rows are counted; every dump exited with 0.

    With a salt the content is digested too, beside the dumps and in half as many sessions.
    """
    running = Running()
    async with hold_snapshot(
        source.dsn, application_name=application_name, lock_timeout=source.lock_timeout
    ) as snapshot:
        tools = find_tools(snapshot.server.major, bin_directories=source.tool_directories)
        parts = _plan(snapshot, source)
        has_passwords = await _may_read_passwords(source.dsn, application_name)
        dumps = commands.DumpSource(
            tools=tools,
            dsn=source.dsn.with_option("application_name", application_name),
            snapshot_id=snapshot.snapshot_id,
            lock_timeout=source.lock_timeout,
        )
        apart = [_table(part.relation) for part in parts if part.relation is not None]

        def store(part: Part) -> tuple[StoredPart, bytes]:
            running.check()
            command = _command(dumps, part, apart, has_passwords=has_passwords)
            try:
                stall = source.stall_timeout
                with reading(command, stall=stall, entered=running.entered) as reader:
                    opening = Opening(reader, part.kind, command.label)
                    return writer.store_part(part.name, part.kind, opening, progress.advance)
            except PostgresError as error:
                if locktable.is_full(error.message):
                    raise PostgresError(error.message, hint=locktable.HINT) from error
                if "LOCK TABLE" not in error.message:
                    raise
                raise PostgresError(error.message, hint=_LOCK_HINT) from error

        progress.begin("backing up", _expected_bytes(parts, reusable.previous))
        async with census.first_failure_alone(), asyncio.TaskGroup() as tasks:
            looking = snapshot.catalog(
                jobs=1 if salt is None else max(1, source.jobs // 2),
                digest_salt=salt,
                tool_directories=source.tool_directories,
            )
            counting = tasks.create_task(looking)
            storing = tasks.create_task(run_each(store, parts, jobs=source.jobs, running=running))
    return _Dumped(
        # The catalogue has all that, and of tens of thousands of tables it is much.
        snapshot=replace(snapshot, relations=(), listed=(), sequences=()),
        tools=tools,
        parts=tuple(storing.result()),
        catalog=_with_parts(counting.result(), parts),
        has_passwords=has_passwords,
    )


def _command(
    dumps: commands.DumpSource,
    part: Part,
    apart: Sequence[commands.TableName],
    *,
    has_passwords: bool,
) -> Command:
    if part.relation is not None:
        return commands.pg_dump_table(dumps, _table(part.relation))
    if part.kind == "schema":
        return commands.pg_dump_schema(dumps)
    if part.kind == "globals":
        return commands.pg_dumpall_globals(dumps.tools, dumps.dsn, with_passwords=has_passwords)
    return commands.pg_dump_rest(dumps, apart)


def _table(relation: Relation) -> commands.TableName:
    return commands.TableName(schema=relation.schema, name=relation.name)


def _with_parts(catalog: Catalog, parts: Sequence[Part]) -> Catalog:
    """Return the catalogue with each table's own part written beside it."""
    names = {_table(part.relation): part.name for part in parts if part.relation is not None}
    return replace(
        catalog,
        relations=tuple(
            replace(one, part=names[_table(one)]) if _table(one) in names else one
            for one in catalog.relations
        ),
    )


def _store_lists(writer: BackupWriter, dumped: _Dumped) -> str:
    for part, lines in dumped.parts:
        writer.store_list(part, lines)
    return writer.store_catalog(dumped.catalog)


async def _may_read_passwords(dsn: Dsn, application_name: str) -> bool:
    async with connect(dsn, application_name=application_name) as session:
        return bool(await session.fetch_value("SELECT has_table_privilege('pg_authid', 'SELECT')"))


def _expected_bytes(parts: Sequence[Part], previous: SignedManifest | None) -> int:
    """Return about how much pg_dump is going to write: as much as last time, if there was one."""
    if previous is not None:
        return previous.manifest.plain_bytes
    return sum(part.size_bytes for part in parts)


def _previous(signed: SignedManifest | None) -> Previous | None:
    if signed is None:
        return None
    return Previous(backup_id=signed.manifest.backup_id, manifest_sha256=signed.sha256)


def _warnings(dumped: _Dumped, source: Source) -> tuple[str, ...]:
    """Return what this backup does not hold, for the person who will need it; no names in it."""
    warnings = []
    if source.dsn.database != dumped.snapshot.database:
        warnings.append(NAMED_OTHERWISE)
    if newer := dumped.tools.newer_than(dumped.snapshot.server.major):
        warnings.append(newer)
    if not dumped.has_passwords:
        warnings.append(
            "roles are stored without passwords: the backup role may not read pg_authid"
        )
    if dumped.catalog.subscriptions:
        warnings.append(
            f"{len(dumped.catalog.subscriptions)} subscriptions come back disabled, or not at all"
            " if the backup role is no superuser"
        )
    foreign = sum(one.kind == "foreign" for one in dumped.catalog.relations)
    if foreign:
        warnings.append(f"the rows of {foreign} foreign tables are not in the backup")
    if dumped.snapshot.server.is_standby:
        warnings.append("taken from a standby: rows of unlogged tables are not in the backup")
    return tuple(warnings)
