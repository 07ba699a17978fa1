"""Slots against two references: every minute of a stretch looked at, and croniter's wall times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import cycle, islice, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from backup.schedule import Schedule
from tests.lab.effort import tries

# Zone by zone: a day of either change; half-hour changes, midnight changes, the southern summer.
CHANGES = {
    "Europe/London": ("2026-03-29", "2026-10-25"),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "Europe/Helsinki": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "America/St_Johns": ("2010-03-14", "2010-11-07"),  # at one minute past midnight
    "America/Sao_Paulo": ("2018-11-04", "2018-02-18"),  # at midnight
    "America/Santiago": ("2026-09-06", "2026-04-05"),
    "Atlantic/Azores": ("2026-03-29", "2026-10-25"),
    "Asia/Tehran": ("2021-03-22", "2021-09-22"),
    "Africa/Cairo": ("2026-04-24", "2026-10-30"),
    "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),  # by half an hour
    "Antarctica/Troll": ("2026-03-29", "2026-10-25"),  # by two hours
    "Pacific/Apia": ("2011-12-30", "2011-04-02"),  # a day that was not there
}
SHAPES = (
    "0 * * * *", "*/15 * * * *", "30 * * * *", "0 0 * * *", "30 0 * * *", "15 2 * * *",
    "30 1 * * *", "0 */2 * * *", "0 3 * * 0", "45 23 * * *", "5,35 0-3 * * *", "0 2 29 * *",
    "*/30 1 * * 6,7", "10 1-2/1 4,5,8 * *",
)  # fmt: skip
MINUTE = timedelta(minutes=1)


@cache
def fields(text: str) -> tuple[frozenset[int] | None, ...]:
    """A crontab line's fields as croniter reads them; None allows everything."""
    expanded, *_ = croniter.expand(text)
    return tuple(None if one == ["*"] else frozenset(map(int, one)) for one in expanded)


def matches(text: str, wall: datetime) -> bool:
    """Whether a wall time is one of a crontab line's."""
    minute, hour, day, month, weekday = fields(text)
    for allowed, value in ((minute, wall.minute), (hour, wall.hour), (month, wall.month)):
        if allowed is not None and value not in allowed:
            return False
    is_day = day is None or wall.day in day
    is_weekday = weekday is None or wall.isoweekday() % 7 in weekday
    return is_day or is_weekday if day and weekday else is_day and is_weekday


class Minute(NamedTuple):
    """A minute that passes: the walls it shows and jumped over, and whether it was shown before."""

    now: datetime
    wall: datetime
    skipped: tuple[datetime, ...]
    is_repeated: bool


def minutes(zone: ZoneInfo, after: datetime, until: datetime) -> list[Minute]:
    """Walk through every minute that passes; knows nothing of offsets and folds."""
    seen: set[datetime] = set()
    now = after - timedelta(hours=3)
    before = now.astimezone(zone).replace(tzinfo=None) - MINUTE
    passed = []
    while now <= until:
        wall = now.astimezone(zone).replace(tzinfo=None)
        count = (wall - before) // MINUTE - 1
        skipped = tuple(before + MINUTE * number for number in range(1, count + 1))
        passed.append(Minute(now, wall, skipped, wall in seen))
        seen.add(wall)
        before = wall
        now += MINUTE
    return [one for one in passed if one.now > after]


def reference(text: str, passed: Iterable[Minute]) -> list[datetime]:
    """What is due: walls when first shown (each time, if every hour is due), and skipped ones."""
    every_hour = text.split()[1] == "*"
    at_minute = fields(text)[0] or range(60)
    return [
        one.now
        for one in passed
        if (
            one.wall.minute in at_minute
            and matches(text, one.wall)
            and (every_hour or not one.is_repeated)
        )
        or (one.skipped and any(matches(text, wall) for wall in one.skipped))
    ]


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("change", [0, 1], ids=["spring", "autumn"])
def test_no_slot_is_lost_or_doubled_at_a_clock_change(zone: str, change: int) -> None:
    """13 zones, both changes, 14 shapes: minute by minute the same as the reference.

    While somebody waits each zone has four of the shapes, and another zone the next four.
    """
    middle = datetime.fromisoformat(CHANGES[zone][change]).replace(tzinfo=ZoneInfo(zone))
    after = middle.astimezone(UTC) - timedelta(hours=12)
    until = after + timedelta(hours=48)
    passed = minutes(ZoneInfo(zone), after, until)
    first = 4 * (list(CHANGES).index(zone) + change)
    shapes = tries(few=4, some=len(SHAPES), full=len(SHAPES))
    for text in islice(cycle(SHAPES), first, first + shapes):
        got = list(Schedule.parse(text, zone).slots(after, until))
        assert got == reference(text, passed), (text, zone)
        assert all(one < other for one, other in pairwise(got))


def moments(first: int, last: int) -> st.SearchStrategy[datetime]:
    """Any moment of those years."""
    start = datetime(first, 1, 1, tzinfo=UTC)
    return st.integers(0, (last - first) * 366 * 24 * 60).map(lambda n: start + n * MINUTE)


_NUMBERS = {
    name: st.integers(low, high)
    for name, low, high in (
        ("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7),
    )
}  # fmt: skip


def _field(name: str) -> st.SearchStrategy[str]:
    number = _NUMBERS[name]
    # croniter reads 0-0 as every day, so that is no reference
    ends = st.lists(number, min_size=2, max_size=2, unique=True).map(sorted)
    ranges = ends.map(lambda ends: f"{ends[0]}-{ends[1]}")
    steps = st.tuples(st.one_of(st.just("*"), ranges), st.integers(1, 12)).map(
        lambda parts: f"{parts[0]}/{parts[1]}"
    )
    item = st.one_of(number.map(str), ranges, steps)
    return st.one_of(st.just("*"), st.lists(item, min_size=1, max_size=3).map(",".join))


@given(
    minute=_field("minute"), hour=_field("hour"), weekday=_field("weekday"),
    after=moments(1999, 2101),
)  # fmt: skip
def test_wall_times_are_croniters(minute: str, hour: str, weekday: str, after: datetime) -> None:
    """Where no clock changes, the next slots are those that croniter computes."""
    text = f"{minute} {hour} * * {weekday}"
    reader = croniter(text, after.replace(microsecond=0), implement_cron_bug=True)
    expected = [reader.get_next(datetime) for _ in range(3)]
    slots = Schedule.parse(text).slots(after, expected[-1])
    assert list(slots) == expected


@pytest.mark.parametrize(
    "text", ["0 0 29 2 *", "0 12 29 feb *", "30 4 28-31 2 *", "0 0 31 * *", "5 5 29 2 1"]
)
def test_leap_days_are_croniters(text: str) -> None:
    """Also across 2100, which is no leap year."""
    for year in (2095, 2023, 2027)[: tries(few=1, some=3, full=3)]:
        start = datetime(year, 1, 1, tzinfo=UTC)
        reader = croniter(text, start, implement_cron_bug=True)
        expected = [reader.get_next(datetime) for _ in range(6)]
        assert list(Schedule.parse(text).slots(start, expected[-1])) == expected


@given(
    zone=st.sampled_from(sorted(CHANGES)),
    text=st.sampled_from(SHAPES),
    after=moments(2008, 2030),
    cuts=st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_stretches_side_by_side_are_the_whole(
    zone: str, text: str, after: datetime, cuts: list[int]
) -> None:
    """However time is cut into stretches, together they hold each slot once."""
    schedule = Schedule.parse(text, zone)
    ends = [after]
    for hours in cuts:
        ends.append(ends[-1] + timedelta(hours=hours))
    parts = [slot for a, b in pairwise(ends) for slot in schedule.slots(a, b)]
    assert parts == list(schedule.slots(ends[0], ends[-1]))
    if parts:
        assert schedule.next_slot(ends[0]) == parts[0]
        assert schedule.last_slot(ends[-1]) == parts[-1]
