"""What was done in a stretch of time, out of the evidence log: every backup, every restore test.

The log is the only source of what is counted; reports add what they say of exceptions. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import ConfigDict

from backup.errors import SettingsError
from backup.evidence.accounting import (
    DueSlot,
    Promise,
    due_slots,
    promises,
    unreadable_sentence,
)
from backup.evidence.entry import Entry, EntryType
from backup.evidence.report import Report
from backup.evidence.slot import slot_text
from backup.repository.canonical import STRICT, UtcTime
from backup.repository.layout import BackupId
from backup.repository.manifest import FormatNumber, LogHead, RepositoryId

Kind = Literal["backup", "restore test", "verify", "prune", "report", "copy"]
Outcome = Literal["finished", "failed", "missed", "aborted", "no end", "unaccounted"]

NO_SCHEDULE = (
    "The evidence log holds no schedule yet. Every backup and restore test in it is listed here, "
    "also those that failed or never ended; what was due and never began is not known to it."
)

_KINDS: dict[str, Kind] = {
    "backup": "backup",
    "verify": "verify",
    "prune": "prune",
    "report": "report",
    "copy": "copy",
    "restore-test-latest": "restore test",
    "restore-test-oldest": "restore test",
    "restore-test-random": "restore test",
}
RESTORE_TESTS = frozenset(job for job, kind in _KINDS.items() if kind == "restore test")
_STARTS: dict[EntryType, Kind] = {
    EntryType.BACKUP_STARTED: "backup",
    EntryType.RESTORE_TEST_STARTED: "restore test",
}
_ENDS: dict[EntryType, tuple[Kind, Outcome]] = {
    EntryType.BACKUP_FINISHED: ("backup", "finished"),
    EntryType.INVENTORY_RECONCILED: ("backup", "finished"),
    EntryType.BACKUP_FAILED: ("backup", "failed"),
    EntryType.RESTORE_TEST_FINISHED: ("restore test", "finished"),
    EntryType.RESTORE_TEST_ABORTED: ("restore test", "aborted"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One backup or restore test, or a slot that was missed, as the log tells of it.

    `seq` is the entry that it ended with, or began with if it never ended; of a slot that nothing
    answers for, the `policy.set` that promised it. `at` is when that was logged, of a slot that
    was missed or is unaccounted when it was due. Of other jobs only slots are counted, with
    `database` empty where they are about all of them. `newest_proven_ms`: how old the newest
    backup that had passed a test was when this one ended. `has_report`: whether the report that
    the entry names was at hand.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    seq: int
    at: UtcTime
    database: str
    kind: Kind
    due: str | None
    outcome: Outcome
    backup_id: str | None
    report_id: str | None
    verdict: str | None
    level: int | None
    rto_ms: int | None
    newest_proven_ms: int | None
    has_report: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What a policy promised in the period, and what became of it.

    `due` slots were answered by a run, missed (the log says so), unaccounted (nothing does) or are
    still open. `since` and `until` are when the policy was in force, None: it still is.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    seq: int
    job: str
    database: str | None
    schedule: str
    zone: str
    since: UtcTime
    until: UtcTime | None
    due: int
    answered: int
    missed: int
    unaccounted: int
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceptional:
    """Something of a report that somebody answers for."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    database: str
    report_id: str
    kind: Literal["waived finding", "excluded table"]
    what: str
    approver: str
    reason: str
    expires: UtcTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """`period.json`, format 1: from the first moment up to and without the last."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    format: FormatNumber
    repository_id: RepositoryId
    generated_by: str
    first: UtcTime
    last: UtcTime
    database: str | None
    log: LogHead
    log_problems: tuple[str, ...]
    limits: tuple[str, ...]
    judged_at: UtcTime
    schedules: tuple[Scheduled, ...]
    happenings: tuple[Happening, ...]
    exceptions: tuple[Exceptional, ...]

    @property
    def databases(self) -> tuple[str, ...]:
        """The databases that something happened to or was promised for, in order."""
        happened = {one.database for one in self.happenings}
        promised = {one.database for one in self.schedules}
        return tuple(sorted(name for name in happened | promised if name))

    @property
    def unaccounted(self) -> int:
        """How many slots nothing answers for."""
        return sum(one.unaccounted for one in self.schedules)


def collect(
    entries: Sequence[Entry],
    reports: Mapping[str, Report],
    *,
    repository_id: str,
    generated_by: str,
    first: datetime,
    last: datetime,
    database: str | None,
    log: LogHead,
    log_problems: Sequence[str],
    now: datetime,
) -> Period:
    """Return the period; `reports` are those at hand, by the SHA-256 that the log names them by.

    The whole log is read, so that what began in the period and ended after it has its end. Slots
    are judged as of `now`.
    """
    slots = list(due_slots(entries, now=now))
    found = [*_happenings(entries, reports.keys(), slots), *_of_slots(slots)]
    happened = [
        one
        for one in sorted(found, key=lambda one: (one.seq, one.at))
        if database in {None, one.database} and first <= one.at < last
    ]
    shown = {one.report_id for one in happened if one.has_report}
    promised, unreadable = promises(entries)
    return Period(
        format=1,
        repository_id=repository_id,
        generated_by=generated_by,
        first=first,
        last=last,
        database=database,
        log=log,
        log_problems=(*log_problems, *map(unreadable_sentence, unreadable)),
        limits=tuple(_limits(promised, first)),
        judged_at=now,
        schedules=tuple(
            _scheduled(one, [slot for slot in slots if slot.promised_by == one.seq], first, last)
            for one in promised
            if one.policy.schedule is not None
            and database in {None, one.policy.database}
            and one.since < last
            and (one.until is None or one.until >= first)
        ),
        happenings=tuple(happened),
        exceptions=tuple(
            exception
            for report in sorted(reports.values(), key=lambda one: one.report_id)
            if report.report_id in shown
            for exception in _exceptions(report)
        ),
    )


def _limits(promised: Sequence[Promise], first: datetime) -> Iterator[str]:
    if not promised:
        yield NO_SCHEDULE
        return
    since = min(one.since for one in promised)
    if since > first:
        yield (
            f"The evidence log holds a schedule since {since:%Y-%m-%d %H:%M} UTC; what was due"
            " earlier in this period and never began is not known to it."
        )


def _scheduled(
    promise: Promise, slots: Sequence[DueSlot], first: datetime, last: datetime
) -> Scheduled:
    due = [slot for slot in slots if first <= slot.due < last]
    answered = sum(bool(slot.answered_by) for slot in due)
    missed = sum(slot.missed_by is not None and not slot.answered_by for slot in due)
    unaccounted = sum(slot.is_unaccounted for slot in due)
    return Scheduled(
        seq=promise.seq,
        job=promise.policy.job,
        database=promise.policy.database,
        schedule=promise.policy.schedule or "",
        zone=promise.policy.zone,
        since=promise.since,
        until=promise.until,
        due=len(due),
        answered=answered,
        missed=missed,
        unaccounted=unaccounted,
        open=len(due) - answered - missed - unaccounted,
    )


def _of_slots(slots: Iterable[DueSlot]) -> Iterator[Happening]:
    """Yield the slots that no run tells of, and those of the jobs that are counted by slots."""
    for slot in slots:
        kind = _KINDS[slot.job]
        if slot.answered_by:
            if kind not in {"backup", "restore test"}:
                answer = slot.answered_by[-1]
                yield _of_slot(slot, kind, _outcome(answer), answer.seq, answer.ts)
        elif slot.missed_by is not None:
            yield _of_slot(slot, kind, "missed", slot.missed_by.seq, slot.due)
        elif slot.is_unaccounted:
            yield _of_slot(slot, kind, "unaccounted", slot.promised_by, slot.due)


def _outcome(answer: Entry) -> Outcome:
    """Return what became of a run that is counted by its slot."""
    is_damaged = bool(answer.details.get("damages") or answer.details.get("unpinned"))
    return "failed" if is_damaged or answer.type is EntryType.PRUNE_BLOCKED else "finished"


def _of_slot(slot: DueSlot, kind: Kind, outcome: Outcome, seq: int, at: datetime) -> Happening:
    return Happening(
        seq=seq,
        at=at,
        database=slot.database or "",
        kind=kind,
        due=slot_text(slot.due),
        outcome=outcome,
        backup_id=None,
        report_id=None,
        verdict=None,
        level=None,
        rto_ms=None,
        newest_proven_ms=None,
        has_report=False,
    )


def _happenings(
    entries: Iterable[Entry], known: Iterable[str], slots: Iterable[DueSlot]
) -> Iterator[Happening]:
    """Yield what happened: each beginning with its end, ends without one, missed slots.

    A `slot.missed` of what no policy promises is told of all the same.
    """
    at_hand = frozenset(known)
    promised = {slot.missed_by.seq for slot in slots if slot.missed_by is not None}
    begun: list[Happening] = []
    newest: dict[str, datetime] = {}
    for entry in entries:
        if entry.type in _STARTS:
            begun.append(_happening(entry, _STARTS[entry.type], "no end"))
        elif entry.type in _ENDS:
            end = _happening(entry, *_ENDS[entry.type])
            end = replace(end, has_report=entry.details.get("report_sha256") in at_hand)
            start = _start_of(begun, end, entry)
            if start is not None:
                begun.remove(start)
                end = replace(end, due=end.due or start.due)
            yield _aged(end, newest)
        elif entry.type is EntryType.SLOT_MISSED and entry.seq not in promised:
            job = str(entry.details.get("job"))
            yield _happening(entry, _KINDS.get(job, "backup"), "missed")
    yield from begun


def _happening(entry: Entry, kind: Kind, outcome: Outcome) -> Happening:
    return Happening(
        seq=entry.seq,
        at=entry.ts,
        database=_text(entry, "database") or "",
        kind=kind,
        due=_text(entry, "slot"),
        outcome=outcome,
        backup_id=_text(entry, "backup"),
        report_id=_text(entry, "report"),
        verdict=_text(entry, "verdict"),
        level=_number(entry, "level"),
        rto_ms=_number(entry, "rto_ms"),
        newest_proven_ms=None,
        has_report=False,
    )


def _start_of(begun: Sequence[Happening], end: Happening, entry: Entry) -> Happening | None:
    """Return what ended: named by its number, or the newest of the same backup and kind."""
    alike = [one for one in begun if (one.kind, one.database) == (end.kind, end.database)]
    named = [one for one in alike if one.seq == entry.details.get("started")]
    same = [one for one in alike if one.backup_id == end.backup_id]
    return next(iter([*named, *reversed(same)]), None)


def _aged(end: Happening, newest: dict[str, datetime]) -> Happening:
    """Return a restore test with the age of what is proven; note what it proves itself."""
    if end.kind != "restore test":
        return end
    if end.verdict is not None and end.verdict.startswith("PASS") and end.backup_id is not None:
        try:
            begun = BackupId(end.backup_id).started
        except SettingsError:
            return end
        newest[end.database] = max(begun, newest.get(end.database, begun))
    proven = newest.get(end.database)
    if proven is None:
        return end
    return replace(end, newest_proven_ms=round((end.at - proven).total_seconds() * 1000))


def _exceptions(report: Report) -> Iterator[Exceptional]:
    database = report.backup.database
    for finding in report.verdict.findings:
        if finding.waiver is not None:
            yield Exceptional(
                database=database,
                report_id=report.report_id,
                kind="waived finding",
                what=f"{finding.code.value}: {finding.what}",
                approver=finding.waiver.approver,
                reason=finding.waiver.reason,
                expires=finding.waiver.expires,
            )
    for one in report.exclusions:
        yield Exceptional(
            database=database,
            report_id=report.report_id,
            kind="excluded table",
            what=one.what,
            approver=one.approver,
            reason=one.reason,
            expires=one.expires,
        )


def _text(entry: Entry, name: str) -> str | None:
    value = entry.details.get(name)
    return value if isinstance(value, str) else None


def _number(entry: Entry, name: str) -> int | None:
    value = entry.details.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
