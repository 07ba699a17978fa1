"""Locks that follow from the policy: as long as it keeps a backup at least, and not longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backup.repository.layout import BackupId, BackupKey
from backup.repository.locking import MINIMUM_LOCK, LockRule, lock_ends
from backup.repository.retention import Policy
from backup.schedule import Schedule

DAY = timedelta(days=1)
YEAR = 365 * DAY
GFS = Policy(keep_daily=14, keep_weekly=8, keep_monthly=12, keep_yearly=7)
DAILY = Schedule.parse("0 2 * * *")


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def backup(text: str) -> BackupKey:
    """A backup that began then."""
    return BackupKey("portal", BackupId.new(at(text), b"\x00\x00\x01"))


def rule(policy: Policy, schedule: Schedule | None = DAILY, at_most: timedelta = YEAR) -> LockRule:
    """A rule."""
    return LockRule(policy=policy, schedule=schedule, at_most=at_most)


def end_of_new(policy: Policy, started: str, schedule: Schedule | None = DAILY) -> datetime:
    """Until when a backup is locked that has just begun, the first of all."""
    key = backup(started)
    return lock_ends([key], rule(policy, schedule), now=key.id.started)[key]


@pytest.mark.parametrize(
    ("started", "end"),
    [
        ("2026-01-14T02:00", "2026-01-28T00:00"),  # a Wednesday: fourteen days of dailies
        ("2026-01-18T02:00", "2026-03-09T00:00"),  # a Sunday: eight weeks
        ("2026-01-31T02:00", "2027-01-01T00:00"),  # the month's last: twelve months
        ("2026-12-31T02:00", "2027-12-31T02:00"),  # the year's last: as far as a lock reaches
    ],
)
def test_the_schedule_tells_which_backup_stays_for_how_long(started: str, end: str) -> None:
    """The last of a day, week, month or year is locked as long as that rule keeps it."""
    assert end_of_new(GFS, started) == at(end)


def test_a_backup_whose_successor_is_due_today_is_locked_for_the_shortest_time() -> None:
    """Only what the policy keeps for certain: the minimum age, and never less than a day."""
    hourly = Schedule.parse("0 * * * *")
    started = "2026-01-14T09:00"
    assert end_of_new(GFS, started, hourly) == at(started) + MINIMUM_LOCK
    aged = replace(GFS, minimum_age=3 * DAY)
    assert end_of_new(aged, started, hourly) == at(started) + 3 * DAY
    within = replace(GFS, minimum_age=timedelta(), keep_within=5 * DAY)
    assert end_of_new(within, started, hourly) == at(started) + 5 * DAY
    assert end_of_new(replace(GFS, minimum_age=timedelta()), started, hourly) == at(started) + DAY
    assert end_of_new(GFS, "2026-01-14T23:00", hourly) == at("2026-01-28T00:00")


def test_without_a_schedule_a_lock_is_extended_when_the_bucket_is_over() -> None:
    """The month's backup that turned out to be the last is promoted on the first of the next."""
    assert end_of_new(GFS, "2026-01-31T02:00", None) == at("2026-02-01T02:00")
    old, new = backup("2026-01-31T02:00"), backup("2026-02-01T02:00")
    ends = lock_ends([new, old], rule(GFS, None), now=new.id.started)
    assert ends == {old: at("2027-01-01T00:00"), new: at("2026-02-02T02:00")}


def test_a_schedule_that_failed_promotes_an_earlier_backup() -> None:
    """Nothing came after the 29th: it is January's from the first of February on."""
    old = backup("2026-01-29T02:00")
    days = lock_ends([old], rule(GFS), now=at("2026-01-30T03:00"))[old]
    assert days == at("2026-02-12T00:00"), "the thirtieth may hold the first of fourteen newer ones"
    months = lock_ends([old], rule(GFS), now=at("2026-02-01T03:00"))[old]
    assert months == at("2027-01-01T00:00"), "February may hold the first of twelve newer ones"


def test_the_last_few_are_locked_until_as_many_newer_ones_are_due() -> None:
    """The newest for as many slots as are kept, each one before it for one less."""
    keys = [backup(f"2026-01-{day:02}T02:00") for day in (10, 11, 12, 13, 14)]
    policy = Policy(keep_last=3)
    ends = lock_ends(keys, rule(policy), now=at("2026-01-14T02:00"))
    assert ends == {
        keys[2]: at("2026-01-15T02:00"),
        keys[3]: at("2026-01-16T02:00"),
        keys[4]: at("2026-01-17T02:00"),
    }
    many = replace(policy, keep_last=1_000_000)
    ends = lock_ends(keys, rule(many, at_most=30 * DAY), now=at("2026-01-14T02:00"))
    assert set(ends.values()) == {at("2026-02-13T02:00")}
    assert lock_ends(keys, rule(many, None), now=at("2026-01-20T00:00")) == {}


def test_hours_weeks_and_years_begin_in_the_policys_own_zone() -> None:
    """Midnight of Kathmandu is a quarter past six of the day before."""
    zone = ZoneInfo("Asia/Kathmandu")
    key = backup("2026-01-14T17:00")  # 22:45 there
    days = rule(Policy(keep_daily=2, zone=zone), Schedule.parse("45 22 * * *", zone.key))
    assert lock_ends([key], days, now=key.id.started)[key] == at("2026-01-15T18:15")
    hours = rule(Policy(keep_hourly=72, zone=zone), Schedule.parse("45 * * * *", zone.key))
    assert lock_ends([key], hours, now=key.id.started)[key] == at("2026-01-17T16:15")
    years = rule(Policy(keep_yearly=2, zone=zone), None, at_most=5 * YEAR)
    old = backup("2024-06-01T00:00")
    assert lock_ends([old, key], years, now=key.id.started)[old] == at("2026-12-31T18:15")


def test_what_the_policy_keeps_no_more_gets_no_lock_and_a_pin_as_far_as_one_reaches() -> None:
    """A second backup of a day that is over is nobody's."""
    old, last = backup("2026-01-10T02:00"), backup("2026-01-10T22:00")
    now = at("2026-01-14T00:00")
    assert set(lock_ends([old, last], rule(GFS), now=now)) == {last}
    ends = lock_ends([old, last], rule(GFS, at_most=90 * DAY), now=now, pinned=[old])
    assert ends[old] == now + 90 * DAY


@pytest.mark.parametrize(
    ("policy", "longest"),
    [
        (Policy(), DAY),
        (GFS, YEAR),
        (Policy(keep_hourly=48), 2 * DAY),
        (Policy(keep_daily=14), 14 * DAY),
        (Policy(keep_weekly=3), 21 * DAY),
        (Policy(keep_monthly=2, keep_within=10 * DAY), 62 * DAY),
        (Policy(keep_yearly=1_000_000), YEAR),
    ],
)
def test_what_is_kept_for_good_is_locked_as_long_as_any_backup(
    policy: Policy, longest: timedelta
) -> None:
    """Entries of the log and reports are never used again, so nothing extends their locks."""
    assert rule(policy).longest == longest
