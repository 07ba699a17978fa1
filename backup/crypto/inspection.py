"""What an age file tells without any key: kinds of recipients and sizes, as `age-inspect` does."""

from __future__ import annotations

from dataclasses import dataclass

from backup.crypto.armor import open_armor
from backup.crypto.header import VERSION, read_header
from backup.crypto.source import Source
from backup.crypto.stream import NONCE_BYTES, chunk_count, plain_size
from backup.errors import IntegrityError

# What a recipient's kind says about an attacker with a quantum computer (age-inspect's table).
_SAFE_KINDS = frozenset({"mlkem768x25519", "mlkem768p256tag", "scrypt"})
_UNSAFE_KINDS = frozenset({"X25519", "ssh-rsa", "ssh-ed25519", "p256tag", "piv-p256"})

_BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeFile:
    """The public facts of an age file; nothing here was authenticated."""

    version: str
    stanza_kinds: tuple[str, ...]
    is_armored: bool
    is_post_quantum: bool | None
    header_bytes: int
    armor_bytes: int
    overhead_bytes: int
    payload_bytes: int
    chunk_count: int


def inspect(source: Source, *, size_bytes: int | None = None) -> AgeFile:
    """The facts of a binary or armored age file.

    With the size of a binary file given only its header is read. `is_post_quantum` is None when a
    kind of recipient is not known. Raises `IntegrityError` for what cannot be an age file.
    """
    counted = _CountingSource(source)
    exact, is_armored = open_armor(counted)
    header = read_header(exact)
    if size_bytes is None or is_armored:
        rest = 0
        while block := exact.read(_BLOCK_BYTES):
            rest += len(block)
    else:
        rest = size_bytes - header.size_bytes
    if rest < NONCE_BYTES:
        raise IntegrityError("age header is wrong: the file ends before its payload")
    payload_bytes = plain_size(rest - NONCE_BYTES)
    kinds = tuple(stanza.kind for stanza in header.stanzas)
    return AgeFile(
        version=VERSION,
        stanza_kinds=kinds,
        is_armored=is_armored,
        is_post_quantum=_is_post_quantum(kinds),
        header_bytes=header.size_bytes,
        armor_bytes=counted.bytes_read - header.size_bytes - rest if is_armored else 0,
        overhead_bytes=rest - payload_bytes,
        payload_bytes=payload_bytes,
        chunk_count=chunk_count(payload_bytes),
    )


class _CountingSource:
    """A source that counts what was read from another."""

    __slots__ = ("_source", "bytes_read")

    def __init__(self, source: Source) -> None:
        self._source = source
        self.bytes_read = 0

    def read(self, size: int, /) -> bytes | None:
        data = self._source.read(size)
        self.bytes_read += len(data or b"")
        return data


def _is_post_quantum(kinds: tuple[str, ...]) -> bool | None:
    if _UNSAFE_KINDS.intersection(kinds):
        return False
    known = _SAFE_KINDS.intersection(kinds)
    return True if known else None
