"""The network to a real S3 server breaks after so many bytes: bounded, clean, then good again."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess  # noqa: TID251 - the type of a started command line
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backup.errors import StoreError
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.stores.memory import MemoryStore
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3options import S3Address
from tests.faults.test_prune import history
from tests.faults.test_store import backed_up
from tests.faults.vault import ROOT, Done, Vault, finish
from tests.lab.buckets import S3Server
from tests.lab.effort import Numbers
from tests.lab.prunes import DAY, PruneLab
from tests.lab.servers import LabServer
from tests.lab.wire import BREAKS, Break, Wire, wire
from tests.samples import SIGNING_KEY

# How long one call may take on a wire that stays broken; who has to try again gets more. By when
# all is over is `LIMIT_SECONDS`, on a busy machine too.
# On a busy machine a wire that is whole may be too slow for the first, and break nothing.
PATIENCE_SECONDS = (2, 8, 30)
LONG_PATIENCE_SECONDS = 100
LIMIT_SECONDS = 200
TABLE = """
CREATE TABLE t AS SELECT n, sha512(n::text::bytea) AS v FROM generate_series(1, 6000) n;
ALTER TABLE t ADD PRIMARY KEY (n);
"""


# How many bytes the work moves where nothing breaks: seen once, by whoever comes first.
MOVED: dict[str, int] = {}


def somewhere(work: str, chance: random.Random, see: Callable[[], Wire]) -> int:
    """Return after how many bytes the wire is to break, well before the end of the work."""
    if work not in MOVED:
        MOVED[work] = see().moved
    return chance.randrange(1, MOVED[work] * 4 // 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A prefix in a bucket of a server, reached straight or over a wire."""

    server: S3Server
    address: S3Address
    straight: S3Store

    @contextmanager
    def wire(self, breaks: Break | None, at: int = 0) -> Iterator[Wire]:
        """The wire to the server."""
        with wire(int(self.server.endpoint.rpartition(":")[2]), breaks, at) as line:
            yield line

    @property
    def environment(self) -> dict[str, str]:
        """The keys of the user who may do all."""
        keys = self.server.keys
        return {
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        }


def patience(breaks: Break | None, seconds: int) -> int:
    """How many seconds a call may take."""
    return LONG_PATIENCE_SECONDS if breaks in {None, "blip"} else seconds


def assert_ended_well(done: Done, breaks: Break | None, at: int) -> bool:
    """It did what it was to do, or failed as a store fails; return whether it failed."""
    assert done.code in {0, StoreError.exit_code}, (breaks, at, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.code == 0 or breaks not in {None, "blip"}, (at, done.stderr)
    return done.code != 0


@pytest.fixture
def places(real_s3: S3Server) -> Callable[[str], Place]:
    """Prefixes of one bucket."""
    bucket = real_s3.new_bucket()

    def place(prefix: str) -> Place:
        address = S3Address(bucket=bucket, prefix=prefix)
        straight = S3Store(address, real_s3.options)
        return Place(server=real_s3, address=address, straight=straight)

    return place


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A small database, and as many repositories for it as are asked for."""

    vault: Vault
    places: Callable[[str], Place]

    def begun(self, name: str) -> tuple[Vault, Place]:
        """A new repository, and a host of its own that writes to it."""
        place = self.places(name)
        return self.vault.beside(name, place.straight), place

    def run(
        self,
        vault: Vault,
        place: Place,
        breaks: Break | None,
        at: int,
        *arguments: str | Path,
        seconds: int = 0,
    ) -> tuple[Done, Wire]:
        """Run a verb over a wire that breaks."""
        with place.wire(breaks, at) as line:
            vault.config.write_text(
                f'repository = "{place.address}"\nstate_directory = "{vault.state}"\njobs = 2\n'
                f'[s3]\nprofile = "{place.server.profile}"\ntimeout = {patience(breaks, seconds)}\n'
                f'endpoint = "https://127.0.0.1:{line.port}"\nca_file = "{place.server.ca_file}"\n',
                encoding="utf-8",
            )
            environment = place.environment
            return vault.run(*arguments, environment=environment, limit=LIMIT_SECONDS), line


@pytest.fixture
def bench(
    tmp_path: Path, any_server: LabServer, any_database: Dsn, places: Callable[[str], Place]
) -> Bench:
    """A database whose backup is a few dozen objects."""
    any_server.sql(TABLE, database=any_database.database)
    return Bench(vault=Vault.make(tmp_path, any_server, any_database), places=places)


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_backup_over_a_wire_that_breaks(
    bench: Bench, numbers: Numbers, chance: random.Random, breaks: Break
) -> None:
    """There is no backup or a whole one; nobody is left at the database; the next run is good."""
    arguments = ("backup", "--dsn", bench.vault.dsn.conninfo(), "--json")

    def whole() -> Wire:
        done, line = bench.run(*bench.begun("whole"), None, 0, *arguments)
        assert_ended_well(done, None, 0)
        return line

    for number in range(numbers.of(1, 50)):
        at = somewhere("backup", chance, whole)
        for seconds in PATIENCE_SECONDS:
            vault, place = bench.begun(f"{number}-{seconds}")
            done, line = bench.run(vault, place, breaks, at, *arguments, seconds=seconds)
            if line.is_broken:
                break
        assert line.is_broken
        has_failed = assert_ended_well(done, breaks, at)
        vault.assert_nobody_left()
        repository = Repository(place.straight)
        exists = bool(repository.backups())
        assert exists or has_failed
        assert not exists or vault.verified(repository).is_good, (breaks, at)
        backed_up(vault, place.straight)
        assert len(repository.backups()) == exists + 1
        assert vault.verified(repository).is_good, (breaks, at)


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_restore_over_a_wire_that_breaks(
    bench: Bench, numbers: Numbers, chance: random.Random, breaks: Break
) -> None:
    """The database that was being filled is gone, or it is whole."""
    vault, place = bench.begun("vault")
    backed_up(vault, place.straight)
    restored = vault.dsn.with_database(f"{vault.dsn.database}_restored")
    to = ("--to", restored.conninfo(), "--yes")
    arguments = ("restore", "latest", "--identity", vault.identity_file, *to)

    def is_whole() -> bool:
        """Look, and make room for the next one."""
        if restored.database not in vault.databases():
            return False
        rows = vault.server.sql("SELECT count(*), max(n) FROM t", restored.database)
        vault.server.sql(f"DROP DATABASE {restored.database}")
        assert rows == "6000|6000"
        return True

    def whole() -> Wire:
        done, line = bench.run(vault, place, None, 0, *arguments)
        assert_ended_well(done, None, 0)
        assert is_whole()
        return line

    for _ in range(numbers.of(1, 25)):
        at = somewhere("restore", chance, whole)
        for seconds in PATIENCE_SECONDS:
            done, line = bench.run(vault, place, breaks, at, *arguments, seconds=seconds)
            if line.is_broken:
                break
        assert line.is_broken
        has_failed = assert_ended_well(done, breaks, at)
        # It may have failed at the very end, when it could not let go of its lease.
        assert is_whole() or has_failed, (breaks, at)
        vault.assert_nobody_left()


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_prune_over_a_wire_that_breaks(
    tmp_path: Path,
    places: Callable[[str], Place],
    numbers: Numbers,
    chance: random.Random,
    breaks: Break,
) -> None:
    """Every backup that is there is whole, and the next prune goes on."""
    memory = MemoryStore()
    began = PruneLab.make(memory, tmp_path / "state")
    before = history(began)

    def begun(name: str) -> tuple[PruneLab, Place]:
        place, state = places(name), tmp_path / name
        for key in memory.list(""):
            place.straight.put(key, memory.get(key), durable=False)
        place.straight.sync()
        shutil.copytree(tmp_path / "state", state)
        return PruneLab(place.straight, state, now=began.now), place

    def whole() -> Wire:
        done, line = pruned(*begun("whole"), None, 0, 0)
        assert_ended_well(done, None, 0)
        return line

    for number in range(numbers.of(1, 25)):
        at = somewhere("prune", chance, whole)
        for seconds in PATIENCE_SECONDS:
            lab, place = begun(f"{number}-{seconds}")
            done, line = pruned(lab, place, breaks, at, seconds)
            if line.is_broken:
                break
        assert line.is_broken
        assert_ended_well(done, breaks, at)
        assert lab.damages() == (), (breaks, at)
        assert set(lab.repository.backups()) <= set(before)
        lab.now += DAY  # its lease has expired
        lab.prune()
        assert len(lab.repository.backups()) == 3
        assert lab.damages() == (), (breaks, at)


def pruned(
    lab: PruneLab, place: Place, breaks: Break | None, at: int, seconds: int
) -> tuple[Done, Wire]:
    """Prune in a process of its own, over a wire that breaks."""
    with place.wire(breaks, at) as line:
        asked = {
            "address": str(place.address),
            "endpoint": f"https://127.0.0.1:{line.port}",
            "ca_file": str(place.server.ca_file),
            "key": place.server.keys.access_key_id,
            "secret": place.server.keys.secret_access_key,
            "signing_key": SIGNING_KEY.text,
            "state": str(lab.state),
            "now": lab.now.isoformat(),
            "timeout": patience(breaks, seconds),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.prunedriver"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PRUNE": json.dumps(asked)},
        )
        return finish(process, LIMIT_SECONDS), line
