"""The daemon as its own process, on a clock that leaps: hours pass while nothing is to be done.

Nothing else about it differs from `strongroom daemon`. Its clock starts in the past, leaps from
slot to slot up to where a file says, and stands there at a second a second; told to go to the
present, it gets there and goes by the real time from then on. What it does it prints, a JSON object
a line, for `unattended.py`, and it logs to a file as any daemon does.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from backup.errors import StrongroomError
from backup.settings import Settings, load
from scheduler.events import Event, SlotFailed, SlotFinished, SlotMissed, SlotStarted
from scheduler.jobs import JobKey
from scheduler.logs import JsonLines
from scheduler.service import Given, named, serve
from scheduler.signals import Signals
from scheduler.wakeup import AlarmClock

_NAP: Final = 0.05
_TICK: Final = timedelta(hours=1)
_BEYOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """How far time may go; None: to the present. `number` tells one order from the next."""

    number: int
    until: datetime | None = None
    is_stop: bool = False

    def write(self, path: Path) -> None:
        """Put it where the daemon looks, whole."""
        until = None if self.until is None else self.until.isoformat()
        new = path.with_suffix(".new")
        new.write_text(json.dumps([self.number, until, self.is_stop]), encoding="ascii")
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> Steering:
        """Return what is asked for now."""
        number, until, is_stop = json.loads(path.read_text(encoding="ascii"))
        return cls(
            number=number,
            until=None if until is None else datetime.fromisoformat(until),
            is_stop=is_stop,
        )


class LeapingClock(AlarmClock):
    """A clock, and an alarm clock that leaps to what is next instead of waiting for it."""

    def __init__(self, steering: Path, start: datetime) -> None:
        super().__init__()
        self._steering = steering
        self._behind = datetime.now(UTC) - start
        self._reached = 0
        self._at_work: set[JobKey] = set()

    def start(self) -> None:
        """Nothing rings by real time."""

    def now(self) -> datetime:
        """Return what time it is here."""
        return datetime.now(UTC) - self._behind

    def __call__(self, event: Event) -> None:
        """Take in an event of the daemon: time must not leap while something is at work."""
        if isinstance(event, SlotStarted):
            self._at_work.add(event.key)
        elif isinstance(event, SlotFinished | SlotFailed):
            self._at_work.discard(event.key)

    def wait(self, limit: timedelta) -> None:
        """Leap by so much at most, or take a nap if there is work, or nowhere to leap to."""
        asked = Steering.read(self._steering)
        if asked.is_stop:
            signal.raise_signal(signal.SIGTERM)
            return
        left = self._behind if asked.until is None else asked.until - self.now()
        if left > timedelta() and not self._at_work:
            self._behind = max(timedelta(), self._behind - min(limit + _BEYOND, left))
            return
        if not self._at_work and asked.number > self._reached:
            self._reached = asked.number
            _tell(action="reached", number=asked.number)
        self._event.wait(_NAP)
        self._event.clear()


def show(event: Event) -> None:
    """Print what the demo shows of an event."""
    if isinstance(event, SlotFinished):
        _tell(
            action=event.action,
            job=event.key.job,
            due=event.due.isoformat(),
            seconds=event.duration.total_seconds(),
            result=json.loads(event.result),
        )
    elif isinstance(event, SlotFailed):
        _tell(
            action=event.action,
            job=event.key.job,
            due=event.due.isoformat(),
            message=event.message,
            is_final=event.is_final,
        )
    elif isinstance(event, SlotMissed):
        _tell(
            action=event.action,
            job=event.key.job,
            due=event.first.isoformat(),
            last=event.last.isoformat(),
            slots=event.slots,
        )


def _tell(**said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _log_to(path: Path) -> None:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("apscheduler").setLevel(logging.WARNING)


def main(config: Path, steering: Path, log: Path, start: datetime) -> int:
    """Run the daemon of these settings from `start` on until the steering says stop."""

    def read_settings() -> Settings:
        return load(environment=os.environ, is_root=os.geteuid() == 0, config=config)

    _log_to(log)
    clock = LeapingClock(steering, start)
    with Signals(named(read_settings(), os.environ), clock=clock.now) as signals:
        return serve(
            Given(
                load=read_settings,
                options=("--config", str(config)),
                environment=os.environ,
                clock=clock.now,
                tick=_TICK,
                alarm=lambda: clock,
                observers=(clock, show, signals),
            )
        )


if __name__ == "__main__":
    config, steering, log, start = sys.argv[1:]
    try:
        sys.exit(main(Path(config), Path(steering), Path(log), datetime.fromisoformat(start)))
    except StrongroomError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(error.exit_code)
