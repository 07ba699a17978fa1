"""The network to PostgreSQL breaks after so many bytes: bounded, clean, then good again."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from backup.errors import PostgresError, StalledError
from backup.postgres import answers
from backup.postgres.database import Doings, connect
from backup.postgres.dsn import Dsn
from tests.faults.vault import Done, Vault, eventually
from tests.lab.effort import Numbers
from tests.lab.servers import LabServer
from tests.lab.wire import Break, Wire, wire

BREAKS: tuple[Break, ...] = ("blip", "cut", "stall")
# How long nothing may move, how long an answer may take before it is asked about, and how long a
# connection may take to be made. On a busy machine a wire that is whole may be too slow for the
# first, and break nothing.
IMPATIENT_SECONDS = (1, 8, 60)
PATIENT_SECONDS = 300
# By when all is over, on a busy machine too.
LIMIT_SECONDS = 400
# How many bytes the work moves where nothing breaks: seen once, by whoever comes first.
MOVED: dict[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A database that is reached over a wire, and what is asked of it there."""

    vault: Vault
    dsn: Dsn
    work: Callable[[Dsn], tuple[str | Path, ...]]
    left: Callable[[Done], None] = lambda _: None

    def run(self, breaks: Break | None, at: int, seconds: int) -> tuple[Done, Wire]:
        """Do the work over a wire that breaks, with so much patience."""
        with wired(self.dsn, breaks, at) as (line, there):
            return self.vault.run(
                *self.work(there.with_option("connect_timeout", str(seconds))),
                fault={"answer_seconds": seconds},
                environment={"STRONGROOM_STALL_TIMEOUT": f"PT{seconds}S"},
                limit=LIMIT_SECONDS,
            ), line

    def whole(self) -> int:
        """Do it where nothing breaks, and return how many bytes moved."""
        done, line = self.run(None, 0, PATIENT_SECONDS)
        assert done.code == 0, done.stderr
        return line.moved

    def broken(self, breaks: Break, at: int) -> None:
        """Do it where the wire breaks: it ends as a run does whose server is gone, and says so."""
        sessions = replace(self.vault, dsn=self.dsn).sessions
        for seconds in IMPATIENT_SECONDS if breaks == "stall" else (PATIENT_SECONDS,):
            before = self.vault.backups()
            done, line = self.run(breaks, at, seconds)
            codes = {PostgresError.exit_code, *({StalledError.exit_code} if seconds < 99 else ())}
            assert done.code in codes, (breaks, at, done.code, done.stderr)
            assert done.stderr.startswith("strongroom: "), (breaks, at, done.stderr)
            assert "Traceback" not in done.stderr, (breaks, at, done.stderr)
            assert self.vault.backups() == before, (breaks, at)
            self.vault.assert_nobody_left()
            assert eventually(lambda: not sessions()), sessions()
            self.left(done)
            if line.is_broken:
                break
        assert line.is_broken


@contextmanager
def wired(dsn: Dsn, breaks: Break | None, at: int) -> Iterator[tuple[Wire, Dsn]]:
    """Yield a wire to the server, and the database's address at its other end."""
    socket = Path(dsn.host) / f".s.PGSQL.{dsn.port}"
    with wire(socket, breaks, at) as line:
        yield line, Dsn(host="127.0.0.1", port=line.port, user=dsn.user, database=dsn.database)


def somewhere(work: str, chance: random.Random, see: Callable[[], int]) -> int:
    """Return after how many bytes the wire is to break, well before the end of the work."""
    if work not in MOVED:
        MOVED[work] = see()
    return chance.randrange(1, MOVED[work] * 4 // 5)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, any_server: LabServer, portal: Dsn) -> Vault:
    """A repository with one backup of the database."""
    vault = Vault.make(tmp_path_factory.mktemp("wire"), any_server, portal)
    done = vault.backup(limit=LIMIT_SECONDS)
    assert done.code == 0, done.stderr
    return vault


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_backup_over_a_wire_that_breaks(
    begun: Vault, numbers: Numbers, chance: random.Random, breaks: Break
) -> None:
    """There is no backup; nobody is left at work; the next run is good."""
    bench = Bench(
        vault=begun,
        dsn=begun.dsn,
        work=lambda dsn: ("backup", "--dsn", dsn.conninfo(), "--json", "--digests"),
    )
    for _ in range(numbers.of(1, 50)):
        bench.broken(breaks, somewhere("backup", chance, bench.whole))
    bench.whole()
    begun.assert_whole()


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_restore_over_a_wire_that_breaks(
    begun: Vault, any_server: LabServer, numbers: Numbers, chance: random.Random, breaks: Break
) -> None:
    """What is left is told, and is not finished; nobody is left at work; the next one is good."""
    target = begun.dsn.with_database(f"{begun.dsn.database}_restored")
    identity = ("--identity", begun.identity_file)

    def drop() -> None:
        any_server.sql(f"DROP DATABASE IF EXISTS {target.database} WITH (FORCE)", "postgres")

    def left(done: Done) -> None:
        """Nobody could be told to drop what was made: the server was gone."""
        if target.database in begun.databases():
            assert f"the database {target.database}" in done.stderr, done.stderr
            drop()

    bench = Bench(
        vault=begun,
        dsn=target,
        work=lambda dsn: ("restore", "latest", *identity, "--to", dsn.conninfo(), "--json"),
        left=left,
    )

    def whole() -> int:
        moved = bench.whole()
        assert any_server.sql("SELECT count(*) FROM papers", target.database) == "1500"
        drop()
        return moved

    drop()
    for _ in range(numbers.of(1, 25)):
        bench.broken(breaks, somewhere("restore", chance, whole))
    whole()


def test_an_answer_that_never_comes_is_not_waited_for(
    any_database: Dsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query that takes long is, as long as the server says that it is at it."""
    monkeypatch.setattr(answers, "PATIENCE", timedelta(seconds=0.3))

    async def ask() -> None:
        with wired(any_database, "stall", sys.maxsize) as (line, there):
            dsn = there.with_option("connect_timeout", "2")
            async with connect(dsn, application_name="wire") as session:
                assert await session.fetch_value("SELECT 7 FROM pg_sleep(1)") == 7
                assert not await Doings(dsn, "wire").are_going_on()
                line.break_now()
                with pytest.raises(StalledError, match=r"no answer for 0:00:00\.6"):
                    await session.fetch_value("SELECT 7")

    asyncio.run(asyncio.wait_for(ask(), LIMIT_SECONDS))
