"""Holding a lease: it is renewed by itself, lost loudly, and never keeps anybody from reading."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from backup.errors import BusyError, StoreError
from backup.leases import held, reading, take_lease
from backup.repository.lease import read_leases
from backup.repository.stores.base import Buffer
from backup.repository.stores.memory import MemoryStore
from tests.samples import KEY

SHORT = timedelta(milliseconds=5)


def clock() -> datetime:
    """The machine's own."""
    return datetime.now(UTC)


class Failing(MemoryStore):
    """A store that stops taking objects when told to."""

    is_down = False

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Refuse while it is down."""
        if self.is_down:
            raise StoreError("down")
        super().put(key, data, durable=durable)


def until(number: int, store: MemoryStore) -> None:
    """Wait for the lease to be renewed that often."""
    deadline = time.monotonic() + 20
    while read_leases(store)[0].number < number:
        assert time.monotonic() < deadline, "the lease was not renewed"
        time.sleep(0.002)


def test_a_lease_is_renewed_while_work_goes_on_and_leaves_nothing() -> None:
    """One object at a time, none afterwards; the names that it was given stay in it."""
    store = MemoryStore()
    with held(store, "prune", clock=clock, every=SHORT) as lease:
        lease.name_backups([KEY])
        until(5, store)
        lease.check()
        assert read_leases(store)[0].backups == ("portal/20260114T020000Z-3f9c2a",)
        assert len(list(store.list(""))) <= 2
    assert list(store.list("")) == []


def test_a_lease_that_is_not_renewed_in_time_is_lost() -> None:
    """Others may take it for dead, so the work must stop."""
    store = Failing()
    lease = take_lease(store, "backup", clock=clock, lifetime=SHORT, every=timedelta(hours=1))
    store.is_down = True
    deadline = time.monotonic() + 20
    while lease.is_alive:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    with pytest.raises(StoreError, match="could not be renewed"):
        lease.check()
    lease.release()


def test_a_lease_that_another_host_took_is_lost() -> None:
    """Whoever took it goes on; this run is told, and takes nothing away at its end."""
    store = MemoryStore()
    late = take_lease(store, "prune", clock=clock, lifetime=SHORT, every=timedelta(hours=1))
    with held(
        store, "prune", clock=lambda: clock() + timedelta(hours=1), every=timedelta(hours=1)
    ) as other:
        with pytest.raises(BusyError):
            late.name_backups([KEY])
        with pytest.raises(BusyError):
            late.check()
        late.release()
        other.check()
        assert read_leases(store)[0].number == other.lease.number


def test_who_reads_shuts_out_a_prune_and_is_shut_out_by_one() -> None:
    """A backup that a prune at work names is not read; others are."""
    store = MemoryStore()
    with held(store, "prune", clock=clock) as prune:
        with reading(store, "restore", [KEY], clock=clock):
            assert read_leases(store, ["restore"])[0].backups
        prune.name_backups([KEY])
        with (
            pytest.raises(BusyError, match="being deleted by prune"),
            reading(store, "restore", [KEY], clock=clock),
        ):
            pass
    assert list(store.list("")) == []


def test_a_store_that_takes_no_lease_keeps_nobody_from_reading() -> None:
    """At 03:00, with a credential that may only read, a restore runs."""
    store = Failing()
    store.is_down = True
    with reading(store, "restore", [KEY], clock=clock):
        pass


class Unsteady(MemoryStore):
    """A store that fails once: its next put, before or after that acted, or its next deletion."""

    fails: str | None = None

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Put it, or not."""
        if self._is_due("put"):
            raise StoreError("not put")
        super().put(key, data, durable=durable)
        if self._is_due("late put"):
            raise StoreError("put")

    def delete(self, key: str) -> None:
        """Delete it, or not."""
        if self._is_due("delete"):
            raise StoreError("not deleted")
        super().delete(key)

    def _is_due(self, what: str) -> bool:
        is_due, self.fails = self.fails == what, None if self.fails == what else self.fails
        return is_due


@pytest.mark.parametrize("what", ["put", "late put"])
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_renewal_that_failed_leaves_no_lease_behind(what: str, *, goes_on: bool) -> None:
    """It may be there all the same: it is ended too, and is no other host's."""
    store = Unsteady()
    with held(store, "prune", clock=clock, every=timedelta(hours=1)) as lease:
        store.fails = what
        with pytest.raises(StoreError, match=what.removeprefix("late ")):
            lease.name_backups([KEY])
        if goes_on:
            lease.name_backups([KEY])
            assert read_leases(store)[0].backups == ("portal/20260114T020000Z-3f9c2a",)
        lease.check()
    assert list(store.list("")) == []


def test_what_a_renewal_could_not_remove_does_not_count_again() -> None:
    """The lease is over for everybody when it is let go of."""
    store = Unsteady()
    with held(store, "prune", clock=clock, every=timedelta(hours=1)) as lease:
        store.fails = "delete"
        lease.name_backups([KEY])
        assert len(list(store.list(""))) == 2
    assert list(store.list("")) == []
