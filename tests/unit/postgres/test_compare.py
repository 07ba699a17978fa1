"""Differences name what is not the same, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from backup.postgres.compare import Contents, LargeObjectDigest, TableDigest, differences
from backup.repository.catalog import Sequence

TABLE = TableDigest(schema="s", name="t", rows=2, sha256="aa")
SEQUENCE = Sequence(schema="s", name="q", last_value=7, is_called=True)
OBJECT = LargeObjectDigest(oid=5, size_bytes=1, sha256="bb")
CONTENTS = Contents(
    tables=(TABLE,), sequences=(SEQUENCE,), large_objects=(OBJECT,), unpopulated_matviews=()
)


def test_equal_contents_have_no_differences() -> None:
    """In whatever order they were found."""
    other = replace(TABLE, name="u")
    both = replace(CONTENTS, tables=(TABLE, other))
    assert differences(both, replace(CONTENTS, tables=(other, TABLE))) == ()


def test_each_change_is_told_with_both_sides() -> None:
    """A row count, a digest, a sequence, an object and a view that is not populated."""
    observed = Contents(
        tables=(replace(TABLE, rows=1),),
        sequences=(replace(SEQUENCE, is_called=False),),
        large_objects=(replace(OBJECT, sha256="cc"),),
        unpopulated_matviews=("s.m",),
    )
    assert [str(one) for one in differences(CONTENTS, observed)] == [
        "large object 5: expected 1 bytes, SHA-256 bb, found 1 bytes, SHA-256 cc",
        "materialised view s.m: expected none, found not populated",
        "sequence s.q: expected 7, called, found 7",
        "table s.t: expected 2 rows, SHA-256 aa, found 1 rows, SHA-256 aa",
    ]


def test_what_is_missing_is_told_as_none() -> None:
    """A table that did not come back is the gravest difference."""
    assert str(differences(CONTENTS, replace(CONTENTS, tables=()))[0]) == (
        "table s.t: expected 2 rows, SHA-256 aa, found none"
    )
