"""Reading exactly as many bytes as asked for, from sources that give as many as they like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class Source(Protocol):
    """Anything to read from: a file, a pipe, `io.BytesIO`."""

    def read(self, size: int, /) -> bytes | None:
        """Up to `size` bytes; none at the end."""


class Sink(Protocol):
    """Anything to write to: a file, a pipe, `io.BytesIO`."""

    def write(self, data: memoryview, /) -> int | None:
        """Take some of the bytes and return how many, or None for all of them."""


class PieceSource:
    """A source of pieces that come one by one, of whatever size."""

    __slots__ = ("_pieces", "_rest")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes: less where a piece ends, none when there is none left."""
        while not self._rest and (piece := next(self._pieces, None)) is not None:
            self._rest = memoryview(piece)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)


class ExactSource:
    """A source whose reads are short only at the end, with a look ahead."""

    __slots__ = ("_ahead", "_source")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._ahead = b""

    def read(self, size: int, /) -> bytes:
        """Exactly `size` bytes, or all that is left."""
        data = self.peek(size)
        if len(data) <= size:
            self._ahead = b""
            return data
        self._ahead = data[size:]
        return data[:size]

    def peek(self, size: int, /) -> bytes:
        """At least `size` bytes, or all that is left, which the next read returns again."""
        if len(self._ahead) < size:
            parts = [self._ahead] if self._ahead else []
            missing = size - len(self._ahead)
            while missing > 0 and (part := self._source.read(missing)):
                parts.append(part)
                missing -= len(part)
            self._ahead = b"".join(parts)
        return self._ahead


def write_all(sink: Sink, data: Buffer) -> None:
    """Write everything, also to unbuffered sinks that take a part at a time."""
    rest = memoryview(data)
    while rest:
        written = sink.write(rest)
        rest = rest[len(rest) if written is None else written :]
