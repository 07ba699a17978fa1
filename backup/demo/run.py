"""`demo`: the whole story on this machine, for real, on a PostgreSQL that comes in a wheel.

The daemon does the backups, and what else it does in the months to come; special are only its
clock (`fastdaemon.py`) and the database, which is made up.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from backup import files, keyring
from backup.crypto.recipients import Identity, X25519Identity, parse_identities
from backup.demo import portal
from backup.demo.unattended import (
    OUTAGE_SLOTS,
    Place,
    Said,
    Timeline,
    daemon_from,
    require,
    show_status,
    the_only,
)
from backup.errors import IntegrityError, SettingsError
from backup.journeys.archives import open_backup
from backup.journeys.initialize import initialize
from backup.journeys.threads import to_end
from backup.postgres.command import SEARCH_PATH, Command
from backup.postgres.compare import Contents, content_digests, differences
from backup.postgres.database import connect
from backup.postgres.dsn import Dsn
from backup.postgres.process import run
from backup.postgres.scratch import scratch_cluster
from backup.postgres.tools import Tools, find_tools
from backup.repository.access import LATEST, Repository
from backup.repository.chunking import KIB, MIB, ChunkSizes
from backup.repository.layout import SCRIPT_KEY
from backup.repository.stores.local import LocalStore
from backup.version import VERSION

MAJOR = 18
DATABASE = "portal"
_MARKER = "made-by-strongroom-demo"
_STOCK_TOOLS = ("age", "zstd", "bash", "sha256sum")
_STOCK_LIMIT = timedelta(minutes=10)
_APPLICATION = "strongroom demo"

# Half of the default, as is right for a small database. Where cuts fall is chance, the chunk key's:
# with the default a business day stored 8 to 14 % of the first backup again, in 25 tries; so it is
# 6 to 10 %.
_CHUNK_SIZES = ChunkSizes(minimum=128 * KIB, average=256 * KIB, maximum=MIB)
# What a business day may cost. In a much smaller database most tables are one chunk each.
_MOST_STORED_AGAIN = 0.12
_SCALE_OF_THAT = 0.5

_A_MOMENT = timedelta(minutes=2)
# What is right for a demo is wrong elsewhere: no minimum age, and the key beside the backups.
_SETTINGS = """\
repository = "{repository}"
state_directory = "{directory}/state"
reports_directory = "{directory}/reports"
identity = "{directory}/identity.txt"
jobs = {jobs}
digests = "always"
{schedules}
[retention]
keep_last = 2
minimum_count = 1
minimum_age = 0

[monitoring]
listen = ""

[databases.{database}]
dsn = "{dsn}"
"""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstrated:
    """What the demo did, in numbers, and where it left everything."""

    directory: Path
    tables: int
    rows: int
    stock_tools_missing: tuple[str, ...]
    report: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """Where the demo plays, how many jobs it uses, and how it speaks."""

    directory: Path
    jobs: int
    say: Callable[[str], None]

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def identity(self) -> Path:
        return self.directory / "identity.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorded:
    """What a backup recorded of its source's content, and the salt of its digests."""

    contents: Contents
    salt: bytes

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.contents.tables)


async def demonstrate(
    directory: Path, *, scale: float, jobs: int, say: Callable[[str], None]
) -> Demonstrated:
    """Have the daemon back up, prune and test restores by itself; then restore without our code.

    What an earlier demo left in `directory` is replaced; anything else there is refused. Raises
    `IntegrityError` if a restored database differs in anything.
    """
    stage = _Stage(directory=directory, jobs=jobs, say=say)
    await asyncio.to_thread(_make_directory, directory)
    tools = find_tools(MAJOR, with_server=True)
    with scratch_cluster(tools) as server:
        source = server.dsn.with_database(DATABASE)
        await _timed(say, "load a sample client portal", _load(server.dsn, scale))
        timeline = Timeline.ending(datetime.now(UTC))
        repository = _initialize(stage, source, timeline)
        done = await _let_the_daemon_work(stage, source, scale, timeline)

    expected = await asyncio.to_thread(_recorded, stage, repository)
    missing = tuple(name for name in _STOCK_TOOLS if shutil.which(name) is None)
    if missing:
        say(f"  not done: restore with restore.sh alone; install {', '.join(missing)} for it")
    else:
        await _timed(
            say,
            "restore with restore.sh, age, zstd and pg_restore alone",
            _restore_by_script(stage, repository, tools, expected),
        )
    return Demonstrated(
        directory=directory,
        tables=len(expected.contents.tables),
        rows=expected.rows,
        stock_tools_missing=missing,
        report=Path(done["result"]["report"]),
    )


async def _let_the_daemon_work(
    stage: _Stage, source: Dsn, scale: float, timeline: Timeline
) -> Said:
    """Have the daemon back up, miss, catch up, prune and test; return what the test came to."""
    say, place = stage.say, Place(directory=stage.directory, say=stage.say)
    say("  leave it to the daemon, every hour; hours in which nothing is to be done pass at once")
    began = time.monotonic()
    with daemon_from(place, timeline.first - _A_MOMENT) as life:
        said = await life.go_to(timeline.first + _A_MOMENT)
        first = the_only(said, "slot_finished", "backup")
        say("         a business day of the portal passes")
        await _execute(source, portal.change_sql(1, scale))
        said = await life.go_to(timeline.second + _A_MOMENT)
        second = the_only(said, "slot_finished", "backup")
        share = second["result"]["new_bytes"] / first["result"]["new_bytes"]
        say(f"         that is {share:.1%} of the first: the rest was known already")
        require(
            share <= _MOST_STORED_AGAIN or scale < _SCALE_OF_THAT,
            f"a business day stored {share:.1%} of the first backup again",
        )
    say(f"         the daemon is stopped, and nobody starts it for {OUTAGE_SLOTS} hours")
    with daemon_from(place, timeline.catch_up + _A_MOMENT) as life:
        said = await life.go_to(timeline.catch_up + 2 * _A_MOMENT)
        missed = the_only(said, "slot_missed", "backup")
        require(missed["slots"] == OUTAGE_SLOTS, f"it missed {missed['slots']} slots")
        the_only(said, "slot_finished", "backup")
        say("         caught up once; the others are in the evidence log, as missed")
        said = await life.go_to(None)
        deleted = the_only(said, "slot_finished", "prune")["result"]["deleted"]
        require(deleted == [first["result"]["backup_id"]], f"it deleted {deleted}")
        tested = the_only(said, "slot_finished", "restore-test-latest")
        require(tested["result"]["word"] == "PASS", "its restore test did not pass")
        say(f"    {time.monotonic() - began:.1f} s")
        say("  ask how things are: strongroom status")
        await to_end(lambda: show_status(place))
    return tested


def _make_directory(directory: Path) -> None:
    if directory.exists():
        if not (directory / _MARKER).exists() and any(directory.iterdir()):
            raise SettingsError(
                f"{directory} is there and no demo made it", hint="name another with --directory"
            )
        shutil.rmtree(directory)
    directory.mkdir(parents=True, mode=0o700)
    (directory / _MARKER).touch()


def _initialize(stage: _Stage, source: Dsn, timeline: Timeline) -> Repository:
    """Make an identity, a repository and the settings that name it."""
    identity = X25519Identity.generate()
    files.create(stage.identity, f"{identity.text}\n".encode())
    store = LocalStore(stage.directory / "repository")
    initialize(
        store,
        [identity.recipient],
        sizes=_CHUNK_SIZES,
        state_directory=stage.state,
        principal="strongroom@demo",
        now=datetime.now(UTC).replace(microsecond=0),
        random=os.urandom,
        version=VERSION,
    )
    files.create(
        stage.directory / "strongroom.toml",
        _SETTINGS.format(
            repository=store.address,
            directory=stage.directory,
            jobs=stage.jobs,
            schedules=timeline.settings,
            database=DATABASE,
            dsn=source.conninfo(),
        ).encode(),
    )
    stage.say("  make an identity, and a repository that only this identity opens")
    return Repository(store)


async def _load(server: Dsn, scale: float) -> None:
    async with connect(server, application_name=_APPLICATION) as session:
        await session.execute(f"CREATE DATABASE {DATABASE}")
    await _execute(server.with_database(DATABASE), portal.create_sql(scale))


async def _execute(dsn: Dsn, steps: tuple[portal.Step, ...]) -> None:
    async with connect(dsn, application_name=_APPLICATION) as session:
        await portal.run_steps(steps, session.execute)


def _recorded(stage: _Stage, repository: Repository) -> _Recorded:
    """What the newest backup says that the source held, at the very moment of its dump."""
    allowed = keyring.load_allowed_signers(keyring.keys_directory(stage.state, repository.id), None)
    identities = _read_identities(stage.identity)
    catalog = open_backup(repository, repository.find(LATEST), allowed, identities).catalog
    if catalog.digests is None:
        raise IntegrityError("the demo's own backup has no content digests")
    contents = Contents(
        tables=catalog.digests.tables,
        sequences=catalog.sequences,
        large_objects=catalog.digests.large_objects,
        unpopulated_matviews=(),
    )
    return _Recorded(contents=contents, salt=bytes.fromhex(catalog.digests.salt))


async def _restore_by_script(
    stage: _Stage, repository: Repository, tools: Tools, expected: _Recorded
) -> None:
    root = stage.directory / "repository"
    backup = root / repository.find(LATEST).prefix
    pins = keyring.keys_directory(stage.state, repository.id) / keyring.ALLOWED_SIGNERS_FILE
    with _fresh_server("postgres") as dsn:
        command = Command(
            label="restore.sh",
            argv=("bash", str(root / SCRIPT_KEY), str(stage.identity), str(backup)),
            environment={
                "PATH": f"{tools.bin}:{SEARCH_PATH}",
                "PGHOST": dsn.host,
                "PGUSER": dsn.user,
                "ALLOWED_SIGNERS": str(pins),
            },
        )
        await asyncio.to_thread(run, command, timeout=_STOCK_LIMIT)
        await _compare(stage, dsn.with_database(DATABASE), expected)


def _read_identities(path: Path) -> tuple[Identity, ...]:
    return parse_identities(path.read_text(encoding="utf-8"))


@contextmanager
def _fresh_server(superuser: str) -> Iterator[Dsn]:
    with scratch_cluster(find_tools(MAJOR, with_server=True), superuser=superuser) as cluster:
        yield cluster.dsn


async def _compare(stage: _Stage, restored: Dsn, expected: _Recorded) -> None:
    contents = await content_digests(
        restored, application_name=_APPLICATION, jobs=stage.jobs, salt=expected.salt
    )
    found = differences(expected.contents, contents)
    if found or not contents.tables:
        raise IntegrityError(
            f"the restored database differs from its source: {'; '.join(map(str, found[:5]))}"
        )
    stage.say(
        f"    equal: {len(contents.tables)} tables with {expected.rows} rows,"
        f" {len(contents.sequences)} sequences, {len(contents.large_objects)} large objects,"
        " compared by SHA-256"
    )


async def _timed(say: Callable[[str], None], what: str, work: Awaitable[_Result]) -> _Result:
    say(f"  {what} …")
    began = time.monotonic()
    result = await work
    say(f"    {time.monotonic() - began:.1f} s")
    return result
