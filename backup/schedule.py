"""Schedules in crontab's syntax: which instants are due, computed from local time. Pure.

A schedule names local wall times; this module maps them to UTC itself. A time that a clock change
skips is due at the first instant after the gap; one that a clock change repeats is due once, the
first time. A schedule of every hour follows the hours that pass: in a repeated hour it is due in
both. What crontab means by its fields is in crontab(5); weekday 0 and 7 are Sunday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from backup.errors import SettingsError

_HINT: Final = (
    "five fields: minute hour day-of-month month day-of-week, as in crontab(5), or @daily"
)
_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SHORT: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAY: Final = timedelta(days=1)
_ALL_HOURS: Final = frozenset(range(24))
# 29 February falls on each weekday once in 28 years, in 40 if one of them is no leap year (2100).
_LONGEST_WAIT: Final = timedelta(days=41 * 366)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One field: its name, its range, and names for its numbers, from the lowest on."""

    label: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()

    def parse(self, text: str, whole: str) -> frozenset[int]:
        """Return the numbers that the field allows."""
        return frozenset(number for item in text.split(",") for number in self._item(item, whole))

    def _item(self, item: str, whole: str) -> range:
        span, slash, step_text = item.partition("/")
        step = self._step(step_text, whole) if slash else 1
        if span == "*":
            return range(self.lowest, self.highest + 1, step)
        first_text, dash, last_text = span.partition("-")
        first = self._number(first_text, whole)
        if not dash:
            if slash:
                raise _mistake(whole, f"{item}: a step needs a range, such as {span}-59/{step}")
            return range(first, first + 1)
        last = self._number(last_text, whole)
        if last < first and self.label == "day-of-week" and last == 0:
            last = 7  # fri-sun
        if last < first:
            raise _mistake(whole, f"{item}: the range ends before it begins")
        return range(first, last + 1, step)

    def _step(self, text: str, whole: str) -> int:
        if not _is_number(text) or int(text) == 0:
            raise _mistake(whole, f"{self.label}: the step {text!r} is not a positive number")
        return int(text)

    def _number(self, text: str, whole: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.lowest
        if not _is_number(text) or not self.lowest <= int(text) <= self.highest:
            raise _mistake(
                whole, f"{self.label}: {text!r} is not between {self.lowest} and {self.highest}"
            )
        return int(text)


_FIELDS: Final = (
    _Field(label="minute", lowest=0, highest=59),
    _Field(label="hour", lowest=0, highest=23),
    _Field(label="day-of-month", lowest=1, highest=31),
    _Field(label="month", lowest=1, highest=12, names=_MONTHS),
    _Field(label="day-of-week", lowest=0, highest=7, names=_WEEKDAYS),
)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When something is due. `text` is what was written; two equal ones are due together."""

    text: str
    zone: str
    _minutes: frozenset[int] = field(repr=False)
    _hours: frozenset[int] = field(repr=False)
    _days: frozenset[int] = field(repr=False)
    _months: frozenset[int] = field(repr=False)
    _weekdays: frozenset[int] = field(repr=False)
    _needs_both: bool = field(repr=False)

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> Schedule:
        """Return the schedule that a crontab line and a time zone (`Europe/London`) mean.

        Raises `SettingsError`, also for one that is never due (30 February).
        """
        line = _SHORT.get(text.strip().lower(), text)
        words = line.split()
        if len(words) != len(_FIELDS):
            raise _mistake(text, f"{len(words)} fields instead of {len(_FIELDS)}")
        minutes, hours, days, months, weekdays = (
            one.parse(word, text) for one, word in zip(_FIELDS, words, strict=True)
        )
        load_zone(zone)
        schedule = cls(
            text=" ".join(text.split()),
            zone=zone,
            _minutes=minutes,
            _hours=hours,
            _days=days,
            _months=months,
            _weekdays=frozenset(day % 7 for day in weekdays),
            # crontab(5): a day must match both fields if either begins with `*`, else one of them
            _needs_both=words[2].startswith("*") or words[4].startswith("*"),
        )
        if not any(schedule._is_on(date(2000, 1, 1) + _DAY * n) for n in range(40 * 366)):
            raise _mistake(text, "no calendar has such a day, so it would never be due")
        return schedule

    def slots(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the instants due later than `after` and not later than `until`, ascending, in UTC.

        Both are aware. Each instant comes once, however many wall times are mapped to it.
        """
        after, until = after.astimezone(UTC), until.astimezone(UTC)
        day = after.astimezone(self._zone).date() - 2 * _DAY  # a gap may be as long as a day
        last = until.astimezone(self._zone).date() - 2 * _DAY
        pending: set[datetime] = set()
        while True:
            if self._is_on(day):
                pending |= {one for one in self._instants(day) if after < one <= until}
            day += _DAY
            if not pending and day < last:
                continue
            # Nothing of a later day is due before its own midnight, the first one if there are two.
            midnight = _due(datetime.combine(day, time()), self._zone)[0]
            ready = sorted(one for one in pending if one < midnight)
            yield from ready
            pending.difference_update(ready)
            if midnight > until:
                yield from sorted(pending)
                return

    def next_slot(self, after: datetime) -> datetime:
        """Return the first instant due later than `after`."""
        return next(self.slots(after, after + _LONGEST_WAIT))

    def last_slot(self, until: datetime) -> datetime:
        """Return the last instant due not later than `until`."""
        length = timedelta(days=2)
        while True:
            found = list(self.slots(until - length, until))
            if found:
                return found[-1]
            length *= 4

    @cached_property
    def _zone(self) -> ZoneInfo:
        return load_zone(self.zone)

    @cached_property
    def _times(self) -> tuple[time, ...]:
        return tuple(time(hour, minute) for hour in sorted(self._hours) for minute in self._minutes)

    def _is_on(self, day: date) -> bool:
        if day.month not in self._months:
            return False
        is_day = day.day in self._days
        is_weekday = day.isoweekday() % 7 in self._weekdays
        return is_day and is_weekday if self._needs_both else is_day or is_weekday

    def _instants(self, day: date) -> Iterator[datetime]:
        """Yield what is due of one local day, unordered, perhaps twice."""
        offset = _offset_of(day, self._zone)
        follows_hours = self._hours == _ALL_HOURS
        for at in self._times:
            if offset is not None:
                yield datetime.combine(day, at, tzinfo=UTC) - offset
            else:
                due = _due(datetime.combine(day, at), self._zone)
                yield from due if follows_hours else due[:1]


def load_zone(name: str) -> ZoneInfo:
    """Return the time zone of that name. Raises `SettingsError` if there is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as error:  # not found is a KeyError, some names are directories
        raise _no_zone(name) from error
    except KeyError as error:
        raise _no_zone(name) from error


def _no_zone(name: str) -> SettingsError:
    return SettingsError(
        f"{name!r} is no time zone",
        hint="a name such as Europe/London; `timedatectl list-timezones`",
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _mistake(text: str, what: str) -> SettingsError:
    return SettingsError(f"schedule {text!r}: {what}", hint=_HINT)


@lru_cache(maxsize=4096)
def _offset_of(day: date, zone: ZoneInfo) -> timedelta | None:
    """Return the zone's offset all through a local day; None if it changes in or beside it."""
    start = datetime.combine(day, time(), tzinfo=zone)
    offsets = {
        (start + timedelta(hours=hour)).replace(fold=fold).utcoffset()
        for hour in range(-1, 26)
        for fold in (0, 1)
    }
    return offsets.pop() if len(offsets) == 1 else None


def _due(wall: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """Return when a wall time is due: once; after a gap; both times where it is repeated."""
    first, second = (
        wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)
    )  # PEP 495: in a gap the two change places, and the change lies between them
    if first == second:
        return (first,)
    if first < second:
        return first, second
    return (_change_between(second, first, zone),)


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant, to the second, at which the offset is that of `after`."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
