"""The daemon's copy job: one for all copies, and how its end is known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.evidence.entry import Entry, EntryType
from backup.evidence.slot import Slot
from backup.settings import load
from scheduler.jobs import JobKey, jobs_of
from scheduler.journalview import kind_of
from scheduler.outcomes import Outcome
from scheduler.plan import SlotRecord, State
from scheduler.recovery import outcome_by_log

DUE = datetime(2026, 3, 1, 5, tzinfo=UTC)
COPY = '[[copies]]\nname = "offsite"\nrepository = "/srv/copy"\n'


@pytest.mark.parametrize(("copies", "jobs"), [(COPY, 1), ("", 0)])
def test_a_schedule_copies_to_all_copies_and_prunes_them(
    tmp_path: Path, copies: str, jobs: int
) -> None:
    """One command line; where there is no copy there is nothing to do."""
    file = tmp_path / "strongroom.toml"
    file.write_text(f'name = "portal"\n[schedules]\ncopies = "0 5 * * *"\n{copies}')
    found = jobs_of(load(environment={"HOME": str(tmp_path)}, is_root=False, config=file))
    assert len(found) == jobs
    for job in found:
        assert job.key == JobKey(job="copy")
        assert kind_of(job.key) == "copy"
        slot = Slot(job="copy", due=DUE)
        assert job.arguments(DUE) == ("copy", "--prune", "--slot", slot.text, "--json")


@pytest.mark.parametrize(
    ("failed", "errors", "outcome"),
    [(0, 0, Outcome.SUCCEEDED), (1, 0, Outcome.FAILED), (0, 1, Outcome.FAILED)],
)
def test_a_run_that_left_something_out_is_a_failure(
    failed: int, errors: int, outcome: Outcome
) -> None:
    """Also if its daemon died before it could see that."""
    slot = Slot(job="copy", due=DUE)
    entry = Entry(
        seq=0,
        ts=DUE,
        type=EntryType.COPY_FINISHED,
        prev="0" * 64,
        details={"failed": failed, "errors": errors, **slot.details},
    )
    record = SlotRecord(key=JobKey(job="copy"), due=DUE, state=State.RUNNING)
    assert outcome_by_log(record, [entry], lambda _: ()) is outcome
