"""The textual header of an age file: stanzas that wrap the file key, and a MAC over them.

Specification: C2SP age.md, "Header".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backup.crypto.canonical import decode_unpadded, encode_unpadded
from backup.crypto.source import ExactSource
from backup.errors import IntegrityError

VERSION = "age-encryption.org/v1"
FILE_KEY_BYTES = 16
WRAPPED_KEY_BYTES = 32
# The format has no limit of its own; a reader with constant memory needs one.
MAX_HEADER_BYTES = 4 * 2**20

_VERSION_LINE = VERSION.encode() + b"\n"
_COLUMNS = 64
_FIRST_LOOK_BYTES = 4 * 2**10
_SHA256 = hashes.SHA256()
_ARGUMENT = re.compile(rb"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """One recipient's copy of the file key: a kind, its arguments and the wrapped key."""

    kind: str
    arguments: tuple[str, ...]
    body: bytes

    def encode(self) -> bytes:
        """The stanza as it stands in a header; its last line is shorter than 64 columns."""
        body = encode_unpadded(self.body)
        lines = [" ".join(("->", self.kind, *self.arguments)).encode()]
        lines += [body[start : start + _COLUMNS] for start in range(0, len(body) + 1, _COLUMNS)]
        return b"\n".join(lines) + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A parsed header; `signed` are the bytes that the MAC covers, exactly as they were read."""

    stanzas: tuple[Stanza, ...]
    signed: bytes
    mac: bytes
    size_bytes: int

    def require_mac(self, file_key: bytes) -> None:
        """Raises `IntegrityError` unless whoever wrote the header knew the file key."""
        if not hmac.compare_digest(_mac(file_key, self.signed), self.mac):
            raise IntegrityError("age header MAC is wrong: the header was changed")


def encode_header(stanzas: list[bytes], file_key: bytes) -> bytes:
    """The whole header, MAC line included, around encoded stanzas."""
    signed = b"".join((_VERSION_LINE, *stanzas, b"---"))
    return b"".join((signed, b" ", encode_unpadded(_mac(file_key, signed)), b"\n"))


def read_header(source: ExactSource) -> Header:
    """Read exactly the header from the source. Raises `IntegrityError`."""
    header = peek_header(source.peek)
    source.read(header.size_bytes)
    return header


def peek_header(peek: Callable[[int], bytes]) -> Header:
    """The header at the start of what `peek` shows, given a size. Raises `IntegrityError`."""
    size = _FIRST_LOOK_BYTES
    while True:
        start = peek(size)
        header = _split(start, is_whole=len(start) < size)
        if header is not None:
            return header
        size = min(size * 8, MAX_HEADER_BYTES)


def derive(ikm: bytes, *, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 with 32 bytes of output (RFC 5869)."""
    return HKDF(_SHA256, 32, salt, info).derive(ikm)


def decode_argument(stanza: Stanza, text: str, *, size_bytes: int) -> bytes:
    """A base64 argument of exactly `size_bytes`; anything else is an `IntegrityError`."""
    try:
        value = decode_unpadded(text.encode())
    except ValueError as error:
        raise malformed(stanza, "an argument is not canonical base64") from error
    if len(value) != size_bytes:
        raise malformed(stanza, f"an argument holds {len(value)} bytes, not {size_bytes}")
    return value


def require_wrapped_key(stanza: Stanza) -> None:
    """Raises `IntegrityError` unless the body holds 32 bytes.

    Checked before decrypting: longer bodies would make the reader a partitioning oracle.
    """
    if len(stanza.body) != WRAPPED_KEY_BYTES:
        raise malformed(stanza, f"the body holds {len(stanza.body)} bytes, not {WRAPPED_KEY_BYTES}")


def malformed(stanza: Stanza, reason: str) -> IntegrityError:
    """The error for a stanza that its own kind does not allow."""
    return IntegrityError(f"age header is wrong: {stanza.kind} stanza: {reason}")


def _mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.digest(derive(file_key, salt=b"", info=b"header"), signed, "sha256")


def _split(data: bytes, *, is_whole: bool) -> Header | None:
    """The header that `data` begins with, or None while more bytes are needed."""
    if not _VERSION_LINE.startswith(data[: len(_VERSION_LINE)]):
        raise IntegrityError(f"age header is wrong: the file does not begin with {VERSION}")
    # No line before the last can begin with a dash: stanzas begin with "->" and base64 has none.
    last_line = data.find(b"\n---")
    end = -1 if last_line < 0 else data.find(b"\n", last_line + 1)
    if end >= 0:
        return _parse(data[: end + 1], last_line + 1)
    if is_whole:
        raise IntegrityError("age header is wrong: it has no end")
    if len(data) >= MAX_HEADER_BYTES:
        raise IntegrityError(f"age header is wrong: it is longer than {MAX_HEADER_BYTES} bytes")
    return None


def _parse(header: bytes, last_line: int) -> Header:
    try:
        mac = decode_unpadded(header[last_line + 4 : -1])
    except ValueError as error:
        raise IntegrityError("age header is wrong: its MAC is not canonical base64") from error
    if header[last_line : last_line + 4] != b"--- " or len(mac) != 32:
        raise IntegrityError("age header is wrong: its last line is not --- and a MAC")
    stanzas = _parse_stanzas(header[len(_VERSION_LINE) : last_line])
    signed = header[: last_line + 3]
    return Header(stanzas=stanzas, signed=signed, mac=mac, size_bytes=len(header))


def _parse_stanzas(text: bytes) -> tuple[Stanza, ...]:
    stanzas = []
    lines = iter(text.split(b"\n")[:-1])
    for line in lines:
        arrow, *words = line.split(b" ")
        if arrow != b"->" or not words or not all(map(_ARGUMENT.fullmatch, words)):
            raise IntegrityError("age header is wrong: a stanza does not begin as it must")
        kind, *arguments = (word.decode("ascii") for word in words)
        body = []
        for body_line in lines:
            body.append(body_line)
            if len(body_line) != _COLUMNS:
                break
        if not body or len(body[-1]) >= _COLUMNS:
            raise IntegrityError(f"age header is wrong: the {kind} stanza has no short last line")
        try:
            wrapped = decode_unpadded(b"".join(body))
        except ValueError as error:
            raise IntegrityError(
                f"age header is wrong: the {kind} stanza's body is not canonical base64"
            ) from error
        stanzas.append(Stanza(kind=kind, arguments=tuple(arguments), body=wrapped))
    if not stanzas:
        raise IntegrityError("age header is wrong: it has no stanza")
    return tuple(stanzas)
