"""What is due, what was missed, what is begun now, what is tried again: all of it pure.

Each job has a floor: every slot up to it is answered for, by a record or by having been missed. On
each tick the slots between the floor and now are taken in: the newest is to be done, those before
it were missed. Slots are never counted by timers, so a suspended machine, a clock that was set or
an outage loses none and doubles none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from backup.evidence.slot import Reason
from scheduler.jobs import JobKey, ScheduledJob
from scheduler.outcomes import Outcome

# A floor further in the future than this was made by a clock that was wrong by more than an hour
# or two: waiting for it would stop backups for who knows how long.
FURTHEST_STEP_BACK: Final = timedelta(hours=3)
_BUSY_RETRY: Final = timedelta(minutes=1)
_INTERRUPTED_RETRY: Final = timedelta(seconds=10)


class State(StrEnum):
    """Where a slot is: the first three are open, and there is at most one of each for a job."""

    QUEUED = "queued"  # to be begun as soon as there is room
    RUNNING = "running"
    WAITING = "waiting"  # to be tried again at `next_attempt`
    DONE = "done"
    FAILED = "failed"
    MISSED = "missed"


OPEN: Final = frozenset({State.QUEUED, State.RUNNING, State.WAITING})


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRecord:
    """One slot of a job and what came of it. `attempts` counts those that were begun."""

    key: JobKey
    due: datetime
    state: State
    attempts: int = 0
    next_attempt: datetime | None = None
    began: datetime | None = None
    ended: datetime | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    message: str = ""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A run of slots of one job that nothing was done for."""

    key: JobKey
    first: datetime
    last: datetime
    slots: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a tick takes in: new floors, records that are new or changed, slots that were missed."""

    floors: Mapping[JobKey, datetime]
    records: tuple[SlotRecord, ...]
    missed: tuple[Missed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and when something is tried again."""

    attempts: int
    retry_after: timedelta
    retry_after_at_most: timedelta


def take_due(
    jobs: Iterable[ScheduledJob],
    floors: Mapping[JobKey, datetime],
    records: Sequence[SlotRecord],
    now: datetime,
) -> Taken:
    """Return what becomes due between each job's floor and now. A job without one begins now."""
    given = {job.key: job for job in jobs}
    slots: dict[JobKey, list[SlotRecord]] = {}
    for record in records:
        slots.setdefault(record.key, []).append(record)
    new_floors: dict[JobKey, datetime] = {}
    changed: list[SlotRecord] = []
    missed: list[Missed] = []
    for key, job in given.items():
        floor = floors.get(key)
        if floor is None or floor > now + FURTHEST_STEP_BACK:
            new_floors[key] = now
            continue
        known = slots.get(key, [])
        done = {record.due for record in known}
        due = [slot for slot in job.schedule.slots(floor, now) if slot not in done]
        if not due:
            continue
        new_floors[key] = due[-1]
        if due[:-1]:
            missed.append(_missed(key, due[:-1], "down"))
        for record in known:
            overtaken = _overtaken(record, now, missed)
            changed += [] if overtaken is None else [overtaken]
        changed.append(SlotRecord(key=key, due=due[-1], state=State.QUEUED))
    for record in records:
        if record.key not in given and record.state in {State.QUEUED, State.WAITING}:
            missed += [_missed(record.key, [record.due], "held")] if not record.attempts else []
            changed.append(_closed(record, now, "held"))
    return Taken(floors=new_floors, records=tuple(changed), missed=tuple(missed))


def _overtaken(record: SlotRecord, now: datetime, missed: list[Missed]) -> SlotRecord | None:
    """Return what becomes of an open slot whose job has a newer one now."""
    if record.state is not State.RUNNING and record.state in OPEN and not record.attempts:
        missed.append(_missed(record.key, [record.due], "busy"))
        return _closed(record, now, "busy")
    if record.state in {State.QUEUED, State.WAITING}:
        return _closed(record, now, "busy")
    return None


def _closed(record: SlotRecord, now: datetime, reason: Reason) -> SlotRecord:
    """Return a slot that is not tried (again): missed, or failed if it was begun."""
    state = State.FAILED if record.attempts else State.MISSED
    return replace(record, state=state, next_attempt=None, ended=now, reason=reason)


def _missed(key: JobKey, due: Sequence[datetime], reason: Reason) -> Missed:
    return Missed(key=key, first=due[0], last=due[-1], slots=len(due), reason=reason)


def choose(
    jobs: Iterable[ScheduledJob],
    records: Iterable[SlotRecord],
    now: datetime,
    *,
    concurrency: int,
) -> tuple[SlotRecord, ...]:
    """Return what is begun now: by priority, then by how long it has been due.

    Never two runs of the same database, nor of the same job.
    """
    given = {job.key: job for job in jobs}
    records = list(records)
    running = [record.key for record in records if record.state is State.RUNNING]
    ready = [
        record
        for record in records
        if record.key in given
        and (
            record.state is State.QUEUED
            or (
                record.state is State.WAITING
                and record.next_attempt is not None
                and record.next_attempt <= now
            )
        )
    ]
    ready.sort(key=lambda record: (-given[record.key].priority, record.due, record.key))
    chosen: list[SlotRecord] = []
    for record in ready:
        if len(running) >= concurrency:
            break
        if not any(_collide(record.key, other) for other in running):
            chosen.append(record)
            running.append(record.key)
    return tuple(chosen)


def _collide(one: JobKey, other: JobKey) -> bool:
    return one == other or (bool(one.database) and one.database == other.database)


def begun(record: SlotRecord, now: datetime) -> SlotRecord:
    """Return the record of an attempt that is beginning."""
    return replace(
        record,
        state=State.RUNNING,
        attempts=record.attempts + 1,
        next_attempt=None,
        began=now,
        ended=None,
        outcome=None,
        exit_code=None,
        message="",
    )


def ended(
    record: SlotRecord,
    now: datetime,
    *,
    outcome: Outcome,
    exit_code: int | None,
    message: str,
    patience: Patience,
    chance: float,
) -> SlotRecord:
    """Return the record of an attempt that has ended, and when it is tried again, if it is.

    The wait doubles each time; `chance`, 0 to 1, makes it up to a quarter longer, so that many
    hosts do not all come back at once. Where somebody else was at work it was no attempt.
    """
    after = replace(record, ended=now, outcome=outcome, exit_code=exit_code, message=message)
    if outcome is Outcome.SUCCEEDED:
        return replace(after, state=State.DONE)
    if outcome is Outcome.BUSY:
        wait = min(_BUSY_RETRY, patience.retry_after_at_most)
        return replace(
            after, state=State.WAITING, attempts=record.attempts - 1, next_attempt=now + wait
        )
    if not outcome.may_retry or record.attempts >= patience.attempts:
        return replace(after, state=State.FAILED)
    first = patience.retry_after
    if outcome is Outcome.INTERRUPTED:
        first = min(first, _INTERRUPTED_RETRY)
    wait = min(first * 2.0 ** (record.attempts - 1), patience.retry_after_at_most)
    return replace(after, state=State.WAITING, next_attempt=now + wait * (1 + chance / 4))


def next_wake(
    jobs: Iterable[ScheduledJob], records: Iterable[SlotRecord], now: datetime
) -> datetime | None:
    """Return when something becomes due or is tried again; None without any job."""
    moments = [job.schedule.next_slot(now) for job in jobs]
    moments += [
        record.next_attempt
        for record in records
        if record.state is State.WAITING and record.next_attempt is not None
    ]
    return min(moments, default=None)
