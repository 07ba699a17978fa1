"""Which chunks are read today, so that each is read once within so many days. Pure, no state.

A chunk's day follows from the SHA-256 in its name, so it is the same on every host and stays the
same; chunks that are stored meanwhile fall on one of the days as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from backup.repository.chunks import ChunkRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The chunks of some of `days` days; `day` counts from 1970, in UTC."""

    days: int
    day: int
    due: frozenset[int]

    def holds(self, sha256: bytes) -> bool:
        """Whether the chunk object of this name is one of them."""
        return int.from_bytes(sha256[:4], "big") * self.days >> 32 in self.due

    def of(self, refs: Iterable[ChunkRef]) -> list[ChunkRef]:
        """Return those of these chunks that are due."""
        return [ref for ref in refs if self.holds(ref.sha256)]


def day_of(now: datetime) -> int:
    """Return the day as a number."""
    return now.astimezone(UTC).toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal()


def share_due(days: int, *, today: int, last: int | None = None) -> Share:
    """Return what is due today: the shares of all days since `last`, the day of the last run.

    After `days` days or more without a run that is everything; without any run, one share.
    """
    if days < 1:
        raise ValueError("a period has at least one day")
    first = today if last is None or last >= today else last + 1
    first = max(first, today - days + 1)
    return Share(days=days, day=today, due=frozenset(day % days for day in range(first, today + 1)))
