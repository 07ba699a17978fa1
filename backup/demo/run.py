"""`demo`: the whole story on this machine, for real, on a PostgreSQL that comes in a wheel.

Everything goes through the same functions as the commands; nothing here is special but the
database, which is made up.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import platform
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from backup import keyring
from backup.crypto.recipients import Identity, X25519Identity, parse_identities
from backup.demo import portal
from backup.errors import IntegrityError, SettingsError
from backup.evidence.selection import Choice
from backup.evidence.verdict import Word
from backup.journeys.archives import open_backup
from backup.journeys.create import Created, Source, create
from backup.journeys.initialize import initialize
from backup.journeys.progress import Silent
from backup.journeys.restoretest import Concluded, Examiner, restore_test
from backup.journeys.scratchlook import Workshop
from backup.journeys.stored import Trust
from backup.logmemory import open_log
from backup.postgres.command import SEARCH_PATH, Command
from backup.postgres.compare import Contents, content_digests, differences
from backup.postgres.database import connect
from backup.postgres.dsn import Dsn
from backup.postgres.process import run
from backup.postgres.scratch import scratch_cluster
from backup.postgres.tools import Tools, find_tools
from backup.repository.access import LATEST, Repository
from backup.repository.chunking import DEFAULT_CHUNK_SIZES
from backup.repository.layout import SCRIPT_KEY
from backup.repository.stores.local import LocalStore
from backup.testpolicy import RestoreTestPolicy
from backup.version import VERSION

MAJOR = 18
DATABASE = "portal"
_MARKER = "made-by-strongroom-demo"
_STOCK_TOOLS = ("age", "zstd", "bash", "sha256sum")
_STOCK_LIMIT = timedelta(minutes=10)
_APPLICATION = "strongroom demo"

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstrated:
    """What the demo did, in numbers, and where it left everything."""

    directory: Path
    first: Created
    second: Created
    tables: int
    rows: int
    stock_tools_missing: tuple[str, ...]
    report: Path

    @property
    def new_share(self) -> float:
        """What the second backup stored, as a share of what the first one stored."""
        return self.second.manifest.new_bytes / self.first.manifest.new_bytes


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
    """Back up, change, back up again; restore and compare twice, then without our code.

    What an earlier demo left in `directory` is replaced; anything else there is refused. Raises
    `IntegrityError` if a restored database differs in anything.
    """
    stage = _Stage(directory=directory, jobs=jobs, say=say)
    await asyncio.to_thread(_make_directory, directory)
    tools = find_tools(MAJOR, with_server=True)
    with scratch_cluster(tools) as server:
        source = server.dsn.with_database(DATABASE)
        await _timed(say, "load a sample client portal", _load(server.dsn, scale))
        repository = _initialize(stage)
        keys_directory = keyring.keys_directory(stage.state, repository.id)

        async def back_up() -> Created:
            return await create(
                Source(
                    dsn=source,
                    name=DATABASE,
                    jobs=jobs,
                    compression_level=1,
                    lock_timeout=timedelta(minutes=1),
                    stall_timeout=timedelta(minutes=5),
                    digests="always",
                ),
                repository,
                keyring.load_writing_keys(keys_directory, None),
                keyring.load_allowed_signers(keys_directory, None),
                state_directory=stage.state,
                clock=lambda: datetime.now(UTC),
                random=os.urandom,
                version=VERSION,
                progress=Silent(),
            )

        first = await _timed(say, "back it up, encrypted to a public key", back_up())
        _say_size(say, first)
        await _timed(say, "let a business day pass", _pass_a_day(source, scale))
        second = await _timed(say, "back it up again", back_up())
        _say_size(say, second)
        share = second.manifest.new_bytes / first.manifest.new_bytes
        say(f"    that is {share:.1%} of the first: the rest was known already")

    tested = await _timed(
        say, "prove it: a restore test, into a fresh server", _test(stage, repository)
    )
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
        first=first,
        second=second,
        tables=len(expected.contents.tables),
        rows=expected.rows,
        stock_tools_missing=missing,
        report=tested.published.path,
    )


def _make_directory(directory: Path) -> None:
    if directory.exists():
        if not (directory / _MARKER).exists() and any(directory.iterdir()):
            raise SettingsError(
                f"{directory} is there and no demo made it", hint="name another with --directory"
            )
        shutil.rmtree(directory)
    directory.mkdir(parents=True, mode=0o700)
    (directory / _MARKER).touch()


def _initialize(stage: _Stage) -> Repository:
    """Make an identity, a repository and the settings that name it."""
    identity = X25519Identity.generate()
    keyring.write_private(stage.identity, identity.text + "\n")
    store = LocalStore(stage.directory / "repository")
    initialize(
        store,
        [identity.recipient],
        sizes=DEFAULT_CHUNK_SIZES,
        state_directory=stage.state,
        principal="strongroom@demo",
        now=datetime.now(UTC).replace(microsecond=0),
        random=os.urandom,
        version=VERSION,
    )
    keyring.write_private(
        stage.directory / "strongroom.toml",
        f'repository = "{store.address}"\nstate_directory = "{stage.state}"\n'
        f'reports_directory = "{stage.directory / "reports"}"\n',
    )
    stage.say("  make an identity, and a repository that only this identity opens")
    return Repository(store)


async def _load(server: Dsn, scale: float) -> None:
    async with connect(server, application_name=_APPLICATION) as session:
        await session.execute(f"CREATE DATABASE {DATABASE}")
    await _execute(server.with_database(DATABASE), portal.create_sql(scale))


async def _pass_a_day(source: Dsn, scale: float) -> None:
    await _execute(source, portal.change_sql(1, scale))


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


async def _test(stage: _Stage, repository: Repository) -> Concluded:
    """Test the newest backup as `strongroom restore-test` does; anything but a PASS raises."""
    keys_directory = keyring.keys_directory(stage.state, repository.id)
    keys = keyring.load_writing_keys(keys_directory, None)
    examiner = Examiner(
        repository=repository,
        trust=Trust(allowed=keyring.load_allowed_signers(keys_directory, None), claims=()),
        identities=await asyncio.to_thread(_read_identities, stage.identity),
        key_source=f"identity file {stage.identity.name}",
        keys=keys,
        log=open_log(repository.store, repository.id, keys.signing_key, stage.state),
        policy=RestoreTestPolicy(),
        workshop=Workshop(
            host=platform.node(),
            user=getpass.getuser(),
            operating_system=platform.platform(),
            jobs=stage.jobs,
            stall_timeout=timedelta(minutes=5),
        ),
        state_directory=stage.state,
        reports_directory=stage.directory / "reports",
        version=VERSION,
    )
    tested = await restore_test(
        examiner,
        Choice(rule="latest"),
        clock=lambda: datetime.now(UTC),
        random=os.urandom,
        progress=Silent(),
    )
    verdict = tested.report.verdict
    if verdict.word is not Word.PASS:
        codes = ", ".join(finding.code.value for finding in verdict.findings)
        raise IntegrityError(f"the demo's own backup did not pass its restore test: {codes}")
    stage.say(f"    {verdict.sentence}: level {verdict.level}, seal S{verdict.seal}")
    return tested


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


def _say_size(say: Callable[[str], None], made: Created) -> None:
    manifest = made.manifest
    say(
        f"    {manifest.plain_bytes / 1e6:.1f} MB dumped,"
        f" {manifest.new_bytes / 1e6:.2f} MB new in the repository"
    )
