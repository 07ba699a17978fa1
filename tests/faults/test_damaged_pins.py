"""A pin that is not what was written: its backup stays, and a prune that can't read it fails.

All but the newest two would go. What still reads as the pin of that backup is one; of anything else
a prune says which object it is, and deletes nothing at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from backup.errors import BlockedError
from backup.journeys.pins import pin
from backup.journeys.prunelook import PrunePlan
from backup.repository.layout import PINS_PREFIX, BackupKey
from backup.repository.pins import pin_key
from backup.repository.retention import BlockedPlan
from backup.repository.stores.memory import MemoryStore
from tests.faults.forks import Forks
from tests.faults.sites import RETENTION, Site
from tests.lab.effort import Numbers
from tests.lab.prunes import DAY, START, PruneLab

DAYS = (50, 40, 30, 20)
WHY = "before the migration; ask Ann"


def pinned(lab: PruneLab) -> BackupKey:
    """Make four backups, and pin the oldest of the two that would go."""
    oldest, *_ = [lab.back_up(START - days * DAY) for days in DAYS]
    planned = lab.plan()
    assert isinstance(planned, PrunePlan)
    assert oldest in planned.backups.expired
    pin(lab.repository, oldest, lab.log, who="ann@host", why=WHY, clock=lab.clock)
    return oldest


def flips(data: bytes) -> list[bytes]:
    """The data with one bit flipped, each bit in turn."""
    return [
        data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
        for at in range(len(data))
        for bit in range(8)
    ]


def test_no_damage_of_a_pin_lets_its_backup_go(
    tmp_path: Path, numbers: Numbers, chance: random.Random
) -> None:
    """Each flipped bit, each length that it is cut to, some bytes too many, and none at all."""
    store = MemoryStore()
    lab = PruneLab.make(store, tmp_path)
    key = pinned(lab)
    name = pin_key(key)
    whole = store.get(name)
    others: list[bytes | None] = [None, whole + b"\n", whole + b"{}", whole * 2, b"\0" * len(whole)]
    cut = [whole[:size] for size in range(len(whole))]
    damages = flips(whole) + cut + others
    assert len(flips(whole)) >= 1000
    blocked = kept = 0
    for data in chance.sample(damages, numbers.of(150, len(damages))):
        store.delete(name)
        if data is not None:
            store.put(name, data)
        planned = lab.plan()
        if isinstance(planned, BlockedPlan):
            blocked += 1
            assert len(planned.reasons) == 1
            assert name in planned.reasons[0], planned.reasons
        else:
            # Another word or moment, but a pin of this backup by somebody.
            kept += 1
            assert key not in planned.backups.expired, data
            assert lab.damages() == ()
            [reasons] = [one.reasons for one in planned.backups.kept if one.key == key]
            assert [reason for reason in reasons if reason.startswith("pinned: ")], data
    assert min(blocked, kept) > 0
    print(f"{blocked} were refused, {kept} are pins still")  # noqa: T201


def moved(site: Site, key: BackupKey) -> None:
    """The pin of one lies under the name of another."""
    other = pin_key(site.lab.repository.backups()[1])
    (site.home / "repository" / pin_key(key)).rename(site.home / "repository" / other)


def renamed(site: Site, key: BackupKey) -> None:
    """A damaged directory: one letter of its name is another."""
    path = site.home / "repository" / pin_key(key)
    path.rename(path.with_name(path.name.replace("Z-", "z-")))


def cut(site: Site, key: BackupKey) -> None:
    """The second half is gone, as after a crash of a file system."""
    path = site.home / "repository" / pin_key(key)
    path.write_bytes(path.read_bytes()[:50])


def lost(site: Site, key: BackupKey) -> None:
    """It is gone altogether."""
    (site.home / "repository" / pin_key(key)).unlink()


@pytest.mark.parametrize("damage", [cut, lost, moved, renamed])
def test_a_prune_fails_loudly_at_a_damaged_pin(
    place: Path, forks: Forks, damage: Callable[[Site, BackupKey], None]
) -> None:
    """Exit code 12, which object, nothing deleted; and what the runbook says mends it."""
    site = Site(home=place / "site", forks=forks)
    lab = PruneLab.make(site.store, site.home / "state")
    key = pinned(lab)
    site.keep_keys()
    site.configure(RETENTION)
    before = lab.repository.backups()
    damage(site, key)

    blocked = site.run("prune", "--apply")
    assert blocked.code == BlockedError.exit_code, blocked
    assert PINS_PREFIX in blocked.stderr
    assert "docs/runbooks/pruning.md" in blocked.stderr
    assert lab.repository.backups() == before
    assert lab.damages() == ()
    verified = site.run("log", "verify")
    assert verified.code == 0, verified

    for name in [name for name in lab.store.list(PINS_PREFIX) if name != pin_key(key)]:
        lab.store.delete(name)
    assert site.run("unpin", key.id.text).code == 0
    assert site.run("pin", key.id.text, "--reason", WHY).code == 0
    done = site.run("prune", "--apply")
    assert done.code == 0, done
    assert key in lab.repository.backups()
    assert len(lab.repository.backups()) == len(before) - 1
    assert lab.damages() == ()
