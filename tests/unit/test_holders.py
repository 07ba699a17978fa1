"""Whose holder is known to be dead: by a lock that ends with its process, and in doubt nobody's."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.errors import BusyError, StoreError
from backup.holders import Holders
from backup.leases import held, require_not_going, take_lease
from backup.repository.lease import Lease
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore
from tests.lab.deadholders import die_holding
from tests.samples import KEY

NEVER = timedelta(hours=1)


def clock() -> datetime:
    """The machine's own."""
    return datetime.now(UTC)


def left_behind(store: LocalStore, holders: Holders) -> Lease:
    """What a prune left that was killed."""
    return die_holding(store, "prune", holders, clock=clock, backups=[KEY])


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty one."""
    return LocalStore(tmp_path / "store")


@pytest.fixture
def holders(tmp_path: Path) -> Holders:
    """Those of a state directory."""
    state = tmp_path / "state"
    state.mkdir()
    return Holders(state)


def only_file(holders: Holders) -> Path:
    """The one record there is."""
    (path,) = holders.directory.iterdir()
    return path


def test_a_lease_whose_process_was_killed_is_replaced_at_once(
    store: LocalStore, holders: Holders
) -> None:
    """And is gone, so that it does not count again when the next one is over."""
    dead = left_behind(store, holders)
    assert holders.is_dead(dead)
    with held(store, "prune", clock=clock, holders=holders) as lease:
        assert lease.lease.number == dead.number + 1
        assert list(store.list("")) == [lease.lease.key]
        assert not holders.is_dead(lease.lease)
    assert list(store.list("")) == []
    assert only_file(holders), "the dead one's record goes when it is old"


def test_a_lease_whose_holder_lives_is_respected(store: LocalStore, holders: Holders) -> None:
    """Also after it was renewed, and also by the same process."""
    with held(store, "prune", clock=clock, holders=holders) as lease:
        lease.name_backups([KEY])
        with pytest.raises(BusyError):
            take_lease(store, "prune", clock=clock, holders=holders)
        lease.check()
        assert not holders.is_dead(lease.lease)


def test_a_lock_is_proof_enough_that_a_holder_lives(holders: Holders, store: LocalStore) -> None:
    """Whatever its record says of its process."""
    with held(store, "prune", clock=clock, holders=holders) as lease:
        changed(started="1")(only_file(holders))
        assert not holders.is_dead(lease.lease)


def test_another_state_directory_knows_nothing(
    store: LocalStore, holders: Holders, tmp_path: Path
) -> None:
    """The holder may be alive on another host of this name."""
    left_behind(store, holders)
    other = tmp_path / "other"
    for state in (other, tmp_path / "missing"):
        with pytest.raises(BusyError):
            take_lease(store, "prune", clock=clock, holders=Holders(state))
    assert not other.exists(), "no state directory is made"


def changed(**fields: object) -> Callable[[Path], None]:
    """Change what a record says of its process."""

    def change(path: Path) -> None:
        head, _, rest = path.read_text().partition("\n")
        path.write_text(f"{json.dumps({**json.loads(head), **fields})}\n{rest}")

    return change


def copied(path: Path) -> None:
    """Have a copy in its place."""
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def without_head(path: Path) -> None:
    """Have only the notes."""
    path.write_text(path.read_text().partition("\n")[2])


def with_another_head(path: Path) -> None:
    """Have what is no object first."""
    path.write_text(f"[]\n{path.read_text().partition(chr(10))[2]}")


def cut(path: Path) -> None:
    """Have the note cut short, as on a full disk."""
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "change",
    [changed(boot="another"), changed(process=1), changed(started=None), copied, cut,
     without_head, with_another_head, Path.unlink],
)  # fmt: skip
def test_in_doubt_a_holder_may_be_alive(
    store: LocalStore, holders: Holders, change: Callable[[Path], None]
) -> None:
    """Another boot, another process, a copied or damaged record, a process that is there still."""
    dead = left_behind(store, holders)
    assert holders.is_dead(dead)
    change(only_file(holders))
    assert not holders.is_dead(dead)
    with pytest.raises(BusyError):
        take_lease(store, "prune", clock=clock, holders=holders)


def test_a_lease_of_another_host_or_time_is_not_this_one(
    store: LocalStore, holders: Holders
) -> None:
    """What was noted is that object, to the byte."""
    dead = left_behind(store, holders)
    assert not holders.is_dead(replace(dead, host="elsewhere"))
    assert not holders.is_dead(replace(dead, number=dead.number + 1))
    assert not holders.is_dead(replace(dead, expires=dead.expires + timedelta(seconds=1)))


def test_what_a_dead_prune_was_about_to_delete_can_be_read(
    store: LocalStore, holders: Holders
) -> None:
    """It is there, or it is not; nobody deletes it any more."""
    left_behind(store, holders)
    require_not_going(store, [KEY], now=clock(), holders=holders)
    with pytest.raises(BusyError, match="being deleted"):
        require_not_going(store, [KEY], now=clock())


class Failing(MemoryStore):
    """A store that can't be written to when told so."""

    is_down = False

    def delete(self, key: str) -> None:
        """Refuse while it is down."""
        if self.is_down:
            raise StoreError("down")
        super().delete(key)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:  # type: ignore[override]
        """Refuse while it is down."""
        if self.is_down:
            raise StoreError("down")
        super().put(key, data, durable=durable)


def test_the_record_of_a_lease_that_could_not_be_let_go_of_stays(holders: Holders) -> None:
    """So that it is known to be over when the process is; until then it may be at work."""
    store = Failing()
    lease = take_lease(store, "prune", clock=clock, holders=holders, every=NEVER)
    store.is_down = True
    lease.release()
    assert not holders.is_dead(lease.lease)
    changed(started="1")(only_file(holders))
    assert holders.is_dead(lease.lease)


def test_records_that_are_old_are_removed(store: LocalStore, holders: Holders) -> None:
    """But not one that a process holds, however old it is."""
    left_behind(store, holders)
    dead = only_file(holders)
    long_ago = time.time() - 25 * 3600
    with held(MemoryStore(), "backup", clock=clock, holders=holders):
        (alive,) = set(holders.directory.iterdir()) - {dead}
        for path in (dead, alive):
            os.utime(path, (long_ago, long_ago))
        with held(MemoryStore(), "backup", clock=clock, holders=holders):
            assert not dead.exists()
            assert alive.exists()
    assert list(holders.directory.iterdir()) == []


def test_a_state_directory_that_takes_no_record_keeps_nobody_from_work(tmp_path: Path) -> None:
    """Then the lease of a process that is killed has to expire."""
    (tmp_path / "leases").write_text("in the way")
    with held(MemoryStore(), "prune", clock=clock, holders=Holders(tmp_path)):
        pass
