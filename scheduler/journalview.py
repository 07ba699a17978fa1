"""What the journal tells of the daemon: what runs, what failed, whether it is alive."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final

from pydantic import ConfigDict

from backup.errors import StrongroomError
from backup.repository.canonical import STRICT, UtcTime, decode
from scheduler.facts import Failure, JobKind
from scheduler.jobs import JobKey
from scheduler.journal import FILE_NAME, Journal
from scheduler.outcomes import Outcome
from scheduler.plan import Missed, SlotRecord, State
from scheduler.status import DaemonState, Running

ALIVE_NOTE: Final = "signals.alive"
NOTIFIER_NOTE: Final = "signals.notifier"
# The loop moves twice a minute; what it says is written down once a minute.
TICK_LIMIT: Final = timedelta(minutes=5)
_NEWEST: Final = 3000
_MISSED_WITHIN: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """What a daemon writes down of itself."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    pid: int
    since: UtcTime
    tick: UtcTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """Since when messages could not be delivered, and why; `is_partial`: not everywhere."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    since: UtcTime
    error: str
    is_partial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalView:
    """All of it. `problem`: why the journal could not be read."""

    daemon: DaemonState
    failures: tuple[Failure, ...] = ()
    running: tuple[Running, ...] = ()
    missed: Mapping[str, int] = field(default_factory=dict)
    undelivered: Undelivered | None = None
    problem: str | None = None


NO_DAEMON: Final = DaemonState(
    is_running=False, is_ticking=False, pid=None, since=None, last_tick=None
)


def read_journal(
    state_directory: Path,
    wanted: Iterable[JobKey],
    *,
    now: datetime,
    own: DaemonState | None = None,
) -> JournalView:
    """Return what the journal of a state directory tells of the jobs that are `wanted`.

    `own` is what the daemon knows of itself. A host without a daemon has no journal: that is no
    problem of the journal's.
    """
    path = state_directory / FILE_NAME
    if not path.exists():
        return JournalView(daemon=own or NO_DAEMON)
    try:
        journal = Journal.read_only(path)
        try:
            return _view(journal, frozenset(wanted), now, own)
        finally:
            journal.close()
    except (StrongroomError, OSError) as error:
        return JournalView(daemon=own or NO_DAEMON, problem=str(error))


def _view(
    journal: Journal, wanted: frozenset[JobKey], now: datetime, own: DaemonState | None
) -> JournalView:
    records = [one for one in journal.records(newest=_NEWEST) if one.key in wanted]
    daemon = own or _daemon(journal.note(ALIVE_NOTE), now)
    noted = journal.note(NOTIFIER_NOTE)
    return JournalView(
        daemon=daemon,
        failures=failures_of(records),
        running=_running(records) if daemon.is_running else (),
        missed=_missed(journal.missed(newest=_NEWEST), now),
        undelivered=decode(Undelivered, noted.encode(), NOTIFIER_NOTE) if noted else None,
    )


def failures_of(records: Iterable[SlotRecord]) -> tuple[Failure, ...]:
    """Return the jobs whose newest result is a failure, and those that are being retried.

    A slot that was missed, or for which another run was at work, is no result.
    """
    by_job: dict[JobKey, list[SlotRecord]] = defaultdict(list)
    for record in records:
        if record.outcome is not Outcome.BUSY:
            by_job[record.key].append(record)
    found = []
    for key, own in sorted(by_job.items()):
        results = [one for one in own if one.state in {State.DONE, State.FAILED}]
        newest = max(results, key=lambda one: one.due, default=None)
        if newest is not None and newest.state is State.FAILED:
            found.append(_failure(key, newest))
            continue
        found += [
            replace(_failure(key, one), retry_at=one.next_attempt or one.due)
            for one in own
            if one.state is State.WAITING and one.attempts and one.outcome is not None
        ]
    return tuple(found)


def _failure(key: JobKey, record: SlotRecord) -> Failure:
    outcome = record.outcome.value if record.outcome else "failed"
    return Failure(
        job=kind_of(key),
        database=key.database or None,
        at=record.began or record.due,
        error=record.message or outcome,
    )


def kind_of(key: JobKey) -> JobKind:
    """Return what kind of job it is: the three restore tests are one."""
    if key.job == "backup":
        return "backup"
    if key.job == "verify":
        return "verify"
    if key.job == "prune":
        return "prune"
    if key.job == "copy":
        return "copy"
    return "report" if key.job == "report" else "restore test"


def _running(records: Iterable[SlotRecord]) -> tuple[Running, ...]:
    return tuple(
        Running(
            job=kind_of(one.key),
            database=one.key.database or None,
            since=one.began or one.due,
        )
        for one in records
        if one.state is State.RUNNING
    )


def _missed(missed: Iterable[Missed], now: datetime) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for one in missed:
        if one.key.job == "backup" and one.last > now - _MISSED_WITHIN:
            counts[one.key.database] += one.slots
    return dict(counts)


def _daemon(note: str | None, now: datetime) -> DaemonState:
    if note is None:
        return NO_DAEMON
    alive = decode(Alive, note.encode(), ALIVE_NOTE)
    return DaemonState(
        is_running=_is_process(alive.pid),
        is_ticking=abs(now - alive.tick) <= TICK_LIMIT,
        pid=alive.pid,
        since=alive.since,
        last_tick=alive.tick,
    )


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
