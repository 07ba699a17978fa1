"""The alarm clock: APScheduler wakes whoever waits, at our slots and no others."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from backup.schedule import Schedule
from scheduler.jobs import JobKey, ScheduledJob
from scheduler.triggers import SlotTrigger
from scheduler.wakeup import AlarmClock

LONG = timedelta(seconds=25)  # shorter than the tick that wakes anyway
SOON = timedelta(milliseconds=20)


@dataclass(frozen=True, kw_only=True)
class Soon(Schedule):
    """A schedule that is always due a moment later."""

    def next_slot(self, after: datetime) -> datetime:
        """See `Schedule.next_slot`."""
        return after + SOON


def job(schedule: Schedule) -> ScheduledJob:
    """A job that is due then."""
    return ScheduledJob(
        key=JobKey(job="backup", database="portal"),
        schedule=schedule,
        priority=50,
        deadline=LONG,
        policy_sha256="0" * 64,
        arguments=lambda _: (),
    )


@pytest.fixture
def alarm() -> Iterator[AlarmClock]:
    """An alarm clock that runs."""
    clock = AlarmClock()
    clock.start()
    yield clock
    clock.close()


def waited(alarm: AlarmClock, limit: timedelta) -> float:
    """How long somebody slept."""
    began = time.monotonic()
    alarm.wait(limit)
    return time.monotonic() - began


def test_it_wakes_at_a_slot_again_and_again(alarm: AlarmClock) -> None:
    """Long before the tick; a job that is taken away wakes nobody."""
    alarm.set_jobs([job(Soon(**vars(Schedule.parse("@hourly"))))])
    assert waited(alarm, LONG) < 20
    assert waited(alarm, LONG) < 20
    alarm.set_jobs([job(Schedule.parse("0 0 29 2 *"))])
    # What was ringing already may still be heard.
    assert any(waited(alarm, 5 * SOON) >= 0.09 for _ in range(20))


def test_it_wakes_when_somebody_rings(alarm: AlarmClock) -> None:
    """Also if nobody waited yet."""
    alarm.ring()
    assert waited(alarm, LONG) < 20


@pytest.mark.parametrize(
    ("text", "zone", "around"),
    [
        ("0 0 * * *", "Europe/Berlin", "2026-03-28"),
        ("30 0 * * *", "America/New_York", "2026-03-07"),
        ("15 2 * * *", "Europe/Helsinki", "2026-10-24"),
        ("*/30 * * * *", "Europe/London", "2026-10-24"),
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-28"),
    ],
)
def test_its_slots_are_ours_where_the_library_loses_or_doubles_some(
    text: str, zone: str, around: str
) -> None:
    """Slot after slot over a clock change, also when it was asked late."""
    start = datetime.fromisoformat(around).replace(tzinfo=UTC)
    schedule = Schedule.parse(text, zone)
    expected = list(schedule.slots(start, start + timedelta(days=4)))
    trigger = SlotTrigger(schedule)
    fired: list[datetime] = []
    for _ in expected:
        last = fired[-1] if fired else None
        following = trigger.get_next_fire_time(last, last or start)
        assert following is not None
        fired.append(following)
    assert fired == expected
    before = expected[-2] if len(expected) > 1 else None
    late = trigger.get_next_fire_time(before, expected[-1] - timedelta(seconds=1))
    assert late == expected[-1]


@pytest.mark.timeout(120)
def test_a_signal_may_ring_at_any_moment() -> None:
    """Also while its own thread goes to sleep, or has just woken: nobody waits for himself."""
    alarm, handled, is_over = AlarmClock(), 0, False

    def handle(*_: object) -> None:
        nonlocal handled
        alarm.ring()
        handled += 1

    def knock() -> None:
        while not is_over:
            before = handled
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
            while handled == before and not is_over:
                time.sleep(0)

    old = signal.signal(signal.SIGUSR2, handle)
    knocking = threading.Thread(target=knock)
    knocking.start()
    try:
        while handled < 300:
            alarm.wait(timedelta())
    finally:
        is_over = True
        knocking.join()
        signal.signal(signal.SIGUSR2, old)
