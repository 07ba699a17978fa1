"""What a dump begins with: the least that is asked of a tool that exits with 0.

The tool may be a wrapper that somebody put on PATH; one that prints nothing at all and succeeds
must not become a backup.
"""

from __future__ import annotations

from backup.errors import PostgresError
from backup.repository.chunking import Source
from backup.repository.manifest import PartKind

# pg_backup_archiver.c, WriteHead; pg_dumpall.c, main
_ARCHIVE = b"PGDMP"
_SCRIPT = b"--\n-- PostgreSQL database cluster dump\n"


class Opening:
    """A stream that is passed on once it has begun as this kind of part does."""

    def __init__(self, source: Source, kind: PartKind, label: str) -> None:
        self._source = source
        self._due = _SCRIPT if kind == "globals" else _ARCHIVE
        self._what = "script of roles" if kind == "globals" else "archive"
        self._label = label

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of `buffer`; raises `PostgresError` if the stream begins otherwise."""
        count = self._source.readinto(buffer)
        if self._due:
            while 0 < count < len(self._due):
                more = self._source.readinto(buffer[count:])
                if more == 0:
                    break
                count += more
            if buffer[: min(count, len(self._due))] != self._due:
                raise PostgresError(
                    f"{self._label}: it exited with 0, but what it wrote is no {self._what}",
                    hint="look at the tool: `strongroom doctor` names its directory",
                )
            self._due = b""
        return count
