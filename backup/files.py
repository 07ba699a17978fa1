"""Files of this machine that are written whole or not at all, and durably.

They raise `OSError`; who calls says what the file was for.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644


def create(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Write a new file, its bytes on the disk; its name is after `sync_directory`.

    It has its own name from the start: keys go onto USB sticks, whose file systems have no hard
    links, and a rename would replace what is there. Raises `FileExistsError`; no error leaves it.
    """
    with _written(path, data, mode):
        pass


def write_new(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Write a file where none is, and what is missing of its directories.

    Raises `FileExistsError`. The file system has hard links.
    """
    make_directory(path.parent)
    with _written(_unfinished(path), data, mode) as unfinished:
        os.link(unfinished, path)  # a rename would replace what is there
        with suppress(OSError):  # the same file under another name harms nobody
            unfinished.unlink()
    sync_directory(path.parent)


def write_over(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Write a file, also into the place of an older one, and what is missing of its directories.

    After an error the old one is there, or the new one.
    """
    make_directory(path.parent)
    with _written(_unfinished(path), data, mode) as unfinished:
        unfinished.replace(path)
    sync_directory(path.parent)


def move_over(unfinished: Path, path: Path) -> None:
    """Give a file or directory another name in its directory; durable on return.

    What was there under that name is replaced, if it is a file or an empty directory.
    """
    unfinished.replace(path)
    sync_directory(path.parent)


def make_directory(path: Path, *, mode: int = 0o700) -> None:
    """Make a directory and those above it that are missing, all of this mode; durable."""
    if path.is_dir():
        return
    make_directory(path.parent, mode=mode)
    with suppress(FileExistsError):  # another process made it meanwhile
        path.mkdir(mode=mode)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Flush a directory's names to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


@contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """Make a file, its bytes on the disk. What fails then, here or in the block, removes it."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        yield path
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
