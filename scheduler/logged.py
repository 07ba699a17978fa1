"""What the evidence log tells of each database: what passed, what failed, what was missed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup.evidence.entry import Entry, EntryType
from backup.repository.layout import BackupId, BackupKey
from scheduler.facts import (
    DatabaseRecord,
    DoubtedBackup,
    Failure,
    Proof,
    RestoreTestResult,
    StoredBackup,
)
from scheduler.status import VerifyStatus

# Slots that were missed longer ago are history: `report period` has them.
MISSED_WITHIN = timedelta(days=7)

_TEST_ENDS = frozenset({EntryType.RESTORE_TEST_FINISHED, EntryType.RESTORE_TEST_ABORTED})
_PRUNES = frozenset({EntryType.PRUNE_EXECUTED, EntryType.PRUNE_BLOCKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the log says of the repository as a whole."""

    verify: VerifyStatus
    prune_blocked: datetime | None


def told_of_repository(entries: Sequence[Entry]) -> Told:
    """Return how the last verify and the last prune ended."""
    verify = next((one for one in reversed(entries) if one.type is EntryType.VERIFY_FINISHED), None)
    prune = next((one for one in reversed(entries) if one.type in _PRUNES), None)
    is_blocked = prune is not None and prune.type is EntryType.PRUNE_BLOCKED
    return Told(
        verify=VerifyStatus(
            at=verify.ts if verify else None,
            damages=_number(verify, "damages") or 0,
            unpinned=_number(verify, "unpinned") or 0,
            objects=_number(verify, "objects") or 0,
        ),
        prune_blocked=prune.ts if prune is not None and is_blocked else None,
    )


def told_of_database(
    name: str,
    entries: Iterable[Entry],
    *,
    there: Collection[BackupKey],
    newest: StoredBackup | None,
    doubted: DoubtedBackup | None = None,
    now: datetime,
) -> DatabaseRecord:
    """Return what the log says of a database whose backups `there` still exist.

    A restore test of a backup that is gone proves nothing any more. A failure counts until a
    backup began after it.
    """
    backups = {key.id.text for key in there if key.database == name}
    proof: Proof | None = None
    last_test: RestoreTestResult | None = None
    rto: timedelta | None = None
    failed: Failure | None = None
    missed = 0
    for entry in entries:
        if entry.details.get("database") != name:
            continue
        if entry.type in _TEST_ENDS:
            last_test = _test(entry)
            rto = last_test.rto or rto
            proof = _newer(proof, _proof(entry, last_test, backups))
        elif entry.type is EntryType.BACKUP_FAILED:
            failed = Failure(
                job="backup",
                database=name,
                at=entry.ts,
                error=f"the evidence log says {entry.details.get('error')}",
                hint=f"strongroom doctor; strongroom backup --name {name}",
            )
        elif entry.type is EntryType.SLOT_MISSED and entry.ts > now - MISSED_WITHIN:
            missed += _missed(entry)
    if failed is not None and newest is not None and newest.started > failed.at:
        failed = None
    return DatabaseRecord(
        backups=len(backups),
        newest=newest,
        doubted=doubted,
        proof=proof,
        last_test=last_test,
        measured_rto=rto,
        failed=failed,
        missed_slots=missed,
    )


def _test(entry: Entry) -> RestoreTestResult:
    milliseconds = _number(entry, "rto_ms")
    is_broken_off = entry.type is EntryType.RESTORE_TEST_ABORTED
    return RestoreTestResult(
        at=entry.ts,
        backup_id=_text(entry, "backup"),
        verdict=None if is_broken_off else _text(entry, "verdict"),
        rto=None if milliseconds is None else timedelta(milliseconds=milliseconds),
    )


def _proof(entry: Entry, test: RestoreTestResult, backups: Collection[str]) -> Proof | None:
    if test.verdict is None or not test.verdict.startswith("PASS"):
        return None
    if test.backup_id is None or test.backup_id not in backups:
        return None
    return Proof(
        backup_id=test.backup_id, started=BackupId(test.backup_id).started, tested=entry.ts
    )


def _newer(one: Proof | None, other: Proof | None) -> Proof | None:
    if one is None or other is None:
        return one or other
    newer = max(one, other, key=lambda proof: proof.started)
    return Proof(
        backup_id=newer.backup_id, started=newer.started, tested=max(one.tested, other.tested)
    )


def _missed(entry: Entry) -> int:
    if entry.details.get("job", "backup") != "backup":
        return 0
    return _number(entry, "slots") or 1


def _text(entry: Entry, name: str) -> str | None:
    value = entry.details.get(name)
    return value if isinstance(value, str) else None


def _number(entry: Entry | None, name: str) -> int | None:
    value = None if entry is None else entry.details.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
