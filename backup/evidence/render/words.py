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
# Controls, formatting (which turns the direction of text around), surrogates, private use, what is
# not assigned, and separators other than the plain space: none may act on a reader's page.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS_IN_A_ROW = 2


def visible(text: str) -> str:
    r"""Return the text with what acts or cannot be seen written as its number: `\u{202e}`."""
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
        return f"{milliseconds / 1000:.1f} s"
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


def counted(number: int, noun: str) -> str:
    """Return `1 table`, `2 tables`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def code(value: Code) -> str:
    """Return a code as words: `row count differs` is for people, the code for searching."""
    return value.value.replace("_", " ").lower()
