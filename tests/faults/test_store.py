"""The store fails at its n-th call, for every n: no manifest without all its objects."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.errors import StoreError, StrongroomError
from backup.journeys.create import Created, Source, create
from backup.journeys.progress import Silent
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.stores.base import Buffer, Store
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore
from tests.faults.vault import Vault
from tests.lab.effort import Numbers
from tests.lab.servers import LabServer


class FaultyStore:
    """A store whose n-th call fails: before it did anything, or after it did everything."""

    def __init__(self, store: Store, *, at: int, acts_first: bool) -> None:
        self._store = store
        self._at = at
        self._acts_first = acts_first
        self._lock = threading.Lock()
        self.calls = 0

    @property
    def address(self) -> str:
        """The real store's."""
        return self._store.address

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """See `Store.put`."""
        is_due = self._is_due()
        self._store.put(key, data, durable=durable)
        self._fail_late(is_due)

    def sync(self) -> None:
        """See `Store.sync`."""
        is_due = self._is_due()
        self._store.sync()
        self._fail_late(is_due)

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        is_due = self._is_due()
        try:
            return self._store.get(key)
        finally:  # also in the place of "not found"
            self._fail_late(is_due)

    def list(self, prefix: str) -> Iterator[str]:
        """See `Store.list`."""
        is_due = self._is_due()
        yield from self._store.list(prefix)
        self._fail_late(is_due)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._store.delete(key)

    def _is_due(self) -> bool:
        with self._lock:
            self.calls += 1
            is_due = self.calls == self._at
        if is_due and not self._acts_first:
            raise StoreError(f"call {self._at} failed")
        return is_due

    def _fail_late(self, is_due: bool) -> None:
        if is_due:
            raise StoreError(f"call {self._at} failed when it was done")


def backed_up(vault: Vault, store: Store) -> Created:
    """Take a backup in this process."""
    repository = Repository(store)
    source = Source(
        dsn=vault.dsn,
        name="portal",
        jobs=2,
        compression_level=1,
        lock_timeout=timedelta(seconds=20),
        stall_timeout=timedelta(seconds=20),
    )
    return asyncio.run(
        create(
            source,
            repository,
            vault.writing_keys(repository),
            vault.signers(repository),
            state_directory=vault.state,
            clock=lambda: datetime.now(UTC),
            random=os.urandom,
            version="test",
            progress=Silent(),
        )
    )


@pytest.fixture
def small(any_server: LabServer, any_database: Dsn) -> Dsn:
    """A database whose backup is a few dozen objects."""
    any_server.sql(
        "CREATE TABLE t AS SELECT n, md5(n::text) AS v FROM generate_series(1, 6000) n",
        database=any_database.database,
    )
    return any_database


@pytest.mark.parametrize("acts_first", [False, True], ids=["refuses", "acts and fails"])
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_the_nth_call_fails(
    tmp_path: Path,
    any_server: LabServer,
    small: Dsn,
    numbers: Numbers,
    kind: str,
    *,
    acts_first: bool,
) -> None:
    """Whichever call fails, there is no backup or a whole one, and the next run is good."""
    vault = Vault.make(tmp_path, any_server, small)
    at = failures = 0
    while True:
        at += numbers.of(3, 1)
        state = replace(vault, directory=tmp_path / str(at))
        state.directory.mkdir()
        inner: Store = MemoryStore() if kind == "memory" else LocalStore(state.root)
        state.initialize(inner)
        faulty = FaultyStore(inner, at=at, acts_first=acts_first)
        try:
            backed_up(state, faulty)
        except StrongroomError as error:
            failures += 1
            assert f"call {at} failed" in error.message
            inner = reopened(inner, state)
            repository = Repository(inner)
            for key in repository.backups():
                # It failed after the manifest was there: then everything else is there, too.
                assert acts_first or "exists, but the evidence log" in error.message
                assert state.verified(repository).is_good, key
            backed_up(state, inner)
            assert state.verified(repository).is_good
            ids = state.chunk_ids(repository)
            assert len(ids) == len(set(ids))
        else:
            # Who can't look for what is left of his lease has a backup all the same.
            repository = Repository(reopened(inner, state))
            assert len(repository.backups()) == 1
            assert state.verified(repository).is_good
            if at > faulty.calls:
                break
    assert failures >= numbers.of(6, 20)


def reopened(store: Store, vault: Vault) -> Store:
    """The store as the next process sees it: what was not published is gone."""
    if isinstance(store, LocalStore):
        store.close()
        return LocalStore(vault.root)
    return store
