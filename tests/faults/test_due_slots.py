"""What a daemon takes in, whatever its clock does: every slot once, done or written down."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backup.schedule import Schedule
from scheduler.jobs import JobKey, ScheduledJob
from scheduler.plan import SlotRecord, State, begun, take_due
from tests.property.test_schedule import CHANGES, SHAPES, minutes, reference

HOUR = timedelta(hours=1)
LENGTH = 30 * HOUR
# How far a clock that is set now and then is off.
STEPS = (-HOUR, timedelta(), timedelta(), HOUR)
SUSPEND = 8 * HOUR


class Clerk:
    """Ticks as the daemon does, and keeps what it took in."""

    def __init__(self, text: str, zone: str, chance: random.Random) -> None:
        self._job = ScheduledJob(
            key=JobKey(job="backup", database="portal"),
            schedule=Schedule.parse(text, zone),
            priority=50,
            deadline=HOUR,
            policy_sha256="0" * 64,
            arguments=lambda _: (),
        )
        self._chance = chance
        self._floors: dict[JobKey, datetime] = {}
        self._records: dict[datetime, SlotRecord] = {}
        self.counts: Counter[datetime] = Counter()

    def tick(self, now: datetime) -> None:
        """Take in what is due; what was queued is begun now or later, and may fail."""
        taken = take_due([self._job], self._floors, list(self._records.values()), now)
        self._floors.update(taken.floors)
        for record in taken.records:
            if record.state is State.QUEUED:
                assert record.due not in self._records
                self.counts[record.due] += 1
            elif record.state is State.MISSED:  # it was queued, and is told of as missed
                self.counts[record.due] -= 1
            self._records[record.due] = record
        for missed in taken.missed:
            found = list(self._job.schedule.slots(missed.first - timedelta(seconds=1), missed.last))
            assert len(found) == missed.slots
            self.counts.update(found)
        for due, record in self._records.items():
            if record.state is State.QUEUED and self._chance.random() < 0.7:
                state = self._chance.choice([State.DONE, State.FAILED, State.RUNNING])
                self._records[due] = SlotRecord(
                    key=record.key, due=due, state=state, attempts=begun(record, now).attempts
                )


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("change", [0, 1], ids=["spring", "autumn"])
def test_a_clock_that_is_set_and_a_machine_that_sleeps_lose_and_double_nothing(
    zone: str, change: int, chance: random.Random
) -> None:
    """13 zones, both changes, 14 shapes: an hour ahead, an hour back, eight hours asleep.

    What is due is told by the reference, minute by minute, that knows nothing of our schedules.
    """
    middle = datetime.fromisoformat(CHANGES[zone][change]).replace(tzinfo=ZoneInfo(zone))
    start = middle.astimezone(UTC) - LENGTH / 2
    passed = minutes(ZoneInfo(zone), start, start + LENGTH + 2 * HOUR)
    for text in SHAPES:
        clerk = Clerk(text, zone, chance)
        clerk.tick(start)
        real, off, furthest, slept = start, timedelta(), start, False
        while real < start + LENGTH:
            real += timedelta(minutes=chance.randint(1, 90))
            if not slept and chance.random() < 0.04:
                real, slept = real + SUSPEND, True
            if chance.random() < 0.15:
                off = chance.choice(STEPS)
            real = min(real, start + LENGTH)
            furthest = max(furthest, real + off)
            clerk.tick(real + off)
        clerk.tick(furthest)
        expected = [due for due in reference(text, passed) if due <= furthest]
        assert sorted(clerk.counts.elements()) == expected, (text, zone)
        assert set(clerk.counts.values()) <= {0, 1} if expected else not clerk.counts
