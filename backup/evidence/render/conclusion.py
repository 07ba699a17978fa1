"""The answer on page one: are we recoverable? A word and a sentence with its numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from backup.errors import SettingsError
from backup.evidence.render import words
from backup.evidence.report import Report
from backup.evidence.verdict import Code, Word
from backup.repository.layout import BackupId

# The level from which every table's rows were held against the source.
ROWS_COUNTED = 5
_CONTENT_COMPARED = 6
# The data came back; something around it is not as it has to be.
_AROUND_THE_DATA = frozenset(
    {Code.RTO_EXCEEDED, Code.RPO_EXCEEDED, Code.RESTORED_DATA_NOT_DESTROYED}
)


class Status(StrEnum):
    """What a board reads."""

    RECOVERABLE = "RECOVERABLE"
    AT_RISK = "AT RISK"
    NOT_PROVEN = "NOT PROVEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """The newest backup that passed a restore test, and how old it was when this test ended."""

    backup_id: str
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The status, why in one sentence, and what is proven whatever this test found."""

    status: Status
    sentence: str
    proven: Proven | None


def conclude(report: Report) -> Conclusion:
    """Return what a report says about being recoverable.

    RECOVERABLE: it passed, and every table's rows were compared. AT RISK: it was tested and is
    wrong, or passed only because somebody answers for a finding that hides a level. NOT PROVEN:
    the rest.
    """
    proven = newest_proven(report)
    status = _status(report)
    return Conclusion(status=status, sentence=_sentence(report, status, proven), proven=proven)


def newest_proven(report: Report) -> Proven | None:
    """Return the newest backup that passed, in this test or an earlier one of the same database."""
    if report.verdict.word is Word.PASS:
        return Proven(backup_id=report.backup.backup_id, age_ms=report.objectives.rpo_ms)
    passed = sorted(
        (run.backup_id for run in report.history if run.verdict.startswith(Word.PASS.value)),
        reverse=True,
    )
    for backup_id in passed:
        try:
            begun = BackupId(backup_id).started
        except SettingsError:  # an entry of the log says what it likes
            continue
        return Proven(backup_id=backup_id, age_ms=words.milliseconds(begun, report.finished))
    return None


def _status(report: Report) -> Status:
    verdict = report.verdict
    if verdict.word is Word.FAIL:
        return Status.AT_RISK
    if verdict.word is Word.PASS and verdict.level >= ROWS_COUNTED:
        return Status.RECOVERABLE
    if verdict.word is Word.PASS and verdict.exceptions:
        return Status.AT_RISK
    return Status.NOT_PROVEN


def _sentence(report: Report, status: Status, proven: Proven | None) -> str:
    backup = (
        f"The backup of {words.visible(report.backup.database)} "
        f"of {words.minute(report.backup.snapshot_time)}"
    )
    if report.verdict.word is Word.PASS:
        return f"{backup} {_passed(report, status)}."
    open_findings = [one for one in report.verdict.findings if one.waiver is None]
    if report.verdict.word is Word.INCONCLUSIVE:
        begin = f"{backup} was tested, and nothing is proven either way"
    elif all(finding.code in _AROUND_THE_DATA for finding in open_findings):
        begin = f"{backup} came back, but not as it has to"
    else:
        begin = f"{backup} was tested and is wrong"
    return f"{begin}: {_found(report)}. {_otherwise(proven)}."


def _passed(report: Report, status: Status) -> str:
    coverage, level = report.coverage, report.verdict.level
    tables = words.counted(coverage.tables_in_scope, "table")
    rows = words.counted(coverage.rows_compared, "row")
    if level >= _CONTENT_COMPARED:
        proof = f"{tables} with {rows} are equal to the source in content"
    elif level >= ROWS_COUNTED:
        proof = f"{tables} have exactly the rows that the source had ({rows})"
    else:
        proof = f"the proof ends at level {max(level, 0)}, before the rows of every table"
    rto_ms, target_ms = report.objectives.rto_ms, report.objectives.rto_target_ms
    took = "was restored" if rto_ms is None else f"was restored in {words.span(rto_ms)}"
    if rto_ms is not None and target_ms is not None:
        took += f" (target: {words.span(target_ms)})"
    answered = ""
    if report.verdict.exceptions:
        answered = f", with {words.counted(report.verdict.exceptions, 'exception')} answered for"
    return f"{took}{'; ' if status is not Status.RECOVERABLE else ', and '}{proof}{answered}"


def _found(report: Report) -> str:
    found = [one for one in report.verdict.findings if one.waiver is None]
    if not found:
        return "no finding says why"
    first = f"{words.code(found[0].code)} ({words.visible(found[0].what)})"
    if len(found) == 1:
        return first
    return f"{words.counted(len(found), 'finding')}, the first is that {first}"


def _otherwise(proven: Proven | None) -> str:
    if proven is None:
        return "No earlier backup in this report passed a restore test"
    return (
        f"The newest backup that passed is {proven.backup_id}; "
        f"it was {words.span(proven.age_ms)} old when this test ended"
    )
