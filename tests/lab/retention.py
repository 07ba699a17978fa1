"""The laws of retention, asked of random histories of backups and random policies."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from backup.repository.layout import BackupId, BackupKey
from backup.repository.retention import (
    CLOCK_TOLERANCE,
    BlockedPlan,
    Inventory,
    Plan,
    Policy,
    plan_retention,
)

# Each is the beginning of another: they must be told apart by their whole name.
DATABASES = ("app", "app-test", "app%2D", "a", "app test")
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
    "Pacific/Apia", "America/St_Johns", "America/Asuncion", "Africa/Casablanca", "Europe/London",
)  # fmt: skip
KEEPS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")


def history(chance: random.Random, now: datetime) -> list[BackupKey]:
    """Backups as years of schedules, failures, clock jumps and second hosts leave them."""
    keys = []
    for database in chance.sample(DATABASES, chance.randint(1, 3)):
        step = chance.choice([timedelta(minutes=20), timedelta(hours=1), timedelta(days=1)])
        moment = now - step * chance.randint(0, 40) - timedelta(days=chance.choice([0, 0, 30, 900]))
        for _ in range(chance.randint(1, 30)):
            moment += step * chance.choice([1, 1, 1, 1, 2, 9])  # failures leave holes
            if chance.random() < 0.04:
                moment += chance.choice([-1, 1]) * timedelta(hours=chance.randint(1, 72))
            if moment < now + timedelta(days=chance.choice([0, 0, 0, 0, 1])):
                keys.append(BackupKey(database, BackupId.new(moment, chance.randbytes(3))))
            if keys and chance.random() < 0.05:
                keys.append(chance.choice(keys))  # listed twice
            if keys and chance.random() < 0.05:
                keys.append(BackupKey(database, chance.choice(keys).id))  # of another's id
    return keys


def any_policy(chance: random.Random) -> Policy:
    """A policy, often of few rules, sometimes of none."""
    keeps = {name: chance.choice([0, 0, 0, 1, 2, 7, 31]) for name in KEEPS}
    return Policy(
        **keeps,
        keep_within=chance.choice([timedelta(), timedelta(), timedelta(hours=5), timedelta(9)]),
        keep_proven_monthly=chance.choice([0, 0, 2, 12]),
        zone=ZoneInfo(chance.choice(ZONES)),
        minimum_count=chance.choice([0, 1, 1, 3]),
        minimum_age=chance.choice([timedelta(), timedelta(hours=3), timedelta(days=2)]),
        max_expire=chance.choice([0, 3, 1000]),
    )


def larger(policy: Policy, chance: random.Random) -> Policy:
    """A policy that asks for at least as much everywhere."""
    changes = {}
    for field in fields(policy):
        value = getattr(policy, field.name)
        if isinstance(value, int) and field.name != "max_expire":
            changes[field.name] = value + chance.choice([0, 0, 1, 5])
        elif isinstance(value, timedelta):
            changes[field.name] = value + timedelta(hours=chance.choice([0, 0, 7, 100]))
    return replace(policy, **changes)


def decided(plan: Plan | BlockedPlan) -> Plan:
    """What the rules say, blocked or not."""
    return plan.refused if isinstance(plan, BlockedPlan) else plan


def kept(plan: Plan | BlockedPlan) -> set[BackupKey]:
    """The backups that stay by the rules."""
    return {one.key for one in decided(plan).kept}


def assert_brakes(inventory: Inventory, policy: Policy, now: datetime) -> bool:
    """Nothing goes that must not, whatever the policy; whether the plan was blocked."""
    plan = plan_retention(inventory, policy, now=now)
    gone = set(decided(plan).expired)
    for database in {key.database for key in inventory.backups}:
        own = sorted({key for key in inventory.backups if key.database == database})
        proven = [key for key in own if key in inventory.proven]
        for protected in (own[-1:], own[-policy.minimum_count or len(own) :], proven[-1:]):
            assert not gone & set(protected)
        months = {(key.id.started.year, key.id.started.month): key for key in proven}
        if policy.zone.key == "UTC" and policy.keep_proven_monthly:
            assert not gone & {months[m] for m in sorted(months)[-policy.keep_proven_monthly :]}
    assert not gone & ((inventory.pinned or {}).keys() | (inventory.in_use or {}).keys())
    assert not gone & inventory.made_last
    assert all(key.id.started <= now - policy.minimum_age for key in gone)
    per_database = [sum(key.database == name for key in gone) for name in DATABASES]
    must_block = (
        bool(inventory.doubts)
        or (policy.is_empty and bool(inventory.backups))
        or any(key.id.started > now + CLOCK_TOLERANCE for key in inventory.backups)
        or max(per_database) > policy.max_expire
    )
    assert isinstance(plan, BlockedPlan) == must_block
    return must_block


def assert_laws(chance: random.Random, histories: int) -> None:
    """Partition, order, idempotence, monotony, and no brake broken, in so many histories."""
    expired = blocked = 0
    for _ in range(histories):
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(10**6))
        keys = history(chance, now)
        inventory = Inventory(
            backups=keys,
            proven=frozenset(key for key in keys if chance.random() < 0.15),
            made_last=frozenset(key for key in keys if chance.random() < 0.05),
            pinned={key: "audit" for key in keys if chance.random() < 0.05},
            in_use={key: "restore" for key in keys if chance.random() < 0.05},
            doubts=("a signature is wrong",) if chance.random() < 0.05 else (),
        )
        policy = any_policy(chance)
        plan = plan_retention(inventory, policy, now=now)
        stay, go = kept(plan), set(decided(plan).expired)
        assert stay | go == set(keys)
        assert not stay & go
        shuffled = replace(inventory, backups=chance.sample(keys, len(keys)))
        assert plan_retention(shuffled, policy, now=now) == plan
        again = plan_retention(replace(inventory, backups=stay), policy, now=now)
        assert decided(again).expired == ()
        assert stay <= kept(plan_retention(inventory, larger(policy, chance), now=now))
        blocked += assert_brakes(inventory, policy, now)
        expired += len(go)
    assert expired > 0
    assert blocked > 0
