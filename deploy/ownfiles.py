"""Files on the operator's machine, keys, certificates, passwords: each whole, or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from backup.errors import SettingsError


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put a file into its place, also into that of an older one; durable on return.

    Raises `SettingsError`, and what was there before is there still, or the whole new one.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        for above in reversed(list(_missing(path.parent))):
            above.mkdir(mode=0o700)
        try:
            descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            take_place(unfinished, path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SettingsError(f"writing {path}: {error.strerror}") from error


def take_place(unfinished: Path, path: Path) -> None:
    """Give a file another name, which an older one may have; durable on return. `OSError`."""
    unfinished.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _missing(directory: Path) -> Iterator[Path]:
    while not directory.exists():
        yield directory
        directory = directory.parent
