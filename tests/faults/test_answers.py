"""The n-th request to an S3 server fails, for every n, each way that a server or a network fails.

What passes is tried again and nobody notices. What stays ends the run with a message that says what
the store answered; there is no manifest without all its chunks, and the next run is good.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from backup.errors import ObjectExistsError, StoreError, StrongroomError
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.layout import BackupKey
from backup.repository.stores.memory import MemoryStore
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3options import S3Address
from tests.faults.test_prune import history
from tests.faults.test_store import backed_up
from tests.faults.vault import Done, Vault
from tests.lab.buckets import S3Server
from tests.lab.effort import Numbers
from tests.lab.gate import PASSING, Failing, Fault, Gate, gate
from tests.lab.prunes import DAY, PruneLab
from tests.lab.s3servers import S3Servers
from tests.lab.servers import LabServer

# How long a call may take. What is silent is asked again after a quarter of it.
TIMEOUT = timedelta(seconds=16)
SHORT_TIMEOUT = timedelta(seconds=3)
LASTING: tuple[Fault, ...] = ("403", "503")
TABLE = "CREATE TABLE t AS SELECT n, sha512(n::text::bytea) AS v FROM generate_series(1, 1200) n"
TARGET = "answers_restored"
KINDS = tuple(itertools.product((False, True), PASSING))


def patience(failing: Failing | None) -> timedelta:
    """How long a call may take: where it is repeated and nothing helps, not long."""
    is_in_vain = failing is not None and failing.for_good and failing.fault != "403"
    return SHORT_TIMEOUT if is_in_vain else TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A prefix in a bucket, reached straight or through a gate."""

    server: S3Server
    address: S3Address
    straight: S3Store

    @contextmanager
    def failing(self, failing: Failing | None) -> Iterator[tuple[S3Store, Gate]]:
        """The store behind a gate."""
        with gate(self.server.endpoint, failing) as passed:
            timeout = patience(failing)
            options = replace(self.server.options, endpoint=passed.endpoint, timeout=timeout)
            yield S3Store(self.address, options), passed


@pytest.fixture
def places(s3_servers: S3Servers) -> Callable[[str], Place]:
    """Prefixes of one bucket."""
    server = s3_servers.named("moto")
    bucket = server.new_bucket()

    def place(prefix: str) -> Place:
        address = S3Address(bucket=bucket, prefix=prefix)
        return Place(server=server, address=address, straight=S3Store(address, server.options))

    return place


def passing(numbers: Numbers, count: int, *, short: int) -> Iterator[Failing]:
    """Yield every way to fail at every request; in short, each way in turn, all over the run."""
    if numbers.is_full:
        for at, (acts_first, fault) in itertools.product(range(1, count + 1), KINDS):
            yield Failing(at=at, fault=fault, acts_first=acts_first)
        return
    kinds = itertools.cycle(KINDS)
    for number in range(short):
        acts_first, fault = next(kinds)
        yield Failing(at=1 + number * (count - 1) // short, fault=fault, acts_first=acts_first)


def lasting(numbers: Numbers, count: int, *, short: int) -> Iterator[Failing]:
    """Yield what never passes again, from each request on."""
    step = 1 if numbers.is_full else max(1, count // short)
    for at, fault in zip(range(1, count, step), itertools.cycle(LASTING), strict=False):
        yield Failing(at=at, fault=fault, for_good=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A small database, and as many repositories for it as are asked for."""

    vault: Vault
    places: Callable[[str], Place]

    def begun(self, name: str) -> tuple[Vault, Place]:
        """A new repository, and a host of its own that writes to it."""
        place = self.places(name)
        return self.vault.beside(name, place.straight), place

    def requests_of_a_backup(self) -> int:
        """How many requests a backup makes."""
        vault, place = self.begun("whole")
        with place.failing(None) as (store, passed):
            backed_up(vault, store)
        return len(passed.requests)


@pytest.fixture
def bench(
    tmp_path: Path, any_server: LabServer, any_database: Dsn, places: Callable[[str], Place]
) -> Bench:
    """A database whose backup is a few dozen objects."""
    any_server.sql(TABLE, database=any_database.database)
    return Bench(vault=Vault.make(tmp_path, any_server, any_database), places=places)


def test_a_put_is_one_plain_request(places: Callable[[str], Place]) -> None:
    """It waits for no leave to send; where that was not answered well, boto3 goes on and asks."""
    body = os.urandom(300_000)
    place = places("plain")
    with place.failing(None) as (store, passed):
        store.put("chunks/aa/1", body)
        store.put("chunks/aa/2", body, durable=False)
        store.sync()
        assert [len(passed.requests), passed.asked_first] == [2, 0]
    for number, fault in enumerate(PASSING, 3):
        with place.failing(Failing(at=1, fault=fault, acts_first=number % 2 == 0)) as (
            store,
            passed,
        ):
            store.put(f"chunks/aa/{number}", body)
            assert (passed.failed, passed.asked_first > 0) == (1, True), fault
            with pytest.raises(ObjectExistsError):
                store.put(f"chunks/aa/{number}", body)
    keys = list(place.straight.list("chunks/"))
    assert len(keys) == 2 + len(PASSING)
    assert {place.straight.get(key) for key in keys} == {body}


def test_a_backup_gets_over_any_request_that_fails_once(bench: Bench, numbers: Numbers) -> None:
    """It is there and whole, whichever request it was and whether or not the store did it."""
    count = bench.requests_of_a_backup()
    for number, failing in enumerate(passing(numbers, count, short=6)):
        vault, place = bench.begun(str(number))
        with place.failing(failing) as (store, passed):
            backed_up(vault, store)
            assert passed.failed == 1 or is_past_the_end(failing, passed), failing
        repository = Repository(place.straight)
        assert len(repository.backups()) == 1
        assert vault.verified(repository).is_good, failing


def test_a_backup_that_is_refused_says_so(bench: Bench, numbers: Numbers) -> None:
    """From any request on nothing works: there is no backup, or a whole one, and the next is good.

    The message has what the store answered, and a hint; nobody is left at the database.
    """
    count = bench.requests_of_a_backup()
    for number, failing in enumerate(lasting(numbers, count, short=2)):
        vault, place = bench.begun(str(number))
        with place.failing(failing) as (store, passed):
            try:
                backed_up(vault, store)
            except StrongroomError as error:
                caught = error
            else:
                # At the very end only its lease can't be let go of.
                refused = passed.requests[failing.at - 1 :]
                assert all("/leases/" in request for request in refused), (failing, refused)
                continue
        assert_told(caught.message, caught.hint, failing)
        vault.assert_nobody_left()
        repository = Repository(place.straight)
        exists = len(repository.backups())
        assert exists in ({0, 1} if "exists, but" in caught.message else {0}), failing
        assert not exists or vault.verified(repository).is_good, failing
        backed_up(vault, place.straight)
        assert len(repository.backups()) == exists + 1
        assert vault.verified(repository).is_good, failing


def is_past_the_end(failing: Failing, passed: Gate) -> bool:
    """There was no such request: each repository cuts by a key of its own, some into fewer."""
    return passed.failed == 0 and len(passed.requests) < failing.at


def assert_told(message: str, hint: str | None, failing: Failing) -> None:
    """The message says what the store answered, or that it gave none that counts in time."""
    if failing.fault == "403":
        assert "the store answered 403" in message, (failing, message)
        assert "store policy" in (hint or ""), (failing, hint)
    else:
        assert "the store answered 503" in message or "no answer within" in message, message
        assert hint is not None, (failing, message)


def test_a_restore_gets_over_any_request_that_fails_once(bench: Bench, numbers: Numbers) -> None:
    """Every row is there."""
    vault, place = bench.begun("vault")
    backed_up(vault, place.straight)
    count = len(restored(vault, place, None)[1].requests)
    for failing in passing(numbers, count, short=2):
        done, passed = restored(vault, place, failing)
        assert done.code == 0, (failing, done.stderr)
        assert passed.failed == 1
        assert vault.server.sql("SELECT count(*), max(n) FROM t", TARGET) == "1200|1200"


def test_a_restore_that_is_refused_says_so(bench: Bench, numbers: Numbers) -> None:
    """The database that was being filled is gone, or it is whole."""
    vault, place = bench.begun("vault")
    backed_up(vault, place.straight)
    count = len(restored(vault, place, None)[1].requests)
    for failing in lasting(numbers, count, short=2):
        done, _ = restored(vault, place, failing)
        # At the very end only its lease can't be let go of.
        if done.code != 0 or TARGET not in vault.databases():
            assert done.code == StoreError.exit_code, (failing, done.stderr)
            assert "Traceback" not in done.stderr
            assert_told(done.stderr, done.stderr, failing)
        if TARGET in vault.databases():
            assert vault.server.sql("SELECT count(*), max(n) FROM t", TARGET) == "1200|1200"
        vault.assert_nobody_left()


def restored(vault: Vault, place: Place, failing: Failing | None) -> tuple[Done, Gate]:
    """Restore by the command line, through a gate; what was restored before is dropped."""
    if TARGET in vault.databases():
        vault.server.sql(f"DROP DATABASE {TARGET}")
    to = ("--to", vault.dsn.with_database(TARGET).conninfo(), "--yes")
    with gate(place.server.endpoint, failing) as passed:
        vault.config.write_text(
            f'repository = "{place.address}"\nstate_directory = "{vault.state}"\njobs = 2\n'
            f'[s3]\nprofile = "{place.server.profile}"\nendpoint = "{passed.endpoint}"\n'
            f"path_style = true\ntimeout = {patience(failing).total_seconds():g}\n",
            encoding="utf-8",
        )
        keys = place.server.keys
        environment = {
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        }
        arguments = ("restore", "latest", "--identity", vault.identity_file, *to)
        return vault.run(*arguments, environment=environment), passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """A repository with a history, of which there are as many copies as are asked for."""

    directory: Path
    places: Callable[[str], Place]
    memory: MemoryStore
    lab: PruneLab
    backups: frozenset[BackupKey]

    def begun(self, name: str) -> tuple[PruneLab, Place]:
        """A copy in the bucket, and the host that prunes it."""
        place, state = self.places(name), self.directory / name
        for key in self.memory.list(""):
            place.straight.put(key, self.memory.get(key), durable=False)
        place.straight.sync()
        shutil.copytree(self.lab.state, state)
        return PruneLab(place.straight, state, now=self.lab.now), place

    def requests_of_a_prune(self) -> int:
        """How many requests a prune makes."""
        lab, place = self.begun("whole")
        with place.failing(None) as (lab.store, passed):
            lab.prune()
        return len(passed.requests)


@pytest.fixture
def aged(tmp_path: Path, places: Callable[[str], Place]) -> Aged:
    """Backups of which some are due to go, and chunks that are condemned."""
    memory = MemoryStore()
    lab = PruneLab.make(memory, tmp_path / "state")
    backups = frozenset(history(lab))
    return Aged(directory=tmp_path, places=places, memory=memory, lab=lab, backups=backups)


def test_a_prune_gets_over_any_request_that_fails_once(aged: Aged, numbers: Numbers) -> None:
    """It deletes what it would have deleted, and nothing else."""
    count = aged.requests_of_a_prune()
    for number, failing in enumerate(passing(numbers, count, short=3)):
        lab, place = aged.begun(str(number))
        with place.failing(failing) as (lab.store, passed):
            lab.prune()
            assert passed.failed == 1, failing
        lab.store = place.straight
        assert len(lab.repository.backups()) == 3, failing
        assert lab.damages() == (), failing


def test_a_prune_that_is_refused_says_so(aged: Aged, numbers: Numbers) -> None:
    """Every backup that is there is whole, and the next prune goes on."""
    count = aged.requests_of_a_prune()
    for number, failing in enumerate(lasting(numbers, count, short=2)):
        lab, place = aged.begun(str(number))
        with place.failing(failing) as (lab.store, _), pytest.raises(StrongroomError) as caught:
            lab.prune()
        assert_told(caught.value.message, caught.value.hint, failing)
        lab.store = place.straight
        assert lab.damages() == (), failing
        assert set(lab.repository.backups()) <= aged.backups
        lab.now += DAY  # its lease has expired
        lab.prune()
        assert len(lab.repository.backups()) == 3
        assert lab.damages() == (), failing
