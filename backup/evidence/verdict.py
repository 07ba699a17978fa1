"""What a restore test concludes: the worst of its checks, and how deep the proof goes. Pure.

A check either ran and says what it found, or did not run and says why. Nothing that did not run
counts as good, and nothing that compared nothing does either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import ConfigDict

from backup.repository.canonical import STRICT, UtcTime


class Word(StrEnum):
    """FAIL: it was tested and is wrong. INCONCLUSIVE: nothing is proven either way."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Code(StrEnum):
    """What a finding is about; `docs/verdict.md` says what each means and what to do."""

    OBJECT_MISSING = "OBJECT_MISSING"
    CIPHERTEXT_MISMATCH = "CIPHERTEXT_MISMATCH"
    AUTH_FAILED = "AUTH_FAILED"
    STREAM_TRUNCATED = "STREAM_TRUNCATED"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    ARCHIVE_UNREADABLE = "ARCHIVE_UNREADABLE"
    RESTORE_ERRORS = "RESTORE_ERRORS"
    EXIT_CODE_LIED = "EXIT_CODE_LIED"
    EMPTY_RESTORE = "EMPTY_RESTORE"
    SCHEMA_DIFF = "SCHEMA_DIFF"
    ROLE_ABSENT = "ROLE_ABSENT"
    ROLE_DIFF = "ROLE_DIFF"
    OWNER_DIFF = "OWNER_DIFF"
    ACL_DIFF = "ACL_DIFF"
    RLS_DIFF = "RLS_DIFF"
    EXTENSION_DIFF = "EXTENSION_DIFF"
    ROWCOUNT_DIFF = "ROWCOUNT_DIFF"
    DIGEST_DIFF = "DIGEST_DIFF"
    SEQUENCE_BEHIND = "SEQUENCE_BEHIND"
    MATVIEW_UNPOPULATED = "MATVIEW_UNPOPULATED"
    INDEX_INVALID = "INDEX_INVALID"
    CONSTRAINT_VIOLATED = "CONSTRAINT_VIOLATED"
    AMCHECK_CORRUPT = "AMCHECK_CORRUPT"
    INVARIANT_FAILED = "INVARIANT_FAILED"
    SMOKE_FAILED = "SMOKE_FAILED"
    RTO_EXCEEDED = "RTO_EXCEEDED"
    RPO_EXCEEDED = "RPO_EXCEEDED"
    RESTORED_DATA_NOT_DESTROYED = "RESTORED_DATA_NOT_DESTROYED"
    KEY_UNAVAILABLE = "KEY_UNAVAILABLE"
    LOG_INCONSISTENT = "LOG_INCONSISTENT"
    SLOT_UNACCOUNTED = "SLOT_UNACCOUNTED"
    ABANDONED = "ABANDONED"

    SOURCE_REFERENCE_MISSING = "SOURCE_REFERENCE_MISSING"
    NOT_SAME_SNAPSHOT = "NOT_SAME_SNAPSHOT"
    ZERO_CHECKED = "ZERO_CHECKED"
    REQUIRED_CHECK_SKIPPED = "REQUIRED_CHECK_SKIPPED"
    CHECK_ERROR = "CHECK_ERROR"
    CHECK_TIMEOUT = "CHECK_TIMEOUT"
    COVERAGE_PARTIAL = "COVERAGE_PARTIAL"
    VERSION_MISMATCH = "VERSION_MISMATCH"
    COLLATION_MISMATCH = "COLLATION_MISMATCH"
    RLS_VISIBILITY = "RLS_VISIBILITY"
    ENVIRONMENT_FAILURE = "ENVIRONMENT_FAILURE"
    WRONG_COPY = "WRONG_COPY"
    HOT_KEY_ONLY = "HOT_KEY_ONLY"
    CLOCK_SKEW = "CLOCK_SKEW"
    WARNINGS_UNCLASSIFIED = "WARNINGS_UNCLASSIFIED"
    POLICY_CHANGED_MID_RUN = "POLICY_CHANGED_MID_RUN"
    RETRY_AFTER_FAIL = "RETRY_AFTER_FAIL"
    SIGNING_UNAVAILABLE = "SIGNING_UNAVAILABLE"
    UNPINNED = "UNPINNED"
    SIMULATED = "SIMULATED"
    STALE = "STALE"

    @property
    def word(self) -> Word:
        """What a finding of this code makes of a verdict."""
        return Word.INCONCLUSIVE if self in _INCONCLUSIVE else Word.FAIL


# In the order above: everything from SOURCE_REFERENCE_MISSING on.
_INCONCLUSIVE = frozenset(tuple(Code)[tuple(Code).index(Code.SOURCE_REFERENCE_MISSING) :])

CheckStatus = Literal["passed", "failed", "not_run"]
HIGHEST_LEVEL = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """Somebody answers for a finding until it expires: `code` at exactly `what`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    code: Code
    what: str
    approver: str
    reason: str
    expires: UtcTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it has to be. `expected` and `observed` never hold row values."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    code: Code
    what: str
    expected: str | None = None
    observed: str | None = None
    waiver: Waiver | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question that was asked of the restored database.

    `id` is from the closed list of `docs/verdict.md`, `level` 0 to 9 the depth it belongs to,
    `compared` how many things it looked at. `reason` says why it did not run.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    id: str
    level: int
    status: CheckStatus
    compared: int
    findings: tuple[Finding, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`level`: every check up to it ran and is good; -1: not even level 0. `seal`: S0 to S3."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    word: Word
    exceptions: int
    level: int
    seal: int
    findings: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        """The verdict as it is printed: `PASS`, `PASS with 2 exceptions`, `FAIL`."""
        if self.word is Word.PASS and self.exceptions:
            return f"PASS with {self.exceptions} exception{'s' * (self.exceptions > 1)}"
        return self.word.value


def ran(id_: str, level: int, *, compared: int, findings: Sequence[Finding] = ()) -> Check:
    """Return a check that ran; with a finding it failed, waived or not."""
    status: CheckStatus = "failed" if findings else "passed"
    return Check(id=id_, level=level, status=status, compared=compared, findings=tuple(findings))


def not_run(id_: str, level: int, reason: str) -> Check:
    """Return a check that did not run, and why."""
    return Check(id=id_, level=level, status="not_run", compared=0, reason=reason)


def judge(
    checks: Sequence[Check],
    *,
    required: frozenset[str],
    tables_in_scope: int,
    tables_compared: int,
    waivers: Sequence[Waiver],
    seal: int,
    at: datetime,
    is_stopped: bool = False,
    doubts: Sequence[Finding] = (),
) -> Verdict:
    """Return the verdict: the worst of all findings that nobody answers for at this time.

    `required` are the ids of checks that must have run; more may have. `is_stopped`: the test
    ended at what it found, so that what did not run after it is no finding of its own. `doubts`
    are about the test itself, not about what it looked at.
    """
    found = [_waived(finding, waivers, at) for check in checks for finding in check.findings]
    found += [_waived(finding, waivers, at) for finding in doubts]
    if not (is_stopped and any(finding.waiver is None for finding in found)):
        gaps = _gaps(checks, required, tables_in_scope, tables_compared)
        found += [_waived(finding, waivers, at) for finding in gaps]
    if seal < 1:
        found.append(Finding(code=Code.SIGNING_UNAVAILABLE, what="signature"))
    words = {finding.code.word for finding in found if finding.waiver is None}
    word = next((word for word in (Word.FAIL, Word.INCONCLUSIVE) if word in words), Word.PASS)
    return Verdict(
        word=word,
        exceptions=sum(finding.waiver is not None for finding in found),
        level=_level(checks),
        seal=seal,
        findings=tuple(found),
    )


def _gaps(
    checks: Sequence[Check],
    required: frozenset[str],
    tables_in_scope: int,
    tables_compared: int,
) -> list[Finding]:
    """Return what makes a test prove nothing although nothing was found wrong."""
    by_id = {check.id: check for check in checks}
    gaps = [
        Finding(
            code=Code.REQUIRED_CHECK_SKIPPED,
            what=f"check {id_}",
            observed=by_id[id_].reason if id_ in by_id else "it is not in the list of checks",
        )
        for id_ in sorted(required)
        if id_ not in by_id or by_id[id_].status == "not_run"
    ]
    if not any(check.status != "not_run" and check.compared for check in checks):
        gaps.append(Finding(code=Code.ZERO_CHECKED, what="checks"))
    if not tables_compared:
        gaps.append(Finding(code=Code.ZERO_CHECKED, what="tables"))
    elif tables_compared < tables_in_scope:
        gaps.append(
            Finding(
                code=Code.COVERAGE_PARTIAL,
                what="tables",
                expected=str(tables_in_scope),
                observed=str(tables_compared),
            )
        )
    return gaps


def _waived(finding: Finding, waivers: Sequence[Waiver], at: datetime) -> Finding:
    for waiver in waivers:
        if (waiver.code, waiver.what) == (finding.code, finding.what) and at < waiver.expires:
            return replace(finding, waiver=waiver)
    return finding


def _level(checks: Sequence[Check]) -> int:
    """Return how deep the proof goes without a gap: a waived finding does not prove its level."""
    for level in range(HIGHEST_LEVEL + 1):
        here = [check for check in checks if check.level == level]
        if not here or any(check.status != "passed" for check in here):
            return level - 1
    return HIGHEST_LEVEL
