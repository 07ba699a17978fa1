"""Locks that follow from the policy, on a real S3 server: of a new backup, reused, promoted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.errors import LockedError
from backup.journeys.locks import lock_new, objects_of, promote
from backup.journeys.reuse import keep_locked
from backup.repository.layout import BackupId, BackupKey
from backup.repository.locking import LockRule
from backup.repository.retention import Policy
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3options import Lock
from backup.schedule import Schedule
from tests.lab.buckets import S3Server
from tests.lab.prunes import DAY, PruneLab
from tests.samples import FILES, allowed

POLICY = Policy(keep_daily=14, keep_monthly=12)
RULE = LockRule(policy=POLICY, schedule=Schedule.parse("0 2 * * *"), at_most=365 * DAY)
LOCK = Lock(mode="compliance", duration=DAY)


class LockedLab(PruneLab):
    """A repository in a bucket that locks. Locks end in the future, so its clock is beyond ours."""

    @property
    def bucket(self) -> S3Store:
        """The bucket."""
        assert isinstance(self.store, S3Store)
        return self.store

    def run(self, content: bytes) -> BackupKey:
        """Back up as the verb does: the lock said before, what is used again locked, promoted."""
        earlier = self.repository.backups("portal")
        coming = BackupKey("portal", BackupId.new(self.now, b"\x00\x00\x00"))
        lock_new(self.store, coming, earlier, RULE, now=self.now)
        before = set(self.store.list("chunks/"))
        key = self.back_up(self.now, content)
        reused = before & set(self.names(key))
        assert bool(reused) == bool(earlier)
        keep_locked(self.repository, FILES, [bytes.fromhex(name[-64:]) for name in reused])
        return key

    def promote(self, *pinned: BackupKey) -> tuple[BackupKey, ...]:
        """As the end of a backup does."""
        backups = self.repository.backups("portal")
        return promote(
            self.repository, backups, allowed(), RULE, now=self.now, pinned=frozenset(pinned)
        )

    def names(self, key: BackupKey) -> tuple[str, ...]:
        """All objects that a backup needs."""
        return objects_of(self.repository, self.repository.manifest(key, allowed()))

    def ends(self, names: Iterable[str]) -> list[datetime]:
        """Until when these are locked, the soonest first."""
        found = [self.bucket.protection(name).until for name in names]
        return sorted(end for end in found if end is not None)


@pytest.fixture
def lab(real_s3: S3Server, tmp_path: Path) -> LockedLab:
    """It stands on the tenth of a month: no backup there is the last of its month."""
    store = real_s3.store(real_s3.new_bucket(has_lock=True), "vault", lock=LOCK)
    for file in FILES:
        store.put(file.name, b"as init wrote it")
    lab = LockedLab.make(store, tmp_path / "state")
    assert isinstance(lab, LockedLab)
    lab.now = (datetime.now(UTC) + 31 * DAY).replace(
        day=10, hour=2, minute=0, second=0, microsecond=0
    )
    return lab


def test_a_lock_follows_from_the_policy_and_is_extended_by_reuse_and_promotion(
    lab: LockedLab,
) -> None:
    """Two weeks for a day's backup; a chunk that is used again longer; twelve months for a month's.

    Only what is named by signed lists is extended, and nothing is twice.
    """
    content = lab.chance.randbytes(1500)
    old = lab.run(content)
    begun, midnight = lab.now, lab.now.replace(hour=0)
    own = [name for name in lab.names(old) if name.startswith(old.prefix)]
    chunks = [name for name in lab.names(old) if name.startswith("chunks/")]
    assert set(lab.ends(own)) == {midnight + 14 * DAY}
    assert lab.ends(chunks)[0] > midnight + 14 * DAY, "a margin, for who uses them again"
    assert lab.promote() == ()

    # Nothing came for the rest of the month; then a backup that uses all of the old chunks.
    lab.now = (begun + 31 * DAY).replace(day=2)
    new = lab.run(content + lab.chance.randbytes(500))
    reused = set(chunks) & set(lab.names(new))
    assert reused
    assert lab.ends(reused)[0] >= lab.now.replace(hour=0) + 14 * DAY
    assert lab.ends([old.manifest]) == [midnight + 14 * DAY]
    assert lab.promote() == (old,)
    # This month has the first of twelve newer ones, so it goes when eleven more have begun.
    month = 12 * lab.now.year + lab.now.month - 1 + 11
    end = lab.now.replace(year=month // 12, month=month % 12 + 1, day=1, hour=0)
    assert lab.ends(own) == [end] * len(own)
    assert lab.ends(chunks)[0] >= end
    assert lab.ends([new.manifest]) == [lab.now.replace(hour=0) + 14 * DAY]
    assert lab.promote() == ()
    with pytest.raises(LockedError, match=f"lock until {end:%Y-%m-%d}"):
        lab.store.delete(old.manifest)
    assert lab.promote(new) == (new,), "a pin is locked as far as a lock reaches"
    assert lab.ends([new.manifest]) == [lab.now + 365 * DAY]


def test_a_pruner_is_told_until_when_what_the_policy_locks_stays(lab: LockedLab) -> None:
    """A policy that was made smaller deletes nothing before the time that was promised."""
    keys = []
    for _ in range(4):
        keys.append(lab.run(lab.chance.randbytes(1500) if not keys else b"same" * 300))
        lab.now += DAY
    lab.policy = replace(lab.policy, keep_last=1)
    done = lab.prune()
    assert done.deleted == ()
    assert set(done.spared) == set(keys[:-1])
    assert all("locked by the store until" in reason for reason in done.spared.values())
    assert lab.repository.backups() == keys
    assert lab.damages() == ()
