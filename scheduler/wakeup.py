"""The alarm clock: APScheduler wakes the daemon's loop, and that is all it does.

The only home of APScheduler. Its jobs are made anew at each start and kept in memory; each does
nothing but wake the loop, which asks the ledger what is due. The loop wakes by itself twice a
minute too, so a scheduler that died delays a slot by half a minute and loses none.
"""

from __future__ import annotations

import contextlib
import os
import select
import weakref
from collections.abc import Iterable
from datetime import UTC, timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from scheduler.jobs import ScheduledJob
from scheduler.triggers import SlotTrigger

TICK: Final = timedelta(seconds=30)


class _Bell:
    """An event that a signal handler may set.

    `threading.Event` has a lock. The thread that a signal interrupts may hold it just then, and
    its handler would wait for it for ever.
    """

    def __init__(self) -> None:
        self._rung = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Not at exit: a signal may come as late as that.
        weakref.finalize(self, os.close, self._rung).atexit = False

    def set(self) -> None:
        """Ring; it is heard until it is cleared."""
        os.eventfd_write(self._rung, 1)

    def wait(self, seconds: float) -> None:
        """Sleep until it has rung, at most so long."""
        poller = select.poll()
        poller.register(self._rung, select.POLLIN)
        poller.poll(max(0.0, seconds) * 1000)

    def clear(self) -> None:
        """Forget that it rang."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._rung)


class AlarmClock:
    """Wakes whoever waits: at each slot, each half minute, and when somebody calls `ring`."""

    def __init__(self) -> None:
        self._event = _Bell()
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
            timezone=UTC,
        )

    def start(self) -> None:
        """Begin to wake."""
        seconds = TICK.total_seconds()
        self._scheduler.add_job(
            self.ring, IntervalTrigger(seconds=seconds, timezone=UTC), id="tick"
        )
        self._scheduler.start()

    def set_jobs(self, jobs: Iterable[ScheduledJob]) -> None:
        """Wake at the slots of these jobs, and of no others."""
        for job in self._scheduler.get_jobs():
            if job.id != "tick":
                job.remove()
        for given in jobs:
            self._scheduler.add_job(self.ring, SlotTrigger(given.schedule), id=given.key.text)

    def ring(self) -> None:
        """Wake whoever waits, or the next who does; may be called from a signal handler."""
        self._event.set()

    def wait(self, limit: timedelta) -> None:
        """Sleep until somebody rings, at most so long."""
        self._event.wait(min(limit, TICK).total_seconds())
        self._event.clear()

    def close(self) -> None:
        """Wake nobody any more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
