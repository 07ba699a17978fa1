"""The law of locks, in random histories: what is locked by the policy is what the policy keeps."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta

from backup.repository.layout import BackupId, BackupKey
from backup.repository.locking import MINIMUM_LOCK, LockRule, lock_ends
from backup.repository.retention import Inventory, plan_retention
from backup.schedule import Schedule
from tests.lab.effort import tries
from tests.lab.retention import any_policy, kept

HISTORIES = tries(few=25, some=100, full=20_000)
# With the days that forty slots of each take.
SCHEDULES = {
    "0 * * * *": 2, "30 2 * * *": 41, "0 */6 * * *": 11, "15 4 * * 0": 281, "0 3 1 * *": 400,
}  # fmt: skip


def test_no_policy_lets_a_backup_go_before_its_lock_ends() -> None:
    """Whatever fails: backups come as they are due or not at all, and it is kept until then."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FAULTS_SEED={seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    compared = 0
    for _ in range(HISTORIES):
        policy = any_policy(chance)
        text = chance.choice(list(SCHEDULES))
        schedule = Schedule.parse(text, policy.zone.key)
        begin = datetime(2026, chance.randint(1, 12), chance.randint(1, 28), 5, tzinfo=UTC)
        days = chance.choice([3, 40, 400])
        end = begin + timedelta(days=days)
        due = list(schedule.slots(end - timedelta(days=min(days, SCHEDULES[text])), end))[-40:]
        made = [slot for slot in due if chance.random() < 0.8]
        keys = [BackupKey("a", BackupId.new(slot, chance.randbytes(3))) for slot in made]
        if len(keys) < 3:
            continue
        now_at = chance.randrange(1, len(keys))
        # Between two backups: the buckets that are over by now hold what they will ever hold.
        wait = keys[now_at].id.started - keys[now_at - 1].id.started - timedelta(seconds=1)
        now = keys[now_at - 1].id.started + chance.choice([0, 0.5, 1]) * wait
        rule = LockRule(policy=policy, schedule=schedule, at_most=timedelta(days=365))
        ends = lock_ends(keys[:now_at], rule, now=now)
        for later in range(now_at, min(len(keys), now_at + 9) + 1):
            then = keys[later - 1].id.started
            plan = plan_retention(Inventory(backups=keys[:later]), policy, now=then)
            locked = {key for key, end in ends.items() if end > then}
            # A lock of a day is there before anything else: who has no rule has that.
            young = {key for key in locked if then < key.id.started + MINIMUM_LOCK}
            assert locked - young <= kept(plan), (policy, schedule, keys[:later], then)
            compared += len(locked)
    assert compared > HISTORIES / 2
