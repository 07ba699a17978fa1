"""Entries of the evidence log that a daemon fetched: `<state>/log/<repository id>.lines`.

For whoever looks next in another process, so that a status need not fetch a hundred days of a log
out of a bucket, an object an entry. Nothing in the file is believed: a line counts if its hash is
the leaf that this host remembers of that entry. It may be removed at any time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from backup.crypto import merkle

# Written anew once it is so much larger than what is looked at.
_SLACK: Final = 3
_SLACK_BYTES: Final = 2**20


class KeptLog:
    """The file; what cannot be read or written is done without."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, leaves: Sequence[bytes]) -> dict[int, bytes]:
        """Return the entries of which these are the leaves, by number, as far as they are there."""
        found: dict[int, bytes] = {}
        try:
            data = self._path.read_bytes()
        except OSError:
            return found
        for text in data.split(b"\n"):
            number, _, line = text.partition(b" ")
            if not number.isdigit() or int(number) >= len(leaves):
                continue
            if merkle.leaf_hash(line) == leaves[int(number)]:
                found[int(number)] = line
        return found

    def add(self, lines: Mapping[int, bytes], wanted: Mapping[int, bytes]) -> None:
        """Keep lines that were fetched; `wanted` is all that is looked at, these among it."""
        with suppress(OSError):
            size = self._path.stat().st_size if self._path.exists() else 0
            useful = sum(map(len, wanted.values()))
            if size <= _SLACK * useful + _SLACK_BYTES:
                _append(self._path, _text(lines))
                return
            new = self._path.with_suffix(".new")
            new.unlink(missing_ok=True)  # left by one that was killed here; one is at work
            _append(new, _text(wanted))
            new.replace(self._path)


def _append(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _text(lines: Mapping[int, bytes]) -> bytes:
    # Begun by a newline: what a crash cut short spoils no line but its own.
    return b"\n" + b"".join(b"%d %b\n" % (seq, line) for seq, line in lines.items())
