"""The daemon as its own process: its clock is set by a file, and it breaks at a chosen moment.

`DAEMON` in the environment is a JSON object:

    clock     a file with the number of seconds by which the clock is ahead
    tick      at least so often, in seconds, it looks what is due
    once      do what is due, and end
    kill_at   SIGKILL to ourselves at this transition: before or after a write to the journal, or
              when a child is started
    journal   "fails": every call of the journal raises; a number: that call does, and no other;
              the name of a method: its first call does
    calls     where to write how many calls of the journal there were
    credentials   a directory of credentials; with it the daemon tells people, as the real one does
    child     the program that its children are, instead of our command line
    report    where to write how many transitions there were
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from pathlib import Path
from typing import Any

from backup.cli import tell
from backup.cli.options import load_settings
from backup.errors import StrongroomError
from scheduler.events import Observer
from scheduler.journal import Journal, JournalError
from scheduler.logs import JsonLines
from scheduler.runner import Runner
from scheduler.service import Given, named, serve
from scheduler.signals import Signals

WRITES = ("save", "set_notes", "note_logged")


class Transitions:
    """Counts what the daemon does, and kills it at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.count = 0
        self._kill_at = kill_at

    def passed(self) -> None:
        """One more."""
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: type, name: str) -> None:
        """Count before and after a method."""
        method: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.passed()
            result = method(*arguments, **named)
            self.passed()
            return result

        setattr(owner, name, call)


def failing(*_: Any, **__: Any) -> Any:
    """What every call of a broken journal does."""
    raise JournalError("the disk is gone")


class OnceFailing:
    """Counts the calls of the journal, and breaks one of them."""

    def __init__(self, at: int | None) -> None:
        self.count = 0
        self._at = at
        self._lock = threading.Lock()

    def broken(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method that counts, and fails when its time has come."""

        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                self.count += 1
                is_due = self.count == self._at
            return failing() if is_due else method(*arguments, **named)

        return call


def clock_of(path: Path) -> Callable[[], datetime]:
    """A clock that is ahead by what a file says."""

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(path.read_text() or 0))

    return clock


def run() -> int:
    """Set it up and run the daemon."""
    asked = json.loads(os.environ.pop("DAEMON"))
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    transitions = Transitions(asked.get("kill_at"))
    for name in WRITES:
        transitions.around(Journal, name)
    transitions.around(Runner, "start")
    if "child" in asked:
        begin: Callable[..., None] = Runner.__init__
        program = (sys.executable, asked["child"], "--heartbeat")
        setattr(Runner, "__init__", partialmethod(begin, program=program))  # noqa: B010
    broken = asked.get("journal")
    once = OnceFailing(broken if isinstance(broken, int) else None)
    for name in vars(Journal).keys() - vars(object).keys():
        if not name.startswith("_"):
            method = getattr(Journal, name)
            counter = OnceFailing(1) if name == broken else once
            setattr(Journal, name, failing if broken == "fails" else counter.broken(method))
    if "credentials" in asked:
        os.environ["CREDENTIALS_DIRECTORY"] = asked["credentials"]
    config, clock = Path(sys.argv[1]), clock_of(Path(asked["clock"]))
    try:
        with ExitStack() as stack:
            observers: tuple[Observer, ...] = ()
            if "credentials" in asked:
                settings = named(load_settings(config), os.environ)
                observers = (stack.enter_context(Signals(settings, clock=clock)),)
            given = Given(
                load=lambda: load_settings(config),
                options=("--config", str(config)),
                environment=dict(os.environ),
                clock=clock,
                tick=timedelta(seconds=asked.get("tick", 0.2)),
                observers=observers,
            )
            return serve(given, once=asked.get("once", False))
    except StrongroomError as error:
        tell(error)
        return error.exit_code
    finally:
        if "calls" in asked:
            Path(asked["calls"]).write_text(str(once.count), encoding="ascii")
        if "report" in asked:
            Path(asked["report"]).write_text(str(transitions.count), encoding="ascii")


if __name__ == "__main__":
    sys.exit(run())
