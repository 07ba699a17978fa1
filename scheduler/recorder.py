"""The daemon's own entries in the evidence log, written by one thread.

A store that fails or hangs holds nobody up: what is to be written waits in order and is tried
again. What came of it is handed back to the daemon's loop, which alone touches the ledger.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backup.errors import StrongroomError
from backup.evidence.entry import Detail, Entry, EntryType
from backup.evidence.log import EvidenceLog
from backup.evidence.slot import missed_details, slot_text
from scheduler.jobs import JobKey
from scheduler.plan import Missed

_RETRY_SECONDS: Final = 15.0
_LONGEST_LOOK_BACK: Final = 5000
# Of what was read for that, at least so many entries are kept: after an outage of many databases
# each of them is looked for, and the same entries would be read over and over.
_KEPT_ENTRIES: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something to do with the log; `then` is called in the daemon's loop once it is done."""

    work: Callable[[EvidenceLog, dict[int, Entry]], None]
    then: Callable[[], None] | None = None


class Recorder:
    """A thread that writes to the evidence log, in order, until it works."""

    def __init__(
        self, open_log: Callable[[], EvidenceLog], *, retry_seconds: float = _RETRY_SECONDS
    ) -> None:
        self._open_log = open_log
        self._retry_seconds = retry_seconds
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._submitted = self._written = 0  # each has one thread that counts it up
        self._read: dict[int, Entry] = {}  # the log's entries, by number; only the thread's
        self.trouble: str | None = None
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def append(
        self,
        type_: EntryType,
        details: Mapping[str, Detail],
        *,
        now: datetime,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Have an entry written; returns at once."""
        self._submit(Task(work=lambda log, _: _append(log, type_, details, now), then=then))

    def miss(self, missed: Missed, *, now: datetime, then: Callable[[], None]) -> None:
        """Have missed slots written down, unless they are: after a crash they may be."""

        def work(log: EvidenceLog, read: dict[int, Entry]) -> None:
            details = missed_details(
                missed.key.job,
                missed.key.database or None,
                first=missed.first,
                last=missed.last,
                slots=missed.slots,
                reason=missed.reason,
            )
            if not _is_there(log, read, missed.first, lambda entry: _says(entry, details)):
                _append(log, EntryType.SLOT_MISSED, details, now)

        self._submit(Task(work=work, then=then))

    def require_answer(self, key: JobKey, due: datetime, *, now: datetime) -> None:
        """Have it written down that a run could not begin, unless it left an entry of its own."""
        details = missed_details(
            key.job, key.database or None, first=due, last=due, slots=1, reason="error"
        )

        def work(log: EvidenceLog, read: dict[int, Entry]) -> None:
            if not _is_there(log, read, due, lambda entry: answers(entry, key, due)):
                _append(log, EntryType.SLOT_MISSED, details, now)

        self._submit(Task(work=work))

    def finish_done(self) -> None:
        """Call what was to be called once something is done; only from the daemon's loop."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._done.get_nowait()()

    @property
    def is_idle(self) -> bool:
        """Whether all is written."""
        return self._written == self._submitted

    def close(self, limit: timedelta) -> bool:
        """Write what waits, for so long; return whether all of it is written."""
        self._stopping.set()
        self._tasks.put(None)
        self._thread.join(limit.total_seconds())
        return self.is_idle

    def _submit(self, task: Task) -> None:
        self._submitted += 1
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            while not self._try(task):
                if self._stopping.wait(self._retry_seconds):
                    return

    def _try(self, task: Task) -> bool:
        try:
            task.work(self._open_log(), self._read)
        except StrongroomError as error:
            self.trouble = error.message
            return False
        except Exception as error:  # noqa: BLE001 - this thread must not die of anything
            self.trouble = f"{type(error).__name__}: {error}"
            return False
        self.trouble = None
        if len(self._read) > 2 * _KEPT_ENTRIES:
            self._read = dict(sorted(self._read.items())[-_KEPT_ENTRIES:])
        self._written += 1
        if task.then is not None:
            self._done.put(task.then)
        return True


def answers(entry: Entry, key: JobKey, due: datetime) -> bool:
    """Whether an entry answers for a slot."""
    details = entry.details
    return (
        details.get("job") == key.job
        and details.get("slot") == slot_text(due)
        and (not key.database or details.get("database") == key.database)
    )


def _append(
    log: EvidenceLog, type_: EntryType, details: Mapping[str, Detail], now: datetime
) -> None:
    log.append(type_, details, now=now.replace(microsecond=0))


def _says(entry: Entry, details: Mapping[str, Detail]) -> bool:
    return entry.type is EntryType.SLOT_MISSED and dict(entry.details) == dict(details)


def _is_there(
    log: EvidenceLog, read: dict[int, Entry], due: datetime, matches: Callable[[Entry], bool]
) -> bool:
    """Look back for an entry; nothing that was written before a slot was due answers for it."""
    seen = 0
    found = False

    def ends(entry: Entry) -> bool:
        nonlocal seen, found
        seen += 1
        found = matches(entry)
        return found or entry.ts < due or seen >= _LONGEST_LOOK_BACK

    log.newest(ends, read=read)
    return found
