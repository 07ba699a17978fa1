"""The daemon as its own process, in which days pass as fast as its work is done.

Its clock leaps to whatever is due next while nothing is at work, and goes on from where the last
process left it. Its children meet a fault of the store now and then. `SOAK` in the environment is
a JSON object: `clock` (a file: the time, in seconds), `until`, `seed`, `faults` (how many of a
hundred children meet one), `killed_prunes` (how many of a hundred prunes are killed while they
write or delete) and `sizes` (a file to which memory and descriptors are written daily).
"""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backup.cli import tell
from backup.cli.options import load_settings
from backup.errors import StrongroomError
from scheduler.logs import JsonLines
from scheduler.plan import SlotRecord
from scheduler.runner import Runner
from scheduler.service import Given, serve
from scheduler.wakeup import AlarmClock

# While something is at work a second is so many.
PACE = 120
# Between two looks at a child at work.
NAP = 0.1
CHILD = Path(__file__).with_name("child.py")


class Leaping(AlarmClock):
    """An alarm clock that does not wait while nothing is at work: it sets the time forward."""

    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__()
        self._file = Path(asked["clock"])
        self._until = float(asked["until"])
        self._sizes = Path(asked["sizes"])
        self._now = float(self._file.read_text())
        self._day = 0
        self.is_busy = lambda: False

    def start(self) -> None:
        """Real alarms have no meaning here."""

    def now(self) -> datetime:
        """What time it is."""
        return datetime.fromtimestamp(self._now, UTC)

    def wait(self, limit: timedelta) -> None:
        """Leap, or take a nap while children are at work."""
        if self.is_busy():
            self._event.wait(NAP)
            self._event.clear()
            self._now += NAP * PACE
        else:
            self._now += min(limit.total_seconds() + 0.001, 3600.0)
        new = self._file.with_suffix(".new")
        new.write_text(str(self._now))
        new.replace(self._file)
        if self._now // 86400 != self._day:
            self._day = int(self._now // 86400)
            self._measure()
        if self._now >= self._until:
            signal.raise_signal(signal.SIGTERM)

    def _measure(self) -> None:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        kib = int(status.partition("VmRSS:")[2].split()[0])
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with self._sizes.open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()} {self._day} {kib} {descriptors}\n")


def run() -> int:
    """Set it up and run the daemon."""
    asked = json.loads(os.environ.pop("SOAK"))
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    chance = random.Random(f"{asked['seed']} {os.getpid()}")
    alarm = Leaping(asked)
    make, start = Runner.__init__, Runner.start

    def made(self: Runner, **named: Any) -> None:
        make(self, program=(sys.executable, str(CHILD), "--heartbeat"), **named)
        alarm.is_busy = lambda: bool(self.running)

    def started(self: Runner, record: SlotRecord, *arguments: Any) -> None:
        fault: dict[str, object] = {}
        if record.key.job == "prune" and chance.randrange(100) < asked["killed_prunes"]:
            at = chance.randrange(2, 40)
            fault = {"calls": ["link", "unlink"], "path": "repository", "at": at, "then": "kill"}
        elif chance.randrange(100) < asked["faults"]:
            broken = chance.choice([errno.EIO, errno.ENOSPC])
            fault = {"calls": ["link", "fsync"], "at": chance.randrange(1, 15), "then": broken}
        self._environment["FAULT"] = json.dumps(fault)
        start(self, record, *arguments)

    Runner.__init__ = made  # type: ignore[method-assign]
    Runner.start = started  # type: ignore[method-assign]
    config = Path(sys.argv[1])
    try:
        return serve(
            Given(
                load=lambda: load_settings(config),
                options=("--config", str(config)),
                environment=dict(os.environ),
                clock=alarm.now,
                tick=timedelta(hours=1),
                alarm=lambda: alarm,
            )
        )
    except StrongroomError as error:
        tell(error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(run())
