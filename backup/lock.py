"""One run at a time on this host: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backup.errors import FULL_DISK_HINTS, BusyError, StoreError


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock while the block lasts. Raises `BusyError` at once if another run holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"{doing}: opening the lock {path}: {error.strerror or error}",
            hint=FULL_DISK_HINTS.get(
                error.errno or 0, "the state directory must be this user's own"
            ),
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise BusyError(
                f"{doing}: another run is at work (process {holder or 'unknown'})",
                hint="wait for it; `ps` shows how long it has been running",
            ) from None
        # For the message above only: a full disk is no reason not to hold the lock.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        with suppress(OSError):  # it holds no data, and the lock is gone in any case
            os.close(descriptor)
