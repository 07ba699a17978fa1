"""How values read on a page: times, spans, sizes, counts, and names that may be hostile."""

from __future__ import annotations

import unicodedata
from datetime import datetime

from backup.evidence.verdict import Code

# What each level shows; `docs/verdict.md` has the whole of it.
LEVELS = (
    "the objects are there",
    "the stored bytes are the ones that were written",
    "every piece decrypts and authenticates",
    "it restores without an error",
    "structure, roles and rights equal the source",
    "the row count of every table equals the source",
    "the content of every table equals the source",
    "indexes, constraints and the operator's checks hold",
    "the application's smoke test passes",
    "from the off-site copy, with the escrowed key, on a clean host",
)
SEALS = (
    "not signed",
    "signed",
    "signed, and in the evidence log",
    "signed, in the evidence log, and timed by somebody else",
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_FOUND = {
    Code.OBJECT_MISSING: "a stored object is missing",
    Code.CIPHERTEXT_MISMATCH: "stored bytes are not the ones that were written",
    Code.AUTH_FAILED: "what is stored does not authenticate",
    Code.STREAM_TRUNCATED: "what is stored ends too early",
    Code.SIGNATURE_INVALID: "the signature is not good",
    Code.ARCHIVE_UNREADABLE: "an archive can't be read",
    Code.RESTORE_ERRORS: "the restore reported errors",
    Code.EXIT_CODE_LIED: "a tool said that it succeeded and had not",
    Code.EMPTY_RESTORE: "nothing was restored",
    Code.SCHEMA_DIFF: "the structure differs",
    Code.ROLE_ABSENT: "a role is missing",
    Code.ROLE_DIFF: "a role has other attributes",
    Code.OWNER_DIFF: "the owner differs",
    Code.ACL_DIFF: "the rights differ",
    Code.RLS_DIFF: "row security differs",
    Code.EXTENSION_DIFF: "an extension differs",
    Code.ROWCOUNT_DIFF: "the number of rows differs",
    Code.DIGEST_DIFF: "the content differs",
    Code.SEQUENCE_BEHIND: "a sequence is behind",
    Code.MATVIEW_UNPOPULATED: "a materialised view is empty",
    Code.INDEX_INVALID: "an index is invalid",
    Code.CONSTRAINT_VIOLATED: "a constraint does not hold",
    Code.AMCHECK_CORRUPT: "an index or a table is corrupt",
    Code.INVARIANT_FAILED: "one of the firm's own questions has another answer",
    Code.SMOKE_FAILED: "the application's smoke test failed",
    Code.RTO_EXCEEDED: "recovery took longer than its target",
    Code.RPO_EXCEEDED: "the backup is older than its target",
    Code.RESTORED_DATA_NOT_DESTROYED: "the restored data was not destroyed",
    Code.KEY_UNAVAILABLE: "the key that opens the backup is not at hand",
    Code.LOG_INCONSISTENT: "the evidence log, or what the backup is filed as, does not hold",
    Code.SLOT_UNACCOUNTED: "a test that was due is not accounted for",
    Code.ABANDONED: "the test was broken off",
    Code.SOURCE_REFERENCE_MISSING: "there is nothing of the source to compare with",
    Code.NOT_SAME_SNAPSHOT: "the source was counted at another moment",
    Code.ZERO_CHECKED: "nothing was checked",
    Code.REQUIRED_CHECK_SKIPPED: "a check that is required did not run",
    Code.CHECK_ERROR: "a check could not be carried out",
    Code.CHECK_TIMEOUT: "a check took too long",
    Code.COVERAGE_PARTIAL: "not every table was compared",
    Code.VERSION_MISMATCH: "the versions do not fit",
    Code.COLLATION_MISMATCH: "the collation has another version",
    Code.RLS_VISIBILITY: "row security may have hidden rows",
    Code.ENVIRONMENT_FAILURE: "the test host failed",
    Code.WRONG_COPY: "another copy was tested",
    Code.HOT_KEY_ONLY: "another key than the escrowed one was tested",
    Code.CLOCK_SKEW: "the clocks differ",
    Code.WARNINGS_UNCLASSIFIED: "a tool said something that is not known",
    Code.POLICY_CHANGED_MID_RUN: "the settings changed while the test ran",
    Code.RETRY_AFTER_FAIL: "it passed only when it was tried again",
    Code.SIGNING_UNAVAILABLE: "nothing signs the report",
    Code.UNPINNED: "nobody vouches for the signer",
    Code.SIMULATED: "it was a simulation",
    Code.STALE: "the newest test is too old to tell anything",
}
# Controls, formatting (which turns the direction of text around), surrogates, private use, what is
# not assigned, and separators other than the plain space: none may act on a reader's page.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS_IN_A_ROW = 2


def visible(text: str) -> str:
    r"""Return the text with what acts or cannot be seen written as its number: `\u{202e}`."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    shown = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        is_hidden = category in _ACTING or (category == "Zs" and character != " ")
        shown.append(
            f"\\u{{{ord(character):x}}}"
            if is_hidden or marks > _MARKS_IN_A_ROW or character == "\\"
            else character
        )
    return "".join(shown)


def month(number: int) -> str:
    """Return the month's name, whatever the locale."""
    return _MONTHS[number - 1]


def day(moment: datetime) -> str:
    """Return `14 January 2026`."""
    return f"{moment.day} {month(moment.month)} {moment.year}"


def minute(moment: datetime) -> str:
    """Return `14 January 2026, 02:00 UTC`."""
    return f"{day(moment)}, {moment:%H:%M} UTC"


def second(moment: datetime) -> str:
    """Return `2026-01-14 02:00:12 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def span(milliseconds: int) -> str:
    """Return `4.2 s`, `3 min 05 s`, `1 h 10 min`, `2 d 4 h`."""
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f}".removesuffix(".0") + " s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def milliseconds(begin: datetime, end: datetime) -> int:
    """Return how long it is from one moment to another."""
    return round((end - begin).total_seconds() * 1000)


def size(count: int) -> str:
    """Return `3.4 GB`, in decimal units."""
    if count < 1000:
        return counted(count, "byte")
    amount = count / 1000
    for unit in ("kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def count(number: int | None) -> str:
    """Return `1,234,567`, or a dash for what is not known."""
    return "–" if number is None else f"{number:,}"  # noqa: RUF001 - a dash for people


def depth(level: int | None) -> str:
    """Return `6`, or a dash where nothing is proven."""
    return count(None if level is None or level < 0 else level)


def counted(number: int, noun: str) -> str:
    """Return `1 table`, `2 tables`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def code(value: Code) -> str:
    """Return what a finding of this code says, for people; `docs/verdict.md` has the codes."""
    return _FOUND[value]
