"""The chunks that are stored already, by chunk id: what makes the second backup small.

A line of a list is trusted only from a manifest that a pinned key signed, or from this host's own
list of an unfinished run; and only while the object is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from backup.repository.chunks import ChunkRef

_PACKED = struct.Struct("<32sII")


class KnownChunks:
    """Chunk ids and where they lie, packed: about 230 bytes of memory per chunk."""

    def __init__(self) -> None:
        self._packed: dict[bytes, bytes] = {}

    def add(self, ref: ChunkRef) -> None:
        """Remember a stored chunk."""
        self._packed[ref.id] = _PACKED.pack(ref.sha256, ref.object_bytes, ref.plain_bytes)

    def add_present(self, refs: Iterable[ChunkRef], present: set[bytes]) -> None:
        """Remember those whose object (by SHA-256) is in `present`."""
        for ref in refs:
            if ref.sha256 in present:
                self.add(ref)

    def get(self, id_: bytes) -> ChunkRef | None:
        """Return where the chunk with this id lies, or None if it has to be stored."""
        packed = self._packed.get(id_)
        return None if packed is None else ChunkRef(id_, *_PACKED.unpack(packed))

    def __len__(self) -> int:
        return len(self._packed)
