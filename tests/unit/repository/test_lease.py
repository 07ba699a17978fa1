"""Leases in a store: one of two hosts wins, a clock may be a little wrong, nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from backup.errors import BusyError, IntegrityError, StoreError
from backup.repository.lease import (
    THE_ONLY,
    Lease,
    LeaseKind,
    keys_of_ended,
    read_leases,
    release,
    renew,
    take,
)
from backup.repository.stores.memory import MemoryStore
from tests.samples import MOMENT

LIFETIME = timedelta(minutes=30)


def lease(kind: LeaseKind = "prune", host: str = "one", id_: str = THE_ONLY) -> Lease:
    """A lease that begins now and is not taken yet."""
    return Lease(
        format=1, kind=kind, id=id_, number=0, host=host, process=7,
        written=MOMENT, expires=MOMENT + LIFETIME, is_released=False, backups=(),
    )  # fmt: skip


class Undeletable(MemoryStore):
    """A store whose credential may put, list and get."""

    def delete(self, key: str) -> None:
        """Refuse."""
        raise StoreError(f"deleting {key}: forbidden")


def test_one_of_two_prunes_runs() -> None:
    """The second is told who holds the lease and until when; after its end it runs."""
    store = MemoryStore()
    first = take(store, lease(), MOMENT)
    with pytest.raises(BusyError, match="prune on one, process 7"):
        take(store, lease(host="two"), MOMENT)
    release(store, first)
    assert list(store.list("")) == []
    assert take(store, lease(host="two"), MOMENT).host == "two"


def test_backups_do_not_shut_each_other_out() -> None:
    """Each has a chain of its own."""
    store = MemoryStore()
    for id_ in ("0" * 16, "1" * 16):
        take(store, lease("backup", id_=id_), MOMENT)
    assert len(read_leases(store)) == 2
    assert read_leases(store, ["prune"]) == []


def test_a_lease_outlives_its_time_by_what_clocks_may_differ() -> None:
    """Five minutes; then the next host takes it, and the late one is told when it renews."""
    store = MemoryStore()
    late = take(store, lease(), MOMENT)
    soon = MOMENT + LIFETIME + timedelta(minutes=4)
    with pytest.raises(BusyError):
        take(store, lease(host="two"), soon)
    then = MOMENT + LIFETIME + timedelta(minutes=5)
    won = take(store, lease(host="two"), then)
    assert won.number == late.number + 1
    with pytest.raises(BusyError, match="taken"):
        renew(store, late)


def test_a_late_host_that_fills_a_gap_has_not_won() -> None:
    """It slept while the other renewed: the highest number counts, and its own is taken back."""
    store = MemoryStore()
    late = take(store, lease(), MOMENT)
    store.delete(late.key)
    won = take(store, lease(host="two"), MOMENT)
    won = renew(store, renew(store, won))
    with pytest.raises(BusyError, match="prune on two"):
        take_again = replace(late, number=won.number - 2)
        renew(store, take_again)
    assert [held.host for held in read_leases(store)] == ["two"]
    assert list(store.list("leases/")) == [won.key]


def test_where_nothing_can_be_deleted_a_lease_is_said_to_be_over() -> None:
    """And a prune, which may delete, clears what counts no more, but nothing that does."""
    store = Undeletable()
    first = take(store, lease("backup", id_="0" * 16), MOMENT)
    release(store, renew(store, first))
    alive = take(store, lease("verify", id_="1" * 16), MOMENT)
    assert not read_leases(store, ["backup"])[0].is_alive(MOMENT)
    assert len(list(store.list("leases/backup-"))) == 3
    assert sorted(keys_of_ended(store, MOMENT)) == list(store.list("leases/backup-"))
    later = MOMENT + timedelta(days=2)
    assert alive.key in keys_of_ended(store, later)


def test_the_lease_of_a_dead_holder_is_replaced_or_cleared() -> None:
    """Where there is one chain by the next number, told before it is put; elsewhere by a prune."""
    store = MemoryStore()
    dead = [take(store, lease(), MOMENT), take(store, lease("backup", id_="0" * 16), MOMENT)]
    take(store, lease("daemon"), MOMENT)
    assert keys_of_ended(store, MOMENT, is_dead=lambda one: one.kind != "verify") == [dead[1].key]
    told: list[tuple[int, bool]] = []

    def note(one: Lease) -> None:
        told.append((one.number, one.key in set(store.list(""))))

    won = take(store, lease(host="two"), MOMENT, is_dead=lambda one: one == dead[0], note=note)
    won = renew(store, won, note=note)
    assert told == [(2, False), (3, False)]
    assert list(store.list("leases/prune-")) == [won.key]


def test_a_lease_of_a_dead_holder_that_cannot_be_deleted_is_replaced_all_the_same() -> None:
    """The highest number counts."""
    store = Undeletable()
    dead = take(store, lease(), MOMENT)
    won = take(store, lease(host="two"), MOMENT, is_dead=lambda one: one == dead)
    assert [held.host for held in read_leases(store)] == ["two"]
    assert won.number == 2


def test_an_expired_lease_is_kept_for_a_day_for_whoever_looks_into_it() -> None:
    """It does not count any more, and says what was at work when it died."""
    store = MemoryStore()
    take(store, lease("backup", id_="0" * 16), MOMENT)
    assert keys_of_ended(store, MOMENT + timedelta(hours=20)) == []


def test_what_is_no_lease_is_passed_over_and_a_damaged_one_is_not() -> None:
    """`doctor` probes there; a lease that cannot be read may be anybody's."""
    store = MemoryStore()
    store.put("leases/doctor-1234", b"probe")
    assert read_leases(store) == []
    assert keys_of_ended(store, MOMENT) == []
    store.put(f"leases/backup-{'0' * 16}.000001.json", b"{}")
    with pytest.raises(IntegrityError):
        read_leases(store)


class Moving(MemoryStore):
    """A store in which something happens just before each lease is read."""

    def __init__(self, happens: Callable[[MemoryStore], None]) -> None:
        super().__init__()
        self.happens = happens

    def get(self, key: str) -> bytes:
        """Let it happen, and read then."""
        self.happens(self)
        return super().get(key)


def test_a_lease_that_ends_while_it_is_read_is_none() -> None:
    """Its holder has released it between the listing and the reading."""
    store = Moving(lambda store: store.delete(replace(lease("backup"), number=1).key))
    take(store, lease("backup"), MOMENT)
    assert read_leases(store) == []


def test_a_lease_that_is_renewed_while_it_is_read_is_the_later_one() -> None:
    """And where it changes each time, nobody says that there is none."""
    held: list[Lease] = []

    def renewed(_: MemoryStore) -> None:
        held.append(renew(store, held[-1]))

    store = Moving(lambda _: None)
    held.append(take(store, lease("backup"), MOMENT))
    changes = [renewed]
    store.happens = lambda store: changes.pop()(store) if changes else None
    assert [one.number for one in read_leases(store)] == [2]
    store.happens = renewed
    with pytest.raises(StoreError, match="change faster than they can be read"):
        read_leases(store)
