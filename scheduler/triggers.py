"""Our schedules as APScheduler takes them: its own triggers lose runs when clocks change."""

from __future__ import annotations

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from backup.schedule import Schedule


class SlotTrigger(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """Fires at each slot of a schedule. What is due is the journal's business, not this one's."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the next slot, never the one that fired last."""
        after = now if previous_fire_time is None else max(previous_fire_time, now)
        return self._schedule.next_slot(after)
