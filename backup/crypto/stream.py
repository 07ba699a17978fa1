"""The payload of an age file: 64 KiB chunks under ChaCha20-Poly1305 (age.md, "Payload").

A nonce is the chunk's number and a flag that marks the last chunk, so that chunks cannot be
dropped, swapped or cut off unseen.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from backup.crypto.header import derive
from backup.errors import IntegrityError

CHUNK_BYTES = 64 * 2**10
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
NONCE_BYTES = 16


def chunk_count(plain_bytes: int) -> int:
    """How many chunks a plaintext takes; an empty one takes an empty chunk."""
    return max(1, -(-plain_bytes // CHUNK_BYTES))


def sealed_size(plain_bytes: int) -> int:
    """The payload's size after its nonce."""
    return plain_bytes + chunk_count(plain_bytes) * TAG_BYTES


def plain_size(sealed_bytes: int) -> int:
    """The inverse of `sealed_size`; `IntegrityError` for a size that no plaintext has."""
    whole, rest = divmod(sealed_bytes, SEALED_CHUNK_BYTES)
    # A last chunk that is empty is allowed only when it is the only one.
    if rest and (rest < TAG_BYTES or (whole and rest == TAG_BYTES)):
        raise IntegrityError(f"age payload is wrong: {sealed_bytes} bytes are no whole chunks")
    if not sealed_bytes:
        raise IntegrityError("age payload is wrong: it has no chunk")
    return sealed_bytes - (whole + bool(rest)) * TAG_BYTES


class PayloadCipher:
    """Seals or opens the chunks of one payload in order; for one thread at a time."""

    __slots__ = ("_cipher", "_index")

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        self._cipher = ChaCha20Poly1305(derive(file_key, salt=nonce, info=b"payload"))
        self._index = 0

    def seal_chunk(self, plain: memoryview, sealed: memoryview, *, is_last: bool) -> None:
        """Fill `sealed` with the next chunk and its tag; only the last may be short."""
        self._cipher.encrypt_into(_nonce(self._index, is_last), plain, None, sealed)
        self._index += 1

    def open_chunk(self, sealed: memoryview, plain: memoryview, *, is_last: bool) -> bool:
        """Fill `plain` with the next chunk; False if it authenticates, but not in this place.

        Such a payload was cut after the chunk (`is_last`) or continued after its end (not
        `is_last`); the caller must raise `misplaced`. Any other chunk is an `IntegrityError`, and
        `plain` must then not be read.
        """
        if len(sealed) < TAG_BYTES or (self._index and len(sealed) == TAG_BYTES):
            raise IntegrityError(f"age payload is wrong: chunk {self._index} is too short")
        for flag in (is_last, not is_last) if len(plain) == CHUNK_BYTES else (is_last,):
            try:
                self._cipher.decrypt_into(_nonce(self._index, flag), sealed, None, plain)
            except InvalidTag:
                continue
            self._index += 1
            return flag == is_last
        raise IntegrityError(f"age payload is wrong: chunk {self._index} does not authenticate")


def misplaced(*, is_last: bool) -> IntegrityError:
    """The error for a chunk that authenticates where it must not stand."""
    if is_last:
        return IntegrityError("age payload is wrong: it ends before its last chunk")
    return IntegrityError("age payload is wrong: something follows its last chunk")


def _nonce(index: int, is_last: bool) -> bytes:
    return (index << 8 | is_last).to_bytes(12)
