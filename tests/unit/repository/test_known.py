"""Chunks that need not be stored again."""

from __future__ import annotations

import dataclasses

from backup.repository.chunks import ChunkRef
from backup.repository.known import KnownChunks

REF = ChunkRef(b"\1" * 32, b"\2" * 32, 999_999_999, 16 * 2**20)


def test_a_known_chunk_comes_back_whole() -> None:
    """Also with the largest sizes a list can hold."""
    known = KnownChunks()
    assert known.get(REF.id) is None
    known.add(REF)
    assert known.get(REF.id) == REF
    assert len(known) == 1


def test_the_object_added_last_counts() -> None:
    """Newer backups are added after older ones."""
    known = KnownChunks()
    newer = dataclasses.replace(REF, sha256=b"\3" * 32)
    known.add(REF)
    known.add(newer)
    assert known.get(REF.id) == newer
    assert len(known) == 1


def test_a_chunk_counts_only_while_its_object_is_there() -> None:
    """A list alone proves nothing: the object may have been pruned."""
    known = KnownChunks()
    gone = ChunkRef(b"\4" * 32, b"\5" * 32, 1, 1)
    known.add_present([REF, gone], {REF.sha256})
    assert known.get(REF.id) == REF
    assert known.get(gone.id) is None
