"""What the daemon knows of its slots: in memory, and in the journal as long as that can be written.

Memory is what the daemon goes by, so that a journal that fails at any call stops no backup. What
could not be written is kept and written as soon as that works again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from scheduler.jobs import JobKey
from scheduler.journal import Journal, JournalError
from scheduler.plan import OPEN, Missed, SlotRecord, Taken
from scheduler.rows import Attempt

# Of each job so many closed slots are remembered, should the clock go back a long way.
_REMEMBERED: Final = 200


class Ledger:
    """Floors, slots and missed slots; every change is handed to the journal at once."""

    def __init__(
        self,
        open_journal: Callable[[], Journal],
        *,
        troubled: Callable[[str], None],
        well: Callable[[], None],
    ) -> None:
        self._open_journal = open_journal
        self._troubled = troubled
        self._well = well
        self._journal: Journal | None = None
        self._is_in_trouble = False
        self.floors: dict[JobKey, datetime] = {}
        # By job: of hundreds of jobs, each with its closed slots, one is looked at at a time.
        self._records: dict[JobKey, dict[datetime, SlotRecord]] = {}
        self._unlogged: dict[tuple[JobKey, datetime], Missed] = {}
        self._unsaved_floors: dict[JobKey, datetime] = {}
        self._unsaved_records: dict[tuple[JobKey, datetime], SlotRecord] = {}
        self._unsaved_missed: dict[tuple[JobKey, datetime], Missed] = {}
        self._unsaved_attempts: dict[tuple[JobKey, datetime, datetime], Attempt] = {}
        self._unsaved_notes: dict[str, str | None] = {}
        self._unsaved_logged: list[Missed] = []

    @property
    def records(self) -> list[SlotRecord]:
        """Every open slot, and the newest closed ones."""
        return [record for slots in self._records.values() for record in slots.values()]

    @property
    def open(self) -> list[SlotRecord]:
        """Every open slot."""
        return [record for record in self.records if record.state in OPEN]

    def of(self, key: JobKey) -> list[SlotRecord]:
        """Every slot of one job that is remembered."""
        return list(self._records.get(key, {}).values())

    @property
    def unlogged(self) -> list[Missed]:
        """The missed slots that the evidence log has not been told of."""
        return list(self._unlogged.values())

    @property
    def journal(self) -> Journal | None:
        """The journal, while it is open."""
        return self._journal

    def load(self) -> bool:
        """Read the journal; False if there is nothing in it, or if it cannot be read."""
        journal = self._opened()
        if journal is None:
            return False
        try:
            floors, records = journal.floors(), journal.records(newest=_REMEMBERED)
            unlogged = journal.unlogged()
        except JournalError as error:
            self._fail(error)
            return False
        self.floors = floors
        self._records = {}
        for record in records:
            self._records.setdefault(record.key, {})[record.due] = record
        self._unlogged = {(one.key, one.first): one for one in unlogged}
        return bool(floors)

    def adopt(self, floors: Mapping[JobKey, datetime]) -> None:
        """Take over floors that were found elsewhere: in the evidence log."""
        self.floors.update(floors)
        self._unsaved_floors.update(floors)
        self.flush()

    def take(self, taken: Taken) -> None:
        """Take in what became due."""
        self.floors.update(taken.floors)
        self._unsaved_floors.update(taken.floors)
        self._put(taken.records)
        for one in taken.missed:
            self._unlogged[one.key, one.first] = one
            self._unsaved_missed[one.key, one.first] = one
        if taken.floors or taken.records or taken.missed:
            self.flush()

    def miss(self, missed: Iterable[Missed]) -> None:
        """Take in slots of which it was found out later that nothing was done."""
        self.take(Taken(floors={}, records=(), missed=tuple(missed)))

    def put(self, record: SlotRecord, attempt: Attempt | None = None) -> None:
        """Take in how a slot stands now, and the attempt that led to it."""
        self._put([record])
        if attempt is not None:
            self._unsaved_attempts[attempt.key, attempt.due, attempt.began] = attempt
        self.flush()

    def logged(self, missed: Missed) -> None:
        """Note that the evidence log has been told."""
        self._unlogged.pop((missed.key, missed.first), None)
        self._unsaved_logged.append(missed)
        self.flush()

    def note(self, key: str) -> str | None:
        """Return what was noted; None also when the journal can't be read."""
        if key in self._unsaved_notes:
            return self._unsaved_notes[key]
        journal = self._opened()
        try:
            return None if journal is None else journal.note(key)
        except JournalError as error:
            self._fail(error)
            return None

    def notes(self, prefix: str) -> dict[str, str]:
        """Return what was noted under keys that begin so; nothing if the journal can't be read."""
        journal = self._opened()
        try:
            found = {} if journal is None else journal.notes(prefix)
        except JournalError as error:
            self._fail(error)
            found = {}
        for key, value in self._unsaved_notes.items():
            if key.startswith(prefix):
                found.pop(key, None)
                found |= {} if value is None else {key: value}
        return found

    def set_notes(self, notes: Mapping[str, str | None]) -> None:
        """Note all of it; None takes a note away."""
        self._unsaved_notes.update(notes)
        self.flush()

    def forget(self, before: datetime) -> None:
        """Let the journal drop what is closed and older than that."""
        journal = self._opened()
        try:
            if journal is not None:
                journal.forget(before)
        except JournalError as error:
            self._fail(error)

    def flush(self) -> None:
        """Write what is not written yet; if that fails it is kept for the next time."""
        journal = self._opened()
        if journal is None:
            return
        try:
            if (
                self._unsaved_floors
                or self._unsaved_records
                or self._unsaved_missed
                or self._unsaved_attempts
            ):
                journal.save(
                    floors=self._unsaved_floors,
                    records=self._unsaved_records.values(),
                    missed=self._unsaved_missed.values(),
                    attempts=self._unsaved_attempts.values(),
                )
                self._unsaved_floors, self._unsaved_records = {}, {}
                self._unsaved_missed, self._unsaved_attempts = {}, {}
            if self._unsaved_logged:
                journal.note_logged(self._unsaved_logged)
                self._unsaved_logged = []
            if self._unsaved_notes:
                journal.set_notes(self._unsaved_notes)
                self._unsaved_notes = {}
        except JournalError as error:
            self._fail(error)
            return
        if self._is_in_trouble:
            self._is_in_trouble = False
            self._well()

    def close(self) -> None:
        """Write what is left, and let go of the journal."""
        self.flush()
        if self._journal is not None:
            try:
                self._journal.close()
            except JournalError as error:
                self._fail(error)
            self._journal = None

    def _put(self, records: Iterable[SlotRecord]) -> None:
        for record in records:
            slots = self._records.setdefault(record.key, {})
            slots[record.due] = record
            self._unsaved_records[record.key, record.due] = record
            closed = [one.due for one in slots.values() if one.state not in OPEN]
            if len(closed) > _REMEMBERED:
                del slots[min(closed)]

    def _opened(self) -> Journal | None:
        if self._journal is None:
            try:
                self._journal = self._open_journal()
            except JournalError as error:
                self._fail(error)
        return self._journal

    def _fail(self, error: JournalError) -> None:
        """Say it once, let go of the file, and open it again the next time."""
        journal, self._journal = self._journal, None
        if journal is not None:
            with contextlib.suppress(JournalError):  # it is that very journal that fails
                journal.close()
        if not self._is_in_trouble:
            self._is_in_trouble = True
            self._troubled(error.message)
