"""The demo's half day: its slots, and the clock that leaps from one to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.demo.fastdaemon import LeapingClock, Steering
from backup.demo.unattended import OUTAGE_SLOTS, Timeline, require, the_only
from backup.errors import IntegrityError
from backup.schedule import Schedule
from scheduler.events import SlotFinished, SlotStarted
from scheduler.jobs import JobKey

MINUTE = timedelta(minutes=1)
# Around midnight, the turn of an hour, and the turn of a year.
MOMENTS = (
    datetime(2026, 1, 1, 0, 0, 0, tzinfo=UTC),
    datetime(2026, 7, 4, 0, 29, 59, tzinfo=UTC),
    datetime(2028, 2, 29, 12, 10, 31, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
)


@pytest.mark.parametrize("now", MOMENTS)
def test_the_day_has_the_slots_that_the_demo_tells_of(now: datetime) -> None:
    """Two backups, ten that are missed, one more, a prune, a restore test: all before now."""
    day = Timeline.ending(now)
    texts = [line.split('"')[1] for line in day.settings.splitlines() if '"' in line]
    hourly, prune, test = (Schedule.parse(text) for text in texts)
    start, stop = day.first - MINUTE, now
    backups = list(hourly.slots(start, stop))
    assert backups[:2] == [day.first, day.second]
    assert backups[2:] == [day.second + timedelta(hours=n) for n in range(1, OUTAGE_SLOTS + 2)]
    assert backups[-1] == day.catch_up
    assert list(prune.slots(start, stop)) == [day.prune]
    assert list(test.slots(start, stop)) == [day.restore_test]
    assert day.catch_up < day.prune < day.restore_test < now


def test_time_leaps_as_far_as_it_may_while_nothing_is_at_work(tmp_path: Path) -> None:
    """And is not set back; at work a second is a second."""
    start = datetime.now(UTC) - timedelta(days=1)
    steering = tmp_path / "steering"
    clock = LeapingClock(steering, start)
    Steering(number=1, until=start + timedelta(hours=2)).write(steering)
    clock.wait(timedelta(hours=1))
    assert timedelta(hours=1) <= clock.now() - start < timedelta(hours=2)
    clock.wait(timedelta(hours=9))
    at_most = timedelta(hours=2) + MINUTE
    assert timedelta(hours=2) <= clock.now() - start < at_most
    clock.wait(timedelta(hours=9))
    key = JobKey(job="backup", database="portal")
    clock(SlotStarted(at=clock.now(), key=key, due=start, attempt=1))
    Steering(number=2).write(steering)
    clock.wait(timedelta(hours=9))
    assert clock.now() - start < at_most
    clock(SlotFinished(at=clock.now(), key=key, due=start, attempt=1, duration=MINUTE, result="{}"))
    clock.wait(timedelta(days=9))
    assert abs(datetime.now(UTC) - clock.now()) < MINUTE


def test_a_demo_that_did_something_else_is_no_demo() -> None:
    """Exactly one of each thing, or it fails."""
    done = {"action": "slot_finished", "job": "backup"}
    other = {"action": "slot_finished", "job": "prune"}
    assert the_only([other, done], "slot_finished", "backup") is done
    for said in ([other], [done, done]):
        with pytest.raises(IntegrityError):
            the_only(said, "slot_finished", "backup")
    require(True, "it holds")
    with pytest.raises(IntegrityError, match="it does not"):
        require(False, "it does not")
