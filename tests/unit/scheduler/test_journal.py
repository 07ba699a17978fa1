"""The journal: what goes in comes out, all of it or nothing, and every failure has one name."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.jobs import JobKey
from scheduler.journal import Journal, JournalError
from scheduler.outcomes import Outcome
from scheduler.plan import Missed, SlotRecord, State
from scheduler.rows import Attempt

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PORTAL = JobKey(job="backup", database="portal")
PRUNE = JobKey(job="prune")


def slot(due: datetime, state: State, key: JobKey = PORTAL) -> SlotRecord:
    """A slot with every field set."""
    return SlotRecord(
        key=key, due=due, state=state, attempts=2, next_attempt=due + HOUR, began=due,
        ended=due + HOUR, outcome=Outcome.TROUBLED, exit_code=5, message="no", reason="busy",
    )  # fmt: skip


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    """After it was closed and opened again too, and for those who only look."""
    path = tmp_path / "state" / "journal.sqlite"
    journal = Journal.open(path)
    missed = Missed(key=PRUNE, first=NOON, last=NOON + HOUR, slots=2, reason="down")
    attempt = Attempt(
        key=PORTAL, due=NOON, number=1, began=NOON, ended=None, outcome=None, exit_code=None,
        message="", result='{"a": 1}',
    )  # fmt: skip
    records = [slot(NOON + HOUR, State.WAITING), slot(NOON, State.DONE)]
    journal.save(
        floors={PORTAL: NOON, PRUNE: NOON + HOUR},
        records=records,
        missed=[missed],
        attempts=[attempt],
    )
    journal.set_notes({"notify.portal": "bad", "daemon.x": "1"})
    journal.close()
    for opened in (Journal.open(path), Journal.read_only(path)):
        assert opened.floors() == {PORTAL: NOON, PRUNE: NOON + HOUR}
        assert opened.records(newest=5) == records
        assert opened.records() == records[:1]
        assert opened.missed(newest=5) == opened.unlogged() == [missed]
        assert opened.attempts(newest=5) == opened.attempts(newest=5, key=PORTAL) == [attempt]
        assert opened.attempts(newest=5, key=PRUNE) == []
        assert opened.notes("notify.") == {"notify.portal": "bad"}
        assert (opened.note("daemon.x"), opened.note("y")) == ("1", None)
        opened.close()
    assert path.stat().st_mode & 0o077 == 0


def test_what_was_logged_and_what_is_old_goes(tmp_path: Path) -> None:
    """But nothing that is open, and no missed slot that the log was not told of."""
    journal = Journal.open(tmp_path / "j")
    old = Missed(key=PORTAL, first=NOON, last=NOON, slots=1, reason="down")
    new = Missed(key=PORTAL, first=NOON + HOUR, last=NOON + HOUR, slots=1, reason="busy")
    journal.save(
        records=[slot(NOON, State.DONE), slot(NOON + HOUR, State.WAITING)], missed=[old, new]
    )
    journal.note_logged([old])
    assert journal.unlogged() == [new]
    journal.forget(NOON + 2 * HOUR)
    assert [one.state for one in journal.records(newest=9)] == [State.WAITING]
    assert journal.missed(newest=9) == [new]
    journal.set_notes({"a": "1"})
    journal.set_notes({"a": None})
    assert journal.note("a") is None
    journal.close()


def test_a_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    """What fails in the middle takes back what went before."""
    journal = Journal.open(tmp_path / "j")
    bad = Missed(key=PORTAL, first=NOON, last=NOON, slots="x", reason="down")  # type: ignore[arg-type]
    with pytest.raises(JournalError):
        journal.save(floors={PORTAL: NOON}, missed=[bad])
    assert journal.floors() == {}
    journal.save(floors={PORTAL: NOON})
    assert journal.floors() == {PORTAL: NOON}
    journal.close()


def test_every_failure_is_a_journal_error(tmp_path: Path) -> None:
    """A file that is none, one of another version, one that is closed, a place that is none."""
    (tmp_path / "text").write_text("not a database, for sure" * 100)
    with pytest.raises(JournalError, match="text"):
        Journal.open(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("PRAGMA user_version = 9")
    other.close()
    with pytest.raises(JournalError, match="version 9"):
        Journal.open(tmp_path / "other")
    with pytest.raises(JournalError):
        Journal.read_only(tmp_path / "nothing")
    with pytest.raises(JournalError):
        Journal.open(tmp_path / "text" / "below")
    journal = Journal.open(tmp_path / "j")
    journal.close()
    with pytest.raises(JournalError):
        journal.floors()
