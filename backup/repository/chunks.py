"""One chunk as an object in the store: age( zstd( plaintext ) ), and the line that lists it.

`docs/format.md`, "Chunks". An object is named by its own SHA-256, so it can be checked without any
key, two writers can never mean different bytes by one name, and a list line pins it exactly.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import zstandard

from backup.crypto import age
from backup.crypto.recipients import Identity, Recipient
from backup.errors import IntegrityError
from backup.repository.chunking import MAXIMUM_CHUNK_BYTES, ChunkKey

# No signs, no leading zeros, no upper case: one chunk has one line.
_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64}) ([1-9][0-9]{0,8}) ([1-9][0-9]{0,7})\n")
_per_thread = threading.local()


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """A stored chunk: its id (BLAKE3, keyed), its object's SHA-256, and both sizes in bytes."""

    id: bytes
    sha256: bytes
    object_bytes: int
    plain_bytes: int


def encode_chunk(
    plaintext: memoryview | bytes, id_: bytes, recipients: Sequence[Recipient], *, level: int
) -> tuple[ChunkRef, bytearray]:
    """Return how the chunk is listed, and its object: compressed, then sealed."""
    sealed = age.seal(_compressor(level).compress(plaintext), recipients)
    ref = ChunkRef(id_, hashlib.sha256(sealed).digest(), len(sealed), len(plaintext))
    return ref, sealed


def check_object(data: bytes, ref: ChunkRef, name: str) -> None:
    """Raise `IntegrityError` unless `data` is the object that was listed; needs no key."""
    if len(data) != ref.object_bytes or hashlib.sha256(data).digest() != ref.sha256:
        raise IntegrityError(
            f"{name} is not what was written: its SHA-256 or size differs from its list",
            hint="`strongroom verify --all` finds every damaged object; restore from another copy",
            flaw="truncated" if len(data) < ref.object_bytes else "altered",
        )


def decode_chunk(
    data: bytes, ref: ChunkRef, name: str, *, identities: Sequence[Identity], key: ChunkKey | None
) -> bytes:
    """Return the plaintext of an object, every check passed, or raise `IntegrityError`."""
    check_object(data, ref, name)
    try:
        compressed = age.unseal(data, identities)
    except IntegrityError as error:
        raise IntegrityError(
            f"{name}: {error.message}", hint=error.hint, flaw="unauthentic"
        ) from error
    try:
        frame = zstandard.get_frame_parameters(compressed)
        if frame.content_size != ref.plain_bytes:  # checked first: no decompression bombs
            raise IntegrityError(
                f"{name} claims {frame.content_size} bytes, not those listed",
                flaw="unauthentic",
            )
        plaintext = _decompressor().decompress(compressed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{name} does not decompress: {error}", flaw="unauthentic") from error
    if len(plaintext) != ref.plain_bytes or (key is not None and key.id_of(plaintext) != ref.id):
        raise IntegrityError(f"{name} holds another chunk than the one listed", flaw="unauthentic")
    return plaintext


def encode_list(refs: Iterable[ChunkRef]) -> bytes:
    """Return a chunk list: a line per chunk in order, `id sha256 object-bytes plain-bytes`."""
    return b"".join(
        f"{ref.id.hex()} {ref.sha256.hex()} {ref.object_bytes} {ref.plain_bytes}\n".encode()
        for ref in refs
    )


def decode_list(data: bytes, name: str) -> Iterator[ChunkRef]:
    """Yield the lines of a chunk list, or raise `IntegrityError` where one is malformed."""
    for number, line in enumerate(io.BytesIO(data), 1):
        ref = _parse_line(line)
        if ref is None:
            raise IntegrityError(f"line {number} of {name} is malformed")
        yield ref


def _parse_line(line: bytes) -> ChunkRef | None:
    match = _LINE.fullmatch(line)
    if match is None or int(match[4]) > MAXIMUM_CHUNK_BYTES:
        return None
    id_, sha256 = bytes.fromhex(match[1].decode()), bytes.fromhex(match[2].decode())
    return ChunkRef(id_, sha256, int(match[3]), int(match[4]))


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """A compressor may serve one thread at a time, and making one costs as much as a chunk."""
    made: dict[int, zstandard.ZstdCompressor] = _per_thread.__dict__.setdefault("compressors", {})
    if level not in made:
        made[level] = zstandard.ZstdCompressor(
            level=level, write_checksum=True, write_content_size=True
        )
    return made[level]


def _decompressor() -> zstandard.ZstdDecompressor:
    made: zstandard.ZstdDecompressor | None = getattr(_per_thread, "decompressor", None)
    if made is None:
        made = _per_thread.decompressor = zstandard.ZstdDecompressor()
    return made
