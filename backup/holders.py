"""Which holders of leases are known to be dead: what a host notes of its own processes.

A process that holds a lease keeps a file in the state directory locked, and notes in it each object
of the lease before it puts it. The lock ends with the process, however that ends. So a lease that
is noted in a file that nobody has locked is held by nobody, and need not expire first. In doubt its
holder may be alive: on another host, before the last boot, with another state directory, if the
file was copied, and if a process of that number still is what it was.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import secrets
import time
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from backup.repository.canonical import encode
from backup.repository.lease import Lease

_log = logging.getLogger(__name__)

_SUFFIX: Final = ".held"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
# By then every lease that a dead process left has expired.
_KEPT_FOR: Final = timedelta(days=1)


class HolderRecord:
    """The file of one lease that this process holds, locked until it is ended or left."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def note(self, lease: Lease) -> None:
        """Note an object that is about to be put. Where that fails its lease has to expire."""
        with suppress(OSError):
            os.write(self._descriptor, _noted(lease))

    def end(self) -> None:
        """Remove it: the lease is over."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Unlock it: its object may still be there, and means nothing once this process is gone."""
        with suppress(OSError):  # the lock is gone in any case
            os.close(self._descriptor)


class Holders:
    """The processes of this host that hold leases, as far as they use this state directory."""

    def __init__(self, state_directory: Path) -> None:
        self.directory = state_directory / "leases"

    def begin(self) -> HolderRecord | None:
        """Begin the record of a lease; None where none can be kept: then the lease has to expire.

        A state directory that does not exist is not made.
        """
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._forget_old()
            return self._begin(_this_process())
        except OSError as error:
            _log.debug("no record of a lease is kept: %s", error)
            return None

    def is_dead(self, lease: Lease) -> bool:
        """Whether the process that wrote this is known to hold it no more."""
        if lease.host != platform.node():
            return False
        for path in self._records():
            with suppress(OSError):  # it has ended in this moment, or tells nothing
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    if _is_left(descriptor, lease):
                        return True
                finally:
                    os.close(descriptor)
        return False

    def _records(self) -> list[Path]:
        try:
            return [*self.directory.glob(f"*{_SUFFIX}")]
        except OSError:  # another user's: nothing is known
            return []

    def _begin(self, process: dict[str, object]) -> HolderRecord:
        path = self.directory / f"{secrets.token_hex(8)}{_SUFFIX}"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        record = HolderRecord(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            head = {**process, "file": _identity(descriptor)}
            os.write(descriptor, json.dumps(head).encode("ascii") + b"\n")
        except OSError:
            record.end()
            raise
        return record

    def _forget_old(self) -> None:
        """Remove what processes left behind that died long ago."""
        oldest = time.time() - _KEPT_FOR.total_seconds()
        for path in self._records():
            with suppress(OSError):
                if path.stat().st_mtime >= oldest:
                    continue
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)


def _is_left(descriptor: int, lease: Lease) -> bool:
    """Whether this file notes the lease, was kept by a process of this boot, and is unlocked."""
    text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    head_line, *noted = text.splitlines(keepends=True) or [b""]
    if _noted(lease) not in noted:
        return False
    try:
        head = json.loads(head_line)
        started = head.pop("started")
    except (ValueError, AttributeError, TypeError, KeyError):
        return False
    if head != {"boot": _boot(), "process": lease.process, "file": _identity(descriptor)}:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    # Nor is a lock believed that a network file system may have lost.
    return bool(_started(lease.process) != started)


def _noted(lease: Lease) -> bytes:
    """Return the line that stands for an object: nobody else ever puts the same."""
    return f"{lease.key} {sha256(encode(lease)).hexdigest()}\n".encode("ascii")


def _this_process() -> dict[str, object]:
    """Return what tells this process from every other. Raises `OSError` where /proc is missing."""
    return {"boot": _boot(), "process": os.getpid(), "started": _started(os.getpid())}


def _boot() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _started(process: int) -> str | None:
    """Return when a process started, in ticks since boot; None if there is none of that number."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()[
        19
    ]  # proc(5): field 22, and two stand before the bracket


def _identity(descriptor: int) -> list[int]:
    """Return what tells a file from its copies."""
    about = os.fstat(descriptor)
    return [about.st_dev, about.st_ino]
