"""Where a local store's files lie until they are whole: a directory per writer, `.incoming/<hex>`.

The directory is locked for as long as its writer lives. What a killed writer leaves is removed by
the next one, but first every directory of the store is flushed: the dead one may have linked
files whose names are not on the disk yet, and to the next backup they look like stored objects.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup.files import sync_directory
from backup.repository.stores.base import Buffer

INCOMING = ".incoming"
FILE_MODE = 0o640

_LOCK = "lock"


class Incoming:
    """One writer's own directory of files that are not visible yet."""

    def __init__(self, root: Path) -> None:
        """Make and lock it, after clearing away what dead writers left. `.incoming` exists."""
        parent = root / INCOMING
        with _locked(parent):
            dead = [path for path in parent.iterdir() if path.is_dir() and _is_dead(path)]
            if dead:
                _sync_tree(root)
            for path in dead:
                _remove(path)
            self._path = parent / secrets.token_hex(8)
            self._path.mkdir(mode=0o700)
            self._descriptor = _lock(self._path / _LOCK, fcntl.LOCK_EX)

    def write(self, data: Buffer) -> Path:
        """Return a new file that holds `data`, not flushed yet. A failure leaves no file."""
        path = self._path / secrets.token_hex(12)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
        try:
            view = memoryview(data).cast("B")
            while view:
                view = view[os.write(descriptor, view) :]
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        return path

    def end(self, *, is_clean: bool) -> None:
        """Remove the directory; one that is not clean stays for the next writer to see to."""
        if is_clean:
            _remove(self._path)
        with contextlib.suppress(OSError):  # it holds no data
            os.close(self._descriptor)


def sync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a writer's directory, which is flat; what can't be removed is left."""
    with contextlib.suppress(OSError):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()


def _sync_tree(root: Path) -> None:
    for directory, _, _ in os.walk(root):
        # Nobody who may not read a directory had anything of ours in it: lost+found, say.
        with contextlib.suppress(PermissionError, FileNotFoundError):
            sync_directory(Path(directory))


@contextmanager
def _locked(parent: Path) -> Iterator[None]:
    """Hold off other writers that begin, so that none looks at a directory half made."""
    descriptor = _lock(parent / _LOCK, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, operation: int) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_dead(path: Path) -> bool:
    try:
        os.close(_lock(path / _LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except (BlockingIOError, FileNotFoundError, PermissionError):
        return False  # at work, just ended, or another user's
    return True
