"""Whose holder is known to be dead: by a lock that ends with its process, and in doubt nobody's."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Lease]:
    """A directory with the store and the state of a prune that was killed, and its lease."""
    place = tmp_path_factory.mktemp("died")
    (place / "state").mkdir()
    holders, store = Holders(place / "state"), LocalStore(place / "store")
    lease = die_holding(store, "prune", holders, clock=clock, backups=[KEY])
    return place, lease


@pytest.fixture
def place(died: tuple[Path, Lease]) -> Iterator[Path]:
    """That directory, which each test finds as it was left: the record is the same file again."""
    place, _ = died
    record = only_file(Holders(place / "state"))
    text, kept = record.read_bytes(), record.with_name("kept")
    os.link(record, kept)
    stored = {path: path.read_bytes() for path in (place / "store" / "leases").iterdir()}
    yield place
    for path in record.parent.iterdir():
        if path != kept:
            path.unlink()
    kept.rename(record)
    record.write_bytes(text)
    for path in (place / "store" / "leases").iterdir():
        path.unlink()
    for path, data in stored.items():
        path.write_bytes(data)


@pytest.fixture
def dead(place: Path, died: tuple[Path, Lease]) -> Lease:
    """The lease that it left."""
    assert place
    return died[1]


@pytest.fixture
def store(place: Path) -> LocalStore:
    """The store that it is in."""
    return LocalStore(place / "store")


@pytest.fixture
def holders(place: Path) -> Holders:
    """Those of its state directory."""
    return Holders(place / "state")


def only_file(holders: Holders) -> Path:
    """The one record there is."""
    (path,) = holders.directory.glob("*.held")
    return path


def test_a_lease_whose_process_was_killed_is_replaced_at_once(
    dead: Lease, store: LocalStore, holders: Holders
) -> None:
    """And is gone, so that it does not count again when the next one is over."""
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


def test_a_lock_is_proof_enough_that_a_holder_lives(tmp_path: Path) -> None:
    """Whatever its record says of its process."""
    holders = Holders(tmp_path)
    with held(MemoryStore(), "prune", clock=clock, holders=holders) as lease:
        changed(started="1")(only_file(holders))
        assert not holders.is_dead(lease.lease)


def test_another_state_directory_knows_nothing(store: LocalStore, tmp_path: Path) -> None:
    """The holder may be alive on another host of this name."""
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
    dead: Lease, store: LocalStore, holders: Holders, change: Callable[[Path], None]
) -> None:
    """Another boot, another process, a copied or damaged record, a process that is there still."""
    assert holders.is_dead(dead)
    change(only_file(holders))
    assert not holders.is_dead(dead)
    with pytest.raises(BusyError):
        take_lease(store, "prune", clock=clock, holders=holders)


def test_a_lease_of_another_host_or_time_is_not_this_one(dead: Lease, holders: Holders) -> None:
    """What was noted is that object, to the byte."""
    assert not holders.is_dead(replace(dead, host="elsewhere"))
    assert not holders.is_dead(replace(dead, number=dead.number + 1))
    assert not holders.is_dead(replace(dead, expires=dead.expires + timedelta(seconds=1)))


def test_what_a_dead_prune_was_about_to_delete_can_be_read(
    store: LocalStore, holders: Holders
) -> None:
    """It is there, or it is not; nobody deletes it any more."""
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


def test_the_record_of_a_lease_that_could_not_be_let_go_of_stays(tmp_path: Path) -> None:
    """So that it is known to be over when the process is; until then it may be at work."""
    store, holders = Failing(), Holders(tmp_path)
    lease = take_lease(store, "prune", clock=clock, holders=holders, every=NEVER)
    store.is_down = True
    lease.release()
    assert not holders.is_dead(lease.lease)
    changed(started="1")(only_file(holders))
    assert holders.is_dead(lease.lease)


def test_a_state_directory_that_cannot_be_looked_into_tells_nothing(
    dead: Lease, tmp_path: Path
) -> None:
    """Another user's, or one with a name too long: nobody is known to be dead, nothing fails."""
    nowhere = Holders(tmp_path / ("x" * 300))
    assert not nowhere.is_dead(dead)
    assert nowhere.begin() is None


def test_records_that_are_old_are_removed(holders: Holders) -> None:
    """But not one that a process holds, however old it is."""
    record = only_file(holders)
    long_ago = time.time() - 25 * 3600
    with held(MemoryStore(), "backup", clock=clock, holders=holders):
        (alive,) = set(holders.directory.glob("*.held")) - {record}
        for path in (record, alive):
            os.utime(path, (long_ago, long_ago))
        with held(MemoryStore(), "backup", clock=clock, holders=holders):
            assert not record.exists()
            assert alive.exists()
    assert list(holders.directory.glob("*.held")) == []


def test_a_state_directory_that_takes_no_record_keeps_nobody_from_work(tmp_path: Path) -> None:
    """Then the lease of a process that is killed has to expire."""
    (tmp_path / "leases").write_text("in the way")
    with held(MemoryStore(), "prune", clock=clock, holders=Holders(tmp_path)):
        pass
