"""Cutting a stream into chunks, and the chunk key that names them.

FastCDC 2020 (Xia et al., IEEE TPDS 31(9)) through `pyfastcdc`, seeded from the chunk key, so that
an outsider cannot simply cut a known text and look for its sizes; `docs/format.md` says how far
that goes. Cuts depend on content alone: what was inserted or deleted moves the cuts beside it and
no others, and the rest is recognised again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from blake3 import blake3
from pydantic import ConfigDict
from pyfastcdc import FastCDC

from backup.errors import IntegrityError, SettingsError
from backup.repository.canonical import STRICT

KIB = 1024
MIB = 1024 * KIB
CHUNK_KEY_BYTES = 32
MAXIMUM_CHUNK_BYTES = 16 * MIB

_SEED_CONTEXT = "strongroom 2026 fastcdc seed"
_TEXT_PREFIX = "strongroom-chunk-key-1:"


class Source(Protocol):
    """Where plaintext comes from."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of `buffer` and return how many bytes; 0 is the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSizes:
    """Chunk sizes in bytes, chosen once per repository.

    Chunks run from `minimum` to `maximum` (the last one of a stream may be shorter), around
    `average` + `minimum` on random data.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    minimum: int
    average: int
    maximum: int

    def __post_init__(self) -> None:
        fits = (
            64 <= self.minimum <= MIB
            and 256 <= self.average <= 4 * MIB
            and KIB <= self.maximum <= MAXIMUM_CHUNK_BYTES
            and self.minimum <= self.average <= self.maximum
        )
        if not fits:
            raise SettingsError(
                f"chunk sizes {self.minimum}, {self.average}, {self.maximum} do not fit",
                hint="minimum ≤ average ≤ maximum, at most 1 MiB, 4 MiB and 16 MiB",
            )


# Measured on a day's changes of a 180 MB portal: 13 % of the first backup are stored again at an
# average of 1 MiB, 8 % at 512 KiB, 5 % at 256 KiB; smaller chunks are more objects to store. Of
# 90 MB it is 11 % at 512 KiB (8 to 14 by chance, 25 keys) and 8 % at 256 KiB (6 to 10).
DEFAULT_CHUNK_SIZES = ChunkSizes(minimum=128 * KIB, average=512 * KIB, maximum=2 * MIB)


class ChunkKey:
    """The secret that names chunks.

    Who has it can tell whether a known chunk is stored, and can decrypt nothing.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != CHUNK_KEY_BYTES:
            raise IntegrityError(f"a chunk key has {CHUNK_KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    @classmethod
    def from_text(cls, text: str) -> ChunkKey:
        """Return the key that `text` gave; raises `IntegrityError` if it is no chunk key."""
        digits = text.strip().removeprefix(_TEXT_PREFIX)
        try:
            key = bytes.fromhex(digits)
        except ValueError:
            raise IntegrityError("the chunk key is not in its own format") from None
        if not text.startswith(_TEXT_PREFIX):
            raise IntegrityError("the chunk key is not in its own format")
        return cls(key)

    @property
    def text(self) -> str:
        """The key as it is kept in its file: a secret."""
        return f"{_TEXT_PREFIX}{self._key.hex()}\n"

    def id_of(self, plaintext: bytes | bytearray | memoryview) -> bytes:
        """Return the chunk id: BLAKE3 keyed with the chunk key, 32 bytes."""
        return blake3(plaintext, key=self._key).digest()

    @property
    def cut_seed(self) -> int:
        """The seed of the cutter: 63 bits, as pyfastcdc doubles it in an unsigned 64-bit one."""
        derived = blake3(self._key, derive_key_context=_SEED_CONTEXT).digest(length=8)
        return int.from_bytes(derived, "little") >> 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChunkKey) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return "ChunkKey(…)"


def cut(source: Source, sizes: ChunkSizes, seed: int) -> Iterator[memoryview]:
    """Yield the chunks of `source` in order; each is valid until the next is asked for."""
    cutter = FastCDC(sizes.average, min_size=sizes.minimum, max_size=sizes.maximum, seed=seed)
    for chunk in cutter.cut_stream(source):
        yield chunk.data
