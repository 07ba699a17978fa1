"""Prune, broken off anywhere: nothing that a live manifest needs is gone, the next one goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from backup.errors import BusyError, StoreError, StrongroomError
from backup.repository.layout import BackupKey
from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore
from tests.faults.test_store import FaultyStore
from tests.lab.effort import Numbers
from tests.lab.prunes import DAY, GRACE, START, PruneLab


class FaultyDeletes(FaultyStore):
    """A store whose n-th call fails, deletions counted too."""

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        is_due = self._is_due()
        self._store.delete(key)
        self._fail_late(is_due)


def history(lab: PruneLab) -> list[BackupKey]:
    """Six backups that share content, what a killed run left, and something condemned already."""
    same = lab.chance.randbytes(1200)
    made = [
        lab.back_up(START - days * DAY, same + lab.chance.randbytes(400))
        for days in (60, 59, 58, 40, 20, 10)
    ]
    lab.prove(made[3])
    lab.begin(BackupKey("portal", made[0].id.after(made[-1].id, START, b"abc")), same + b"x" * 900)
    lab.now = START - 5 * DAY
    lab.prune()
    lab.now = START
    lab.back_up(START - DAY, same)
    return lab.repository.backups()


@pytest.mark.parametrize("acts_first", [False, True], ids=["refuses", "acts and fails"])
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_the_nth_call_of_a_prune_fails(
    tmp_path: Path, numbers: Numbers, kind: str, *, acts_first: bool
) -> None:
    """Whichever call fails, every backup that exists is whole, and the next prunes converge."""
    at = failures = 0
    step = numbers.of(23 if kind == "local" else 9, 1)
    while True:
        at += step
        inner: Store = MemoryStore() if kind == "memory" else LocalStore(tmp_path / f"r{at}")
        lab = PruneLab.make(inner, tmp_path / f"s{at}")
        before = history(lab)
        faulty = FaultyDeletes(inner, at=at, acts_first=acts_first)
        lab.store = faulty
        try:
            lab.prune()
            is_done = at > faulty.calls
        except StrongroomError as error:
            failures += 1
            is_done = False
            assert f"call {at} failed" in error.message
        lab.store = inner
        assert lab.damages() == ()
        assert set(lab.repository.backups()) <= set(before)
        # A writer that was killed leaves an entry that waits for the next one's checkpoint.
        assert [what for what in lab.wrong_in_log() if "no checkpoint" not in what] == []
        # Another host's lease may be in the way until it expires; then it all goes on.
        lab.now += DAY
        lab.prune_until_nothing_is_left()
        assert lab.wrong_in_log() == ()
        assert len(lab.repository.backups()) == 3
        assert lab.damages() == ()
        assert lab.garbage() == set()
        assert list(inner.list("condemned/")) == []
        assert list(inner.list("leases/")) == []
        if is_done:
            break
    assert failures >= numbers.of(2, 40)


def test_a_store_that_is_down_fails_a_prune_loudly(tmp_path: Path) -> None:
    """And nothing was deleted."""
    store = MemoryStore()
    lab = PruneLab.make(store, tmp_path)
    before = history(lab)
    lab.store = FaultyDeletes(store, at=1, acts_first=False)
    with pytest.raises(StoreError):
        lab.prune()
    lab.store = store
    assert lab.repository.backups() == before
    assert GRACE > DAY


class KillingStore(FaultyDeletes):
    """A store whose n-th call is the last that this process makes, before or after it acts."""

    def _is_due(self) -> bool:
        with self._lock:
            self.calls += 1
            is_due = self.calls == self._at
        if is_due and not self._acts_first:
            os.kill(os.getpid(), signal.SIGKILL)
        return is_due

    def _fail_late(self, is_due: bool) -> None:
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(lab: PruneLab, root: Path, *, at: int, acts_first: bool) -> bool:
    """Prune in a process that is killed at its n-th call; whether it was."""
    process = os.fork()
    if process == 0:
        try:
            lab.store = KillingStore(LocalStore(root), at=at, acts_first=acts_first)
            lab.prune()
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("acts_first", [False, True], ids=["before", "after"])
def test_a_prune_is_killed_at_its_nth_call(
    tmp_path: Path, numbers: Numbers, *, acts_first: bool
) -> None:
    """SIGKILL: the next one of this host runs at once and finishes everything.

    Another host, which can't know that the lease's holder is dead, waits for it to expire.
    """
    at = kills = waited = 0
    step = numbers.of(17, 1)
    while True:
        at += step
        root = tmp_path / f"r{at}"
        lab = PruneLab.make(LocalStore(root), tmp_path / f"s{at}")
        before = history(lab)
        if not killed(lab, root, at=at, acts_first=acts_first):
            break
        kills += 1
        lab.store = LocalStore(root)
        assert lab.damages() == ()
        assert set(lab.repository.backups()) <= set(before)
        assert [what for what in lab.wrong_in_log() if "no checkpoint" not in what] == []
        if list(lab.store.list("leases/")):
            waited += 1
            with pytest.raises(BusyError):
                PruneLab(lab.store, tmp_path / f"o{at}").prune()
        lab.prune_until_nothing_is_left()
        assert len(lab.repository.backups()) == 3
        assert lab.damages() == ()
        assert lab.garbage() == set()
        assert lab.wrong_in_log() == ()
        assert list(lab.store.list("leases/")) == []
    assert kills >= numbers.of(3, 60)
    assert waited >= numbers.of(2, 50)
