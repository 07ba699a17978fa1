"""What an archive says of itself: read as pg_dump 15 and 16 write it, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backup.repository.archivehead import ArchiveHead, read_head

MADE = (7, 30, 14, 25, 10, 126, 0)  # struct tm: the month from 0, the year from 1900


def number(value: int) -> bytes:
    """A number as `WriteInt` writes it."""
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def head(
    name: bytes = b"portal",
    made: tuple[int, ...] = MADE,
    minor: int = 15,
    length: int | None = None,
) -> bytes:
    """The first bytes of an archive."""
    compression = b"\x00" if minor >= 15 else number(-1)
    length = len(name) if length is None else length
    begin = b"PGDMP" + bytes([1, minor, 0, 4, 8, 1]) + compression
    return begin + b"".join(map(number, made)) + number(length) + name


@pytest.mark.parametrize("minor", [14, 15, 16])
def test_name_and_time_are_read(minor: int) -> None:
    """The compression before them is a number in old archives and a byte in newer ones."""
    expected = ArchiveHead(database="portal", created=datetime(2026, 11, 25, 14, 30, 7, tzinfo=UTC))
    assert read_head(head(minor=minor) + b"what follows") == expected


def test_a_leap_second_is_the_one_before() -> None:
    """Which a datetime has no word for."""
    found = read_head(head(made=(60, *MADE[1:])))
    assert found is not None
    assert found.created.second == 59


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PGDMP",
        b"no archive at all, and longer than the head of one would have been",
        head()[:30],
        head()[:-1],
        head(length=0),
        head(length=-1),
        head(name=b"x" * 2000),
        head(made=(0, 0, 0, 25, 12, 126, 0)),
        head(made=(0, 0, 0, 25, 10, 2**31 - 1, 0)),
    ],
)
def test_what_is_no_head_is_none(data: bytes) -> None:
    """Cut short, or with numbers that mean nothing."""
    assert read_head(data) is None
