"""Looking, telling and being asked, beside the loop that runs jobs and never in its way.

A thread of its own looks at everything after each event and every few minutes, decides whom to
tell what, and delivers. The loop only says what happened; whatever goes wrong here ends here.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from backup.settings import Settings
from scheduler.alerts import AlertState, decide, told
from scheduler.credentials import dead_man_url, notify_urls
from scheduler.deadman import DeadMan
from scheduler.events import Event, SlotFailed, SlotFinished, Ticked
from scheduler.health import assess
from scheduler.journal import FILE_NAME
from scheduler.journalview import TICK_LIMIT, Alive, Undelivered
from scheduler.look import Looker
from scheduler.notify import Delivery, Notifiers
from scheduler.outcomes import Outcome
from scheduler.recollection import keep, recall
from scheduler.status import DaemonState, Severity, Status

LOOK_EVERY: Final = timedelta(minutes=5)
# A store that is away for less than this wakes nobody.
BLIND_PATIENCE: Final = timedelta(minutes=15)
_NOTE_ALIVE_EVERY: Final = timedelta(minutes=1)
_LAST_WORDS: Final = timedelta(seconds=45)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Where signals go."""

    notifiers: Notifiers
    dead_man: DeadMan | None
    repeat: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Outlets:
        """Return those of the settings and credentials. Raises `SettingsError`."""
        limit = settings.notify.timeout
        url = dead_man_url(settings.credentials_directory)
        return cls(
            notifiers=Notifiers(notify_urls(settings.credentials_directory), limit=limit),
            dead_man=None if url is None else DeadMan(url, limit=limit),
            repeat=settings.notify.repeat_after,
        )


def rest_after(took_seconds: float) -> float:
    """Return for how many seconds nobody looks again after a look that took so long.

    With hundreds of databases something ends every second, and a look takes seconds: it must not
    take more than a tenth of the time.
    """
    return 9 * took_seconds


class Watch:
    """An observer of the daemon; also what HTTP serves (`scheduler.http.Sight`)."""

    def __init__(
        self,
        settings: Settings,
        outlets: Outlets,
        *,
        clock: Callable[[], datetime],
        look_every: timedelta = LOOK_EVERY,
    ) -> None:
        self._clock = clock
        self._look_every = look_every
        self._started = clock()
        self._moved = time.monotonic()
        self._moved_at: datetime | None = None
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._is_stopping = False
        self._ended: list[bool] = []
        self._is_asked = True
        self._status: Status | None = None
        self._blind_since: datetime | None = None
        self._state: AlertState | None = None
        self._undelivered: Undelivered | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._use(settings, outlets)

    def use(self, settings: Settings, outlets: Outlets) -> None:
        """Go by other settings from now on."""
        with self._wake:
            self._use(settings, outlets)
            self._ask()

    def _use(self, settings: Settings, outlets: Outlets) -> None:
        self._journal_path: Path = settings.state_directory / FILE_NAME
        self._outlets = outlets
        self._looker = Looker(settings, configured_notifiers=len(outlets.notifiers), keeps_log=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Look and tell once more, within a limit."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        self._thread.join(_LAST_WORDS.total_seconds())

    # What the daemon says; called in its thread, returns at once

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        with self._wake:
            if isinstance(event, Ticked):
                self._moved, self._moved_at = time.monotonic(), event.at
                return
            if isinstance(event, SlotFinished):
                self._ended.append(True)
            elif isinstance(event, SlotFailed) and event.is_final:
                # That another run was at work is no failure.
                self._ended += [] if event.outcome is Outcome.BUSY else [False]
            self._ask()

    def _ask(self) -> None:
        self._is_asked = True
        self._wake.notify()

    # What others ask, in their threads

    def status(self) -> Status | None:
        """Return the last status; None before the first."""
        with self._lock:
            return self._status

    def is_ticking(self) -> bool:
        """Whether the loop that runs jobs moved within its limit."""
        with self._lock:
            return time.monotonic() - self._moved <= TICK_LIMIT.total_seconds()

    # The thread

    def _run(self) -> None:
        looked, rested = -self._look_every.total_seconds(), 0.0
        while True:
            with self._wake:
                rest = rested - time.monotonic()
                if not self._is_stopping and (rest > 0 or not self._is_asked):
                    longest = _NOTE_ALIVE_EVERY.total_seconds()
                    self._wake.wait(min(rest, longest) if self._is_asked else longest)
                is_last = self._is_stopping
                is_rested = time.monotonic() >= rested
                is_stale = time.monotonic() - looked >= self._look_every.total_seconds()
                is_due = (self._is_asked and is_rested) or is_last or is_stale
                ended: list[bool] = []
                if is_due:
                    self._is_asked = False
                    ended, self._ended = self._ended, []
            try:
                if is_due:
                    looked = time.monotonic()
                    took = self._look_and_tell(ended)
                    rested = time.monotonic() + rest_after(took)
                self._keep()
            except Exception:  # noqa: BLE001 - the next look may work, and backups go on
                _log.exception("looking at the state failed", extra={"action": "watch_failed"})
            if is_last:
                return

    def _look_and_tell(self, ended: list[bool]) -> float:
        """Look, tell what is to be told, and return how many seconds looking took."""
        began, now = time.monotonic(), self._clock()
        with self._lock:
            looker, outlets = self._looker, self._outlets
        status = assess(looker.look(now=now, own=self._own()), now=now)
        took = time.monotonic() - began
        with self._lock:
            self._status = status
        self._ping(outlets, status, ended)
        if not self._is_patient(status, now):
            self._tell(outlets, status, now)
        return took

    def _own(self) -> DaemonState:
        is_ticking = self.is_ticking()
        return DaemonState(
            is_running=True,
            is_ticking=is_ticking,
            pid=os.getpid(),
            since=self._started,
            last_tick=self._moved_at,
        )

    def _is_patient(self, status: Status, now: datetime) -> bool:
        """Whether to wait before anybody is told of what could not be looked at."""
        if status.is_complete:
            self._blind_since = None
            return False
        self._blind_since = self._blind_since or now
        return now - self._blind_since < BLIND_PATIENCE

    def _ping(self, outlets: Outlets, status: Status, ended: list[bool]) -> None:
        """Ping after a run; with anything critical it is no good news.

        A good run of one database must not hide that another one has no backups.
        """
        if outlets.dead_man is None or not ended:
            return
        is_bad = False in ended or status.severity is Severity.CRITICAL
        outlets.dead_man.ping(is_good=not is_bad)

    def _tell(self, outlets: Outlets, status: Status, now: datetime) -> None:
        if self._state is None:
            self._state, self._undelivered = recall(self._journal_path)
        decision = decide(self._state, status, repeat=outlets.repeat)
        self._state = decision.state
        for message in decision.messages:
            _log.warning("%s", message.title, extra={"action": "alert", "subject": message.subject})
            if not len(outlets.notifiers):
                self._state = told(self._state, message, now=now)
                continue
            delivery = outlets.notifiers.deliver(message)
            if delivery.is_told:
                self._state = told(self._state, message, now=now)
            self._mind(delivery, now)

    def _mind(self, delivery: Delivery, now: datetime) -> None:
        """Remember that a place could not be reached, or that all could."""
        if not delivery.failed:
            self._undelivered = None
            return
        error = "; ".join(delivery.failed)
        _log.warning("a message was not delivered: %s", error, extra={"action": "notify_failed"})
        since = self._undelivered.since if self._undelivered else now
        self._undelivered = Undelivered(since=since, error=error, is_partial=delivery.is_told)

    def _keep(self) -> None:
        alive = Alive(pid=os.getpid(), since=self._started, tick=self._moved_at or self._started)
        keep(self._journal_path, alive, self._state, self._undelivered)
