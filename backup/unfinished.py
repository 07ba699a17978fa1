"""The chunks of runs that did not finish, so that the next run uses what they stored.

A file in the state directory: lines as in a chunk list, written as the objects are put. It is a
hint and no proof: a line counts only while the object named by its SHA-256 is in the store.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from backup.errors import FULL_DISK_HINTS, IntegrityError, StoreError
from backup.repository.chunks import ChunkRef, decode_list, encode_list


class UnfinishedList:
    """What this run and the unfinished ones before it have put."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def earlier(self) -> Iterator[ChunkRef]:
        """Yield what earlier runs noted; a line that a crash cut short is passed over."""
        try:
            with self._path.open("rb") as lines:
                for line in lines:
                    with contextlib.suppress(IntegrityError):
                        yield from decode_list(line, self._path.name)
        except OSError as error:
            raise _store_error(self._path, error) from error

    def remember(self, ref: ChunkRef) -> None:
        """Note a chunk; one write, so that a kill leaves whole lines. Raises `StoreError`."""
        line = encode_list([ref])
        try:
            with self._lock:
                written = os.write(self._descriptor, line)
        except OSError as error:
            raise _store_error(self._path, error) from error
        if written != len(line):
            raise StoreError(
                f"writing {self._path}: no space for a whole line",
                hint=FULL_DISK_HINTS[errno.ENOSPC],
            )

    def forget(self) -> None:
        """The backup exists: its own lists name the chunks. One that stays behind is still true."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def unfinished_objects(
    state_directory: Path, repository_id: str, since: datetime
) -> frozenset[bytes]:
    """Return the SHA-256 of each object that this host's unfinished runs stored since then.

    They are no run's yet, and the next one may use them. A list that nobody has touched for
    longer belongs to nothing that is still backed up.
    """
    found: set[bytes] = set()
    for path in (state_directory / "unfinished").glob(f"{repository_id}-*.chunks"):
        try:
            if path.stat().st_mtime < since.timestamp():
                continue
            for line in path.read_bytes().splitlines(keepends=True):
                with contextlib.suppress(IntegrityError):
                    found.update(ref.sha256 for ref in decode_list(line, path.name))
        except FileNotFoundError:  # that run has just finished
            continue
        except OSError as error:
            raise StoreError(f"reading {path}: {error.strerror or error}") from error
    return frozenset(found)


@contextmanager
def unfinished_list(path: Path) -> Iterator[UnfinishedList]:
    """Open the list, or begin one; it stays behind unless it was told to forget."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _store_error(path, error) from error
    try:
        _end_line(path, descriptor)
        yield UnfinishedList(path, descriptor)
    finally:
        with contextlib.suppress(OSError):  # a line that is lost costs an upload and proves nothing
            os.close(descriptor)


def _end_line(path: Path, descriptor: int) -> None:
    """End a line that a crash cut short: it must neither count nor swallow the next one."""
    try:
        if os.fstat(descriptor).st_size:
            os.write(descriptor, b"-\n")
    except OSError as error:
        raise _store_error(path, error) from error


def _store_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"writing {path}: {error.strerror or error}",
        hint=FULL_DISK_HINTS.get(error.errno or 0, "the state directory must be this user's own"),
    )
