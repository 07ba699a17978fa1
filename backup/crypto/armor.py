"""The ASCII form of age files: strict PEM (age.md, "ASCII armor"; RFC 7468, figure 3)."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from backup.crypto.canonical import decode_padded
from backup.crypto.source import Buffer, ExactSource, Sink, Source, write_all
from backup.errors import IntegrityError

BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
END = b"-----END AGE ENCRYPTED FILE-----"

_COLUMNS = 64
_LINE_BYTES = 48
_BLOCK_BYTES = 64 * 2**10
_LINES_PER_BLOCK = 1024
_BYTES_PER_BLOCK = _LINES_PER_BLOCK * _LINE_BYTES
_MAX_LINE = 1024
_FIRST_LOOK_BYTES = 4 * 2**10
_WHITESPACE = b" \t\r\n"


class ArmorReader:
    """A source of the binary file inside an armored one. Reads raise `IntegrityError`.

    LF and CRLF are accepted, and whitespace before and after; anything else that the writer would
    not have written is refused, since armor is what others can change unseen.
    """

    __slots__ = ("_blocks", "_rest")

    def __init__(self, source: Source) -> None:
        self._blocks = _decode(_lines(source))
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none only after the armor was seen to be whole."""
        block = self._rest or next(self._blocks, b"")
        self._rest = block[size:]
        return block[:size]


class ArmorWriter:
    """A sink that writes armor to another; whole only once it was closed."""

    __slots__ = ("_rest", "_sink")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rest = b""
        write_all(sink, BEGIN + b"\n")

    def write(self, data: Buffer, /) -> int:
        """Take all of the bytes; up to 47 of them wait for a full line."""
        for start in range(0, len(data), _BYTES_PER_BLOCK):
            waiting = self._rest + bytes(data[start : start + _BYTES_PER_BLOCK])
            ready = len(waiting) - len(waiting) % _LINE_BYTES
            self._rest = waiting[ready:]
            self._write_lines(waiting[:ready])
        return len(data)

    def close(self) -> None:
        """Write the last lines; the sink below stays open."""
        self._write_lines(self._rest)
        write_all(self._sink, END + b"\n")

    def _write_lines(self, data: bytes) -> None:
        text = binascii.b2a_base64(data, newline=False)
        lines = (text[start : start + _COLUMNS] for start in range(0, len(text), _COLUMNS))
        write_all(self._sink, b"".join(line + b"\n" for line in lines))


def open_armor(source: Source) -> tuple[ExactSource, bool]:
    """The source of a binary age file, and whether armor had to be taken off."""
    exact = ExactSource(source)
    if exact.peek(_FIRST_LOOK_BYTES).lstrip(_WHITESPACE).startswith(BEGIN):
        return ExactSource(ArmorReader(exact)), True
    return exact, False


def _decode(lines: Iterator[bytes]) -> Iterator[bytes]:
    if _first_written(lines) != BEGIN:
        raise _wrong("it does not begin with the BEGIN line")
    full: list[bytes] = []
    for line in lines:
        if len(line) == _COLUMNS and not line.endswith(b"="):
            full.append(line)
            if len(full) == _LINES_PER_BLOCK:
                yield _decode_lines(full)
                full = []
            continue
        if line != END:
            if not 0 < len(line) <= _COLUMNS:
                raise _wrong("a line is empty or longer than 64 columns")
            full.append(line)
            if next(lines, None) != END:
                raise _wrong("a short line is not followed by the END line")
        if full:
            yield _decode_lines(full)
        if _first_written(lines) is not None:
            raise _wrong("something follows the END line")
        return
    raise _wrong("it has no END line")


def _decode_lines(lines: list[bytes]) -> bytes:
    try:
        return decode_padded(b"".join(lines))
    except ValueError as error:
        raise _wrong("a line is not canonical base64") from error


def _first_written(lines: Iterator[bytes]) -> bytes | None:
    """The first line that is not blank."""
    return next((line for line in lines if line.strip(_WHITESPACE)), None)


def _lines(source: Source) -> Iterator[bytes]:
    rest = b""
    while block := source.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
        if len(rest) > _MAX_LINE and rest.strip(_WHITESPACE):
            raise _wrong("a line is longer than 64 columns")
        rest = rest[-_MAX_LINE:]
    if rest:
        yield rest


def _wrong(reason: str) -> IntegrityError:
    return IntegrityError(f"age armor is wrong: {reason}")
