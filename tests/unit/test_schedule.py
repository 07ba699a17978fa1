"""What crontab's fields mean, and which instants are due when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backup.errors import SettingsError
from backup.schedule import Schedule


def times(text: str, zone: str, first: str, last: str) -> list[str]:
    """What is due later than `first` and not later than `last`, in UTC."""
    schedule = Schedule.parse(text, zone)
    begin, end = (datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (first, last))
    return [f"{slot:%m-%dT%H:%M:%S}" for slot in schedule.slots(begin, end)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15 2 * * *", ["01-01T02:15:00", "01-02T02:15:00", "01-03T02:15:00"]),
        ("0 0-12/6 1 * *", ["01-01T06:00:00", "01-01T12:00:00"]),
        ("5,10 3 2-2 jan *", ["01-02T03:05:00", "01-02T03:10:00"]),
        ("0 1 * * FRI", ["01-02T01:00:00"]),
        ("0 1 * * fri-sun", ["01-02T01:00:00", "01-03T01:00:00"]),
        ("0 1 * * 5-7", ["01-02T01:00:00", "01-03T01:00:00"]),
        ("0 1 3 * 5", ["01-02T01:00:00", "01-03T01:00:00"]),
        ("0 1 */2 * 5", []),
        ("@daily", ["01-02T00:00:00", "01-03T00:00:00", "01-04T00:00:00"]),
        ("@WEEKLY", ["01-04T00:00:00"]),
    ],
)  # fmt: skip
def test_fields_mean_what_crontab_means(text: str, expected: list[str]) -> None:
    """Names, lists, ranges, steps; either of day and weekday if neither begins with a star."""
    assert times(text, "UTC", "2026-01-01T00:00", "2026-01-04T00:00") == expected


def test_zero_and_seven_are_sunday() -> None:
    """Not Monday, as some libraries have it."""
    for text in ("0 1 * * 0", "0 1 * * 7", "0 1 * * sun"):
        assert times(text, "UTC", "2026-01-01T00:00", "2026-01-07T00:00") == ["01-04T01:00:00"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15 1 * * *", ["03-29T01:00:00"]),
        ("0 * * * *", ["03-29T00:00:00", "03-29T01:00:00", "03-29T02:00:00"]),
        ("*/30 1,2 * * *", ["03-29T01:00:00", "03-29T01:30:00"]),
    ],
)
def test_what_a_clock_change_skips_is_due_right_after_it(text: str, expected: list[str]) -> None:
    """London, 29 March 2026: 01:00 to 01:59 are not there; each instant is due once."""
    assert times(text, "Europe/London", "2026-03-28T23:00", "2026-03-29T02:00") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 1 * * *", ["10-25T00:30:00"]),
        ("0 1-3 * * *", ["10-25T00:00:00", "10-25T02:00:00", "10-25T03:00:00"]),
        ("30 * * * *", ["10-24T23:30:00", "10-25T00:30:00", "10-25T01:30:00", "10-25T02:30:00"]),
    ],
)
def test_what_a_clock_change_repeats_is_due_once(text: str, expected: list[str]) -> None:
    """London, 25 October 2026: 01:00 to 01:59 come twice; every hour is every hour that passes."""
    assert times(text, "Europe/London", "2026-10-24T23:00", "2026-10-25T03:00") == expected


def test_a_day_that_a_zone_never_had_is_made_up_for() -> None:
    """Samoa went from 29 to 31 December 2011: the 30th's slot is due when the 31st begins."""
    assert times("0 12 30 12 *", "Pacific/Apia", "2011-12-28T00:00", "2012-01-02T00:00") == [
        "12-30T10:00:00"
    ]


def test_the_ends_of_a_stretch_count_once() -> None:
    """Later than the first moment, not later than the last: stretches side by side lose nothing."""
    assert times("0 * * * *", "UTC", "2026-01-01T01:00", "2026-01-01T03:00") == [
        "01-01T02:00:00", "01-01T03:00:00",
    ]  # fmt: skip


def test_next_and_last() -> None:
    """However far away: a 29 February that is a Monday comes once in 28 years or more."""
    schedule = Schedule.parse("0 0 29 2 */7", "Europe/London")
    now = datetime(2090, 1, 1, tzinfo=UTC)
    assert schedule.next_slot(now) == datetime(2128, 2, 29, tzinfo=UTC)
    assert schedule.last_slot(now) == datetime(2088, 2, 29, tzinfo=UTC)
    hourly = Schedule.parse("@hourly")
    assert hourly.next_slot(now) == now + timedelta(hours=1)
    assert hourly.last_slot(now) == now


@pytest.mark.parametrize(
    "text",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
        "* * * * 8", "* * * * monday", "*/0 * * * *", "*/x * * * *", "5-1 * * * *", "5/15 * * * *",
        "1,, * * * *", "-1 * * * *", "@reboot", "@sometimes", "0 0 30 2 *", "0 0 31 4,6 *",
        "\N{ARABIC-INDIC DIGIT ONE} * * * *",
    ],
)  # fmt: skip
def test_a_mistake_is_refused(text: str) -> None:
    """A schedule that nobody meant, or that is never due, must not switch a backup off."""
    with pytest.raises(SettingsError) as caught:
        Schedule.parse(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("zone", ["Europe/Londn", "", "../etc/passwd", "Europe"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    """By its name, with where to find the right one."""
    with pytest.raises(SettingsError, match="no time zone"):
        Schedule.parse("@daily", zone)


def test_what_was_written_is_kept() -> None:
    """For reports and the evidence log."""
    schedule = Schedule.parse(" 0  5 * * sun ", "Europe/London")
    assert (schedule.text, schedule.zone) == ("0 5 * * sun", "Europe/London")
    assert schedule == Schedule.parse("0 5 * * sun", "Europe/London")
