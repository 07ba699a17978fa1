"""What the evidence log says of an attempt whose end nobody saw."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backup.evidence.entry import Detail, Entry, EntryType
from backup.evidence.slot import Job, slot_text
from scheduler.jobs import JobKey
from scheduler.outcomes import Outcome
from scheduler.plan import SlotRecord, State
from scheduler.recovery import outcome_by_log

DUE = datetime(2026, 1, 14, 2, tzinfo=UTC)
BACKUP = "20260114T020003Z-3f9c2a"


def attempt(job: Job) -> SlotRecord:
    database = "portal" if job == "backup" or job.startswith("restore") else ""
    return SlotRecord(
        key=JobKey(job=job, database=database), due=DUE, state=State.RUNNING, attempts=1, began=DUE
    )


def entry(type_: EntryType, job: Job | None, **details: Detail) -> Entry:
    answering: dict[str, Detail] = {} if job is None else {"job": job, "slot": slot_text(DUE)}
    return Entry(
        seq=7,
        ts=DUE,
        type=type_,
        prev="0" * 64,
        details={"database": "portal", **answering, **details},
    )


def said(job: Job, *entries: Entry, backups: frozenset[str] = frozenset()) -> Outcome | None:
    return outcome_by_log(attempt(job), entries, lambda _: backups)


def published(report: str) -> Entry:
    return entry(EntryType.REPORT_PUBLISHED, None, report=report)


def a_test(verdict: str) -> Entry:
    return entry(
        EntryType.RESTORE_TEST_FINISHED, "restore-test-latest", verdict=verdict, report="r1"
    )


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("PASS", Outcome.SUCCEEDED),
        ("PASS with 1 exception", Outcome.SUCCEEDED),
        ("FAIL", Outcome.FAILED),
        ("INCONCLUSIVE", Outcome.FAILED),
    ],
)
def test_a_restore_test_is_what_its_verdict_says(verdict: str, outcome: Outcome) -> None:
    """One that finished with FAIL is a failure, also if nobody saw it end."""
    assert said("restore-test-latest", a_test(verdict), published("r1")) is outcome


def test_a_restore_test_without_its_report_is_not_done() -> None:
    """Its verdict is logged before its report lies where it is kept: without, it is done again."""
    assert said("restore-test-latest", a_test("PASS"), published("another")) is None


@pytest.mark.parametrize(
    ("damages", "unpinned", "backups", "outcome"),
    [
        (0, 0, 3, Outcome.SUCCEEDED),
        (1, 0, 3, Outcome.FAILED),
        (0, 1, 3, Outcome.FAILED),
        (0, 0, 0, Outcome.FAILED),
    ],
)
def test_a_verify_is_good_if_it_read_backups_and_found_nothing(
    damages: int, unpinned: int, backups: int, outcome: Outcome
) -> None:
    """One that found damage, a signer nobody knows, or no backup is a failure."""
    found = entry(
        EntryType.VERIFY_FINISHED, "verify", damages=damages, unpinned=unpinned, backups=backups
    )
    assert said("verify", found) is outcome


def test_a_blocked_prune_is_a_failure() -> None:
    """It deleted nothing, and somebody has to look why."""
    assert said("prune", entry(EntryType.PRUNE_BLOCKED, "prune")) is Outcome.FAILED
    assert said("prune", entry(EntryType.PRUNE_EXECUTED, "prune")) is Outcome.SUCCEEDED


def test_a_backup_is_done_if_it_exists() -> None:
    """The manifest decides: logged as begun it is done exactly if the backup is there."""
    begun = entry(EntryType.BACKUP_STARTED, "backup", backup=BACKUP)
    assert said("backup", begun) is None
    assert said("backup", begun, backups=frozenset({BACKUP})) is Outcome.SUCCEEDED
    finished = entry(EntryType.BACKUP_FINISHED, "backup", backup=BACKUP)
    assert said("backup", begun, finished) is Outcome.SUCCEEDED


def test_a_try_that_failed_does_not_hide_the_next_one() -> None:
    """Of several tries of one slot, the one that succeeded counts."""
    failed = entry(EntryType.BACKUP_FAILED, "backup", error="PostgresError")
    finished = entry(EntryType.BACKUP_FINISHED, "backup", backup=BACKUP)
    assert said("backup", failed) is None
    assert said("backup", failed, finished) is Outcome.SUCCEEDED


def test_other_slots_and_databases_say_nothing() -> None:
    """Only what answers for this slot counts."""
    other = entry(EntryType.BACKUP_FINISHED, "backup", backup=BACKUP, database="portal-test")
    by_hand = entry(EntryType.BACKUP_FINISHED, None, backup=BACKUP)
    missed = entry(EntryType.SLOT_MISSED, "backup")
    assert said("backup", other, by_hand, missed) is None
