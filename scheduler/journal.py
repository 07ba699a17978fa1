"""The journal: each slot of each job, its attempts and what came of them, in SQLite.

It is this host's memory, in the state directory; the evidence log in the repository is the record
that auditors see, and what a lost journal is rebuilt from. Every method raises `JournalError` for
whatever SQLite or the disk has to say, and never leaves a transaction half done.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from backup.errors import StrongroomError
from scheduler.jobs import JobKey
from scheduler.plan import Missed, SlotRecord
from scheduler.rows import (
    FORGET,
    NOTE_LOGGED,
    PUT_ATTEMPT,
    PUT_FLOOR,
    PUT_MISSED,
    PUT_SLOT,
    SCHEMA,
    SELECT_ATTEMPTS,
    SELECT_CLOSED,
    SELECT_MISSED,
    SELECT_OPEN,
    SELECT_UNLOGGED,
    Attempt,
    attempt_of,
    attempt_row,
    key_of,
    missed_of,
    missed_row,
    named,
    record_of,
    row_of,
    text,
    time,
)

FILE_NAME: Final = "journal.sqlite"
_VERSION: Final = 1
_BUSY_SECONDS: Final = 5.0
_Value = TypeVar("_Value")


class _Write(Protocol):
    def __call__(self, sql: str, rows: Sequence[Sequence[object]], /) -> object: ...


class JournalError(StrongroomError):
    """The journal could not be read or written; nothing that it was asked for was done."""

    is_damaged = False


class Journal:
    """An open journal. One thread uses it; others open it for reading (`read_only`)."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open it, and make it if it is not there. Each write survives a power cut."""
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    @classmethod
    def read_only(cls, path: Path) -> Journal:
        """Open it for a look, beside a daemon at work. Raises `JournalError` if there is none."""
        with _translated(path):
            connection = sqlite3.connect(
                f"file:{path.absolute().as_posix()}?mode=ro",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                connection.execute("SELECT count(*) FROM floors")
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        """Let go of the file."""
        with _translated(self.path):
            self._connection.close()

    def floors(self) -> dict[JobKey, datetime]:
        """Return up to when the slots of each job are answered for."""
        sql = "SELECT job, database, floor FROM floors"
        return dict(self._read(sql, (), lambda row: (key_of(row[0], row[1]), time(row[2]))))

    def records(self, *, newest: int = 0) -> list[SlotRecord]:
        """Return every open slot, and the `newest` that are closed, latest due first."""
        found = self._read(SELECT_OPEN, (), record_of)
        return found + self._read(SELECT_CLOSED, (newest,), record_of) if newest else found

    def attempts(self, *, newest: int, key: JobKey | None = None) -> list[Attempt]:
        """Return the newest attempts, of all jobs or of one, latest begun first."""
        job, database = (None, None) if key is None else named(key)
        return self._read(SELECT_ATTEMPTS, (job, job, database, newest), attempt_of)

    def missed(self, *, newest: int) -> list[Missed]:
        """Return the newest runs of missed slots, latest first."""
        return self._read(SELECT_MISSED, (newest,), missed_of)

    def unlogged(self) -> list[Missed]:
        """Return the missed slots that the evidence log has not been told of, oldest first."""
        return self._read(SELECT_UNLOGGED, (), missed_of)

    def save(
        self,
        *,
        floors: Mapping[JobKey, datetime] | None = None,
        records: Iterable[SlotRecord] = (),
        missed: Iterable[Missed] = (),
        attempts: Iterable[Attempt] = (),
    ) -> None:
        """Write all of it or nothing; what is there already under the same name is replaced."""
        given = {} if floors is None else floors
        with self._writing() as write:
            write(PUT_FLOOR, [(*named(key), text(floor)) for key, floor in given.items()])
            write(PUT_SLOT, list(map(row_of, records)))
            write(PUT_MISSED, list(map(missed_row, missed)))
            write(PUT_ATTEMPT, list(map(attempt_row, attempts)))

    def note_logged(self, missed: Sequence[Missed]) -> None:
        """Remember that the evidence log has been told of these."""
        with self._writing() as write:
            write(NOTE_LOGGED, [(*named(one.key), text(one.first)) for one in missed])

    def forget(self, before: datetime) -> None:
        """Delete what is closed and was due before that; the evidence log keeps it all."""
        with self._writing() as write:
            for statement in FORGET:
                write(statement, [(text(before),)])

    def note(self, key: str) -> str | None:
        """Return what was noted under a key (`notify.…`, `daemon.…`), None if nothing was."""
        found = self._read("SELECT value FROM notes WHERE key = ?", (key,), lambda row: str(row[0]))
        return found[0] if found else None

    def notes(self, prefix: str) -> dict[str, str]:
        """Return everything noted under keys that begin with `prefix`."""
        sql = "SELECT key, value FROM notes WHERE substr(key, 1, ?) = ?"
        return dict(self._read(sql, (len(prefix), prefix), lambda row: (row[0], row[1])))

    def set_notes(self, notes: Mapping[str, str | None]) -> None:
        """Note all of it or nothing; None takes a note away."""
        with self._writing() as write:
            write(
                "INSERT OR REPLACE INTO notes VALUES (?, ?)",
                [(key, value) for key, value in notes.items() if value is not None],
            )
            write(
                "DELETE FROM notes WHERE key = ?",
                [(key,) for key, value in notes.items() if value is None],
            )

    def _read(
        self, sql: str, values: Sequence[object], value_of: Callable[[Sequence[Any]], _Value]
    ) -> list[_Value]:
        with _translated(self.path):
            return [value_of(row) for row in self._connection.execute(sql, tuple(values))]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[_Write]:
        with _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.executemany
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables in a new file. Raises `JournalError` for one of another version."""
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")
    if version not in {0, _VERSION}:
        raise JournalError(
            f"the journal has version {version}, and this program writes {_VERSION}",
            hint="move it away: it is rebuilt from the repository's evidence log",
        )


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError) as error:
        failure = JournalError(
            f"journal {path}: {error}",
            hint="free space, rights of the state directory; moved away, it is rebuilt",
        )
        failure.is_damaged = _is_damage(error)
        raise failure from error


def _is_damage(error: Exception) -> bool:
    """Whether the file is no journal (any more); a full disk and missing rights are no damage."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
