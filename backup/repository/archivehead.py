"""What an archive of pg_dump says of itself in its first bytes: of which database it is, and when.

`pg_backup_archiver.c`, `WriteHead`. It is read where a backup must be told from another one: who
may sign manifests can write anything into them, but not into archives that he cannot open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

_MAGIC = b"PGDMP"
# From here on the compression is one byte that names its method; before, a number.
_METHOD_NAMED = (1, 15)
_MOST_NAME_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveHead:
    """The name that pg_dump connected to, and its clock then; our children's clocks are UTC."""

    database: str
    created: datetime


def read_head(data: bytes) -> ArchiveHead | None:
    """Return the head of an archive in the custom format; None: these bytes do not begin one."""
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + 6:
        return None
    major, minor, _, integer_bytes = data[5:9]
    at = 11 + (1 if (major, minor) >= _METHOD_NAMED else integer_bytes + 1)

    def integer() -> int:
        nonlocal at
        start, at = at, at + 1 + integer_bytes
        if at > len(data):
            raise ValueError("the head is not whole")
        number = int.from_bytes(data[start + 1 : at], "little")
        return -number if data[start] else number

    try:
        second, minute, hour, day, month, year, _ = (integer() for _ in range(7))
        length = integer()
        name = data[at : at + length]
        if not 0 < length == len(name) <= _MOST_NAME_BYTES:
            return None
        # The month from 0, the year from 1900, a second that may be a leap one: `struct tm`.
        created = datetime(year + 1900, month + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
        return ArchiveHead(database=name.decode("utf-8", "surrogateescape"), created=created)
    except (ValueError, OverflowError):
        return None
