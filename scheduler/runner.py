"""Running jobs: each attempt is a child process of our own command line, watched by a thread.

The child is ended, TERM first and KILL after a grace period, when it moves nothing for too long, at
its deadline, and when the daemon stops. It dies with the daemon, and what it started dies with it.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Protocol

from backup.errors import StrongroomError
from backup.postgres.child import Child
from backup.postgres.process import Command, Supervised, supervise
from scheduler.jobs import JobKey
from scheduler.outcomes import Ended, Outcome, classify
from scheduler.plan import SlotRecord

_log = logging.getLogger(__name__)

_GRACE: Final = timedelta(seconds=30)
_RESULT_CHARACTERS: Final = 64 * 1024
_MESSAGE_CHARACTERS: Final = 1000
# What children may see of the daemon's environment: what settings and libraries read there.
_PASSED_ON: Final = (
    "STRONGROOM_", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "DATABASE_URL", "POSTGRES_", "PG",
    "AWS_", "XDG_", "SSL_CERT_", "TMPDIR",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """How an attempt ended. `result` is what the verb printed; `message` its last words."""

    key: JobKey
    outcome: Outcome
    exit_code: int | None
    message: str
    result: str


class Runs(Protocol):
    """Whoever runs attempts; what ends is announced through a callback and taken by `concluded`."""

    @property
    def running(self) -> tuple[JobKey, ...]:
        """What is at work."""

    def start(self, record: SlotRecord, arguments: tuple[str, ...], deadline: timedelta) -> None:
        """Begin an attempt; returns at once."""

    def concluded(self) -> list[Concluded]:
        """Return what has ended since the last time."""

    def stop(self) -> None:
        """End all that is at work, in good order; returns at once."""


class Runner:
    """Runs attempts as child processes, each watched by a thread."""

    def __init__(
        self,
        *,
        options: tuple[str, ...],
        environment: Mapping[str, str],
        silence: timedelta,
        wake: Callable[[], None],
        outcome_by_log: Callable[[SlotRecord], Outcome | None],
        program: tuple[str, ...] = (sys.executable, "-m", "backup.cli", "--heartbeat"),
    ) -> None:
        self._program = program
        self._options = options
        self._environment = {
            name: value for name, value in environment.items() if name.startswith(_PASSED_ON)
        }
        self.silence = silence
        self._wake = wake
        self._outcome_by_log = outcome_by_log
        self._lock = threading.Lock()
        self._children: dict[JobKey, Child | None] = {}
        self._stopped: set[JobKey] = set()
        self._ended: queue.SimpleQueue[Concluded] = queue.SimpleQueue()

    @property
    def running(self) -> tuple[JobKey, ...]:
        """What is at work."""
        with self._lock:
            return tuple(self._children)

    def start(self, record: SlotRecord, arguments: tuple[str, ...], deadline: timedelta) -> None:
        """Begin an attempt; returns at once."""
        key = record.key
        command = Command(
            label=key.text,
            argv=(*self._program, *arguments, *self._options),
            environment=self._environment,
            grace=_GRACE,
        )
        with self._lock:
            self._children[key] = None
        threading.Thread(
            target=self._attend,
            args=(record, command, deadline),
            name=f"run {key.text}",
            daemon=True,
        ).start()

    def concluded(self) -> list[Concluded]:
        """Return what has ended since the last time."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._ended.get_nowait())
        return found

    def stop(self) -> None:
        """End all that is at work, in good order; returns at once."""
        with self._lock:
            self._stopped |= self._children.keys()
            children = [child for child in self._children.values() if child is not None]
        for child in children:
            child.end()

    def _attend(self, record: SlotRecord, command: Command, deadline: timedelta) -> None:
        key = record.key
        try:
            ended = supervise(
                command,
                silence=self.silence,
                deadline=deadline,
                entered=lambda child: self._registered(key, child),
            )
            concluded = self._checked(record, self._conclusion(key, ended))
        except StrongroomError as error:
            concluded = _not_begun(key, error.message)
        except Exception as error:  # noqa: BLE001 - a slot must not stay `running` for ever
            concluded = _not_begun(key, f"{type(error).__name__}: {error}")
        with self._lock:
            del self._children[key]
            self._stopped.discard(key)
        self._ended.put(concluded)
        self._wake()

    @contextlib.contextmanager
    def _registered(self, key: JobKey, child: Child) -> Iterator[None]:
        with self._lock:
            self._children[key] = child
            is_stopped = key in self._stopped
        if is_stopped:  # between its start and now
            child.end()
        yield

    def _checked(self, record: SlotRecord, concluded: Concluded) -> Concluded:
        """Return how it ended by the log, if the child came to no end of its own.

        A child may be killed when its work is done: doing it again would do a slot twice.
        """
        if not concluded.outcome.may_retry or concluded.outcome is Outcome.BUSY:
            return concluded
        try:
            outcome = self._outcome_by_log(record)
        except StrongroomError as error:
            # Nothing is known: the next try will find out. Doing it twice loses nothing.
            _log.warning(
                "%s: the evidence log could not be asked what came of it: %s",
                record.key.text,
                error.message,
                extra={"action": "log_unread"},
            )
            return concluded
        if outcome is None:
            return concluded
        message = "" if outcome is Outcome.SUCCEEDED else concluded.message
        return replace(concluded, outcome=outcome, message=message)

    def _conclusion(self, key: JobKey, ended: Supervised) -> Concluded:
        why: Ended | None = None
        message = _last_words(ended.stderr_tail)
        if ended.ending == "stall":
            why, message = "silence", f"it moved nothing for {self.silence}, so it was ended"
        elif ended.ending == "timeout":
            why, message = "deadline", "it was not done at its deadline, so it was ended"
        elif ended.ending == "request":
            why, message = "stop", "the daemon was stopped"
        return Concluded(
            key=key,
            outcome=classify(key.job, ended.exit_code, why),
            exit_code=ended.exit_code,
            message="" if ended.exit_code == 0 else message or f"exit code {ended.exit_code}",
            result=ended.stdout.decode(errors="replace")[:_RESULT_CHARACTERS],
        )


def _not_begun(key: JobKey, message: str) -> Concluded:
    return Concluded(key=key, outcome=Outcome.TROUBLED, exit_code=None, message=message, result="")


def _last_words(text: str) -> str:
    """Return what the program said last, on one line: its message and its hint."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines)[-_MESSAGE_CHARACTERS:]
