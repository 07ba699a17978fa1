"""Retention: which backup a rule keeps, in whose time, and what blocks a plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backup.repository.layout import BackupId, BackupKey
from backup.repository.retention import BlockedPlan, Inventory, Plan, Policy, plan_retention

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
BARE = Policy(minimum_age=timedelta(), minimum_count=0)


def backup(moment: str, database: str = "app") -> BackupKey:
    """A backup that began at a time in UTC."""
    return BackupKey(database, BackupId.new(datetime.fromisoformat(moment + "+00:00"), b"abc"))


def plan(policy: Policy, *keys: BackupKey, now: datetime = NOW) -> Plan:
    """A plan that is not blocked."""
    made = plan_retention(Inventory(backups=keys), policy, now=now)
    assert isinstance(made, Plan)
    return made


def reasons(made: Plan, key: BackupKey) -> tuple[str, ...]:
    """Why a backup stays; empty if it goes."""
    return next((one.reasons for one in made.kept if one.key == key), ())


def test_every_backup_that_stays_says_why() -> None:
    """All the reasons, and the newest of a bucket is the one that stays."""
    old, early, late = map(backup, ("2026-01-05T02:00", "2026-03-30T02:00", "2026-03-30T14:00"))
    made = plan(replace(BARE, keep_last=1, keep_daily=2, keep_yearly=1), old, early, late)
    assert reasons(made, late) == ("last 1 of 1", "daily 2026-03-30", "yearly 2026", "newest")
    assert reasons(made, old) == ("daily 2026-01-05",)
    assert made.expired == (early,)


def test_a_day_is_one_of_the_policys_own_zone() -> None:
    """23:30 UTC in summer is the next day in Berlin."""
    evening, night = backup("2026-07-01T21:30"), backup("2026-07-01T22:30")
    now = datetime(2026, 7, 9, tzinfo=UTC)
    local = plan(replace(BARE, keep_daily=2, zone=BERLIN), evening, night, now=now)
    assert [one.key for one in local.kept] == [evening, night]
    assert plan(replace(BARE, keep_daily=2), evening, night, now=now).expired == (evening,)


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    """In autumn both stay, with their offsets in the reason."""
    first, second = backup("2025-10-26T00:30"), backup("2025-10-26T01:30")
    made = plan(replace(BARE, keep_hourly=2, zone=BERLIN), first, second)
    assert reasons(made, first) == ("hourly 2025-10-26 02:00 +0200",)
    assert reasons(made, second) == ("hourly 2025-10-26 02:00 +0100", "newest")


def test_weeks_are_iso_weeks() -> None:
    """The last days of December may belong to the first week of the next year."""
    monday, friday = backup("2024-12-30T02:00"), backup("2025-01-03T02:00")
    made = plan(replace(BARE, keep_weekly=9), monday, friday)
    assert reasons(made, friday) == ("weekly 2025-W01", "newest")
    assert made.expired == (monday,)


def test_databases_are_told_apart_by_their_whole_name() -> None:
    """`app` is no `app-test`: each keeps its own newest."""
    one, other = backup("2026-03-01T02:00", "app"), backup("2026-03-02T02:00", "app-test")
    assert plan(replace(BARE, keep_last=1), one, other).expired == ()


def test_the_newest_that_passed_a_restore_test_stays() -> None:
    """Whatever the policy says; and that of each month that is asked for."""
    keys = [backup(f"2026-0{month}-10T02:00") for month in (1, 2, 3)] + [backup("2026-03-20T02:00")]
    inventory = Inventory(backups=keys, proven=frozenset(keys[:3]))
    made = plan_retention(inventory, replace(BARE, keep_last=1), now=NOW)
    assert isinstance(made, Plan)
    assert made.expired == tuple(keys[:2])
    assert reasons(made, keys[2]) == ("newest that passed a restore test",)
    yearly = replace(BARE, keep_last=1, keep_proven_monthly=2)
    made = plan_retention(inventory, yearly, now=NOW)
    assert isinstance(made, Plan)
    assert made.expired == tuple(keys[:1])
    assert reasons(made, keys[1]) == ("passed a restore test, monthly 2026-02",)


def test_brakes_name_themselves() -> None:
    """Pins, use, age and number."""
    pinned, used, second, newest = map(
        backup, ("2026-01-01T02:00", "2026-01-02T02:00", "2026-03-30T02:00", "2026-03-31T02:00")
    )
    made = plan_retention(
        Inventory(
            backups=[pinned, used, second, newest],
            pinned={pinned: "audit 2026"},
            in_use={used: "restore on db2"},
        ),
        Policy(keep_last=1, keep_within=timedelta(hours=20), minimum_count=2),
        now=NOW,
    )
    assert isinstance(made, Plan)
    assert made.expired == ()
    assert reasons(made, pinned) == ("pinned: audit 2026",)
    assert reasons(made, used) == ("in use: restore on db2",)
    assert reasons(made, second) == ("one of the newest 2",)
    assert reasons(made, newest) == (
        "last 1 of 1", "within 20:00:00", "newest", "younger than 1 day",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "newest", "doubts", "reason"),
    [
        (BARE, "2026-03-31T02:00", (), "the policy keeps nothing of app"),
        (replace(BARE, keep_last=1), "2026-03-31T12:06", (), "lies in the future"),
        (replace(BARE, keep_last=1, max_expire=0), "2026-03-31T02:00", (), "1 backups of app"),
        (replace(BARE, keep_last=1), "2026-03-31T02:00", ("a doubt",), "a doubt"),
    ],
)
def test_a_doubt_blocks_the_whole_plan(
    policy: Policy, newest: str, doubts: tuple[str, ...], reason: str
) -> None:
    """Nothing may go, and what would have gone is still told."""
    keys = [backup("2026-01-01T02:00"), backup(newest)]
    made = plan_retention(Inventory(backups=keys, doubts=doubts), policy, now=NOW)
    assert isinstance(made, BlockedPlan)
    assert reason in made.reasons[0]
    assert made.refused.expired == (keys[0],)


def test_clocks_of_two_hosts_may_differ_a_little() -> None:
    """A backup of the next minute is none of the future."""
    assert plan(replace(BARE, keep_last=1), backup("2026-03-31T12:04")).expired == ()


def test_the_proof_of_another_database_counts_nothing() -> None:
    """Two databases may have a backup of the same id; only one of them was restored."""
    proven, newer, newest = map(
        backup, ("2026-01-01T02:00", "2026-01-02T02:00", "2026-03-01T02:00")
    )
    other = BackupKey("app-test", newer.id)
    inventory = Inventory(backups=[proven, newer, newest, other], proven=frozenset({proven, other}))
    made = plan_retention(inventory, replace(BARE, keep_last=1), now=NOW)
    assert isinstance(made, Plan)
    assert made.expired == (newer,)
    assert reasons(made, proven) == ("newest that passed a restore test",)


def test_a_backup_made_by_a_clock_that_ran_behind_stays() -> None:
    """Its id says last year, the log says that it was the last to be made."""
    behind, newest = backup("2025-03-31T11:00"), backup("2026-03-31T02:00")
    bare = replace(BARE, keep_last=1)
    assert plan(bare, behind, newest).expired == (behind,)
    inventory = Inventory(backups=[behind, newest], made_last=frozenset({behind}))
    made = plan_retention(inventory, bare, now=NOW)
    assert isinstance(made, Plan)
    assert reasons(made, behind) == ("last made, by the evidence log",)


def test_a_database_may_have_a_policy_of_its_own() -> None:
    """Told by its exact name; an empty one of its own blocks as well."""
    keys = [backup(f"2026-01-0{day}T02:00", name) for day in (1, 2) for name in ("app", "app-test")]
    inventory = Inventory(backups=keys)
    one, two = replace(BARE, keep_last=1), replace(BARE, keep_last=2)
    made = plan_retention(inventory, one, now=NOW, of_database={"app": two})
    assert isinstance(made, Plan)
    assert [key.database for key in made.expired] == ["app-test"]
    blocked = plan_retention(inventory, two, now=NOW, of_database={"app": BARE})
    assert isinstance(blocked, BlockedPlan)
    assert blocked.reasons == ("the policy keeps nothing of app: no keep_… of [retention] is set",)


def test_nothing_is_planned_for_no_backups() -> None:
    """An empty repository."""
    assert plan(replace(BARE, keep_last=1)) == Plan(kept=(), expired=())
