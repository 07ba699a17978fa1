"""The journal's tables, and its rows as values and back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from backup.evidence.slot import JOBS, REASONS, Reason
from scheduler.jobs import JobKey
from scheduler.outcomes import Outcome
from scheduler.plan import Missed, SlotRecord, State

SCHEMA: Final = """
CREATE TABLE floors (
    job TEXT NOT NULL, database TEXT NOT NULL, floor TEXT NOT NULL,
    PRIMARY KEY (job, database)
) STRICT, WITHOUT ROWID;
CREATE TABLE slots (
    job TEXT NOT NULL, database TEXT NOT NULL, due TEXT NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, next_attempt TEXT, began TEXT, ended TEXT,
    outcome TEXT, exit_code INTEGER, message TEXT NOT NULL, reason TEXT,
    PRIMARY KEY (job, database, due)
) STRICT, WITHOUT ROWID;
CREATE INDEX slots_by_state ON slots (state);
CREATE TABLE attempts (
    job TEXT NOT NULL, database TEXT NOT NULL, due TEXT NOT NULL, number INTEGER NOT NULL,
    began TEXT NOT NULL, ended TEXT, outcome TEXT, exit_code INTEGER,
    message TEXT NOT NULL, result TEXT NOT NULL,
    PRIMARY KEY (job, database, due, number, began)
) STRICT, WITHOUT ROWID;
CREATE TABLE missed (
    job TEXT NOT NULL, database TEXT NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
    slots INTEGER NOT NULL, reason TEXT NOT NULL, is_logged INTEGER NOT NULL,
    PRIMARY KEY (job, database, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""


_SLOT_COLUMNS: Final = (
    "job, database, due, state, attempts, next_attempt, began, ended, outcome, exit_code,"
    " message, reason"
)
_OPEN: Final = "('queued', 'running', 'waiting')"
SELECT_OPEN: Final = (
    f"SELECT {_SLOT_COLUMNS} FROM slots"  # noqa: S608 - constants of this module
    f" WHERE state IN {_OPEN} ORDER BY due DESC"
)
SELECT_CLOSED: Final = (
    f"SELECT {_SLOT_COLUMNS} FROM slots"  # noqa: S608 - constants of this module
    f" WHERE state NOT IN {_OPEN} ORDER BY due DESC LIMIT ?"
)
SELECT_ATTEMPTS: Final = (
    "SELECT job, database, due, number, began, ended, outcome, exit_code, message, result"
    " FROM attempts WHERE (? IS NULL OR (job = ? AND database = ?)) ORDER BY began DESC LIMIT ?"
)
SELECT_MISSED: Final = (
    "SELECT job, database, first, last, slots, reason FROM missed ORDER BY last DESC LIMIT ?"
)
SELECT_UNLOGGED: Final = (
    "SELECT job, database, first, last, slots, reason FROM missed WHERE NOT is_logged"
    " ORDER BY first"
)
PUT_FLOOR: Final = "INSERT OR REPLACE INTO floors VALUES (?, ?, ?)"
PUT_SLOT: Final = "INSERT OR REPLACE INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_MISSED: Final = "INSERT OR IGNORE INTO missed VALUES (?, ?, ?, ?, ?, ?, 0)"
PUT_ATTEMPT: Final = "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
NOTE_LOGGED: Final = "UPDATE missed SET is_logged = 1 WHERE job = ? AND database = ? AND first = ?"
FORGET: Final = (
    f"DELETE FROM slots WHERE due < ? AND state NOT IN {_OPEN}",  # noqa: S608 - constants of this module
    "DELETE FROM attempts WHERE due < ?",
    "DELETE FROM missed WHERE last < ? AND is_logged",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a slot's job. `result` is what the verb printed with --json."""

    key: JobKey
    due: datetime
    number: int
    began: datetime
    ended: datetime | None
    outcome: Outcome | None
    exit_code: int | None
    message: str
    result: str


def attempt_row(attempt: Attempt) -> tuple[object, ...]:
    """Return the row of an attempt."""
    return (
        *named(attempt.key),
        text(attempt.due),
        attempt.number,
        text(attempt.began),
        optional_text(attempt.ended),
        attempt.outcome,
        attempt.exit_code,
        attempt.message,
        attempt.result,
    )


def attempt_of(row: Sequence[Any]) -> Attempt:
    """Return the attempt of a row."""
    return Attempt(
        key=key_of(row[0], row[1]),
        due=time(row[2]),
        number=row[3],
        began=time(row[4]),
        ended=optional_time(row[5]),
        outcome=None if row[6] is None else Outcome(row[6]),
        exit_code=row[7],
        message=row[8],
        result=row[9],
    )


def missed_row(missed: Missed) -> tuple[object, ...]:
    """Return the row of missed slots, but for whether it is logged."""
    first, last = text(missed.first), text(missed.last)
    return (*named(missed.key), first, last, missed.slots, missed.reason)


def named(key: JobKey) -> tuple[str, str]:
    """Return a job as two columns."""
    return key.job, key.database


def key_of(job: str, database: str) -> JobKey:
    """Return the job of two columns. Raises `ValueError` for one that is none."""
    known = [one for one in JOBS if one == job]
    if not known:
        raise ValueError(f"the journal has a job {job!r} that is none")
    return JobKey(job=known[0], database=database)


def text(moment: datetime) -> str:
    """Return a moment as text that sorts as it does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def time(text: str) -> datetime:
    """Return the moment of a text."""
    return datetime.fromisoformat(text)


def optional_text(moment: datetime | None) -> str | None:
    """Return a moment as text, if there is one."""
    return None if moment is None else text(moment)


def optional_time(text: str | None) -> datetime | None:
    """Return the moment of a text, if there is one."""
    return None if text is None else time(text)


def row_of(record: SlotRecord) -> tuple[object, ...]:
    """Return the row of a slot."""
    return (
        *named(record.key),
        text(record.due),
        record.state,
        record.attempts,
        optional_text(record.next_attempt),
        optional_text(record.began),
        optional_text(record.ended),
        record.outcome,
        record.exit_code,
        record.message,
        record.reason,
    )


def record_of(row: Sequence[Any]) -> SlotRecord:
    """Return the slot of a row."""
    return SlotRecord(
        key=key_of(row[0], row[1]),
        due=time(row[2]),
        state=State(row[3]),
        attempts=row[4],
        next_attempt=optional_time(row[5]),
        began=optional_time(row[6]),
        ended=optional_time(row[7]),
        outcome=None if row[8] is None else Outcome(row[8]),
        exit_code=row[9],
        message=row[10],
        reason=reason(row[11]),
    )


def missed_of(row: Sequence[Any]) -> Missed:
    """Return the missed slots of a row."""
    return Missed(
        key=key_of(row[0], row[1]),
        first=time(row[2]),
        last=time(row[3]),
        slots=row[4],
        reason=reason(row[5]) or "error",
    )


def reason(text: str | None) -> Reason | None:
    """Return the reason of a text."""
    return next((reason for reason in REASONS if reason == text), None)
