"""The ends of a running command that we hold: its output, its input, or only its life."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Final, Self, TypeAlias

from backup.errors import PostgresError
from backup.postgres.child import Child
from backup.postgres.command import RunAs

Buffer: TypeAlias = bytes | bytearray | memoryview

_SLICE_BYTES: Final = 128 * 1024


class MemoryFile:
    """A file in memory that a child can seek in; gone when closed."""

    def __init__(self, content: Buffer = b"", *, owner: RunAs | None = None) -> None:
        self.descriptor = os.memfd_create("strongroom", os.MFD_CLOEXEC)
        os.fchmod(self.descriptor, 0o600)  # libpq takes no password file that others can read
        if owner is not None:
            os.fchown(self.descriptor, owner.uid, owner.gid)
        self.write(content)

    def write(self, buffer: Buffer) -> None:
        """Append the whole buffer."""
        left = memoryview(buffer).cast("B")
        while left:
            left = left[os.write(self.descriptor, left) :]

    def reopened(self) -> int:
        """Return a descriptor that reads from the start and cannot write."""
        return os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


class Reader:
    """A running command's standard output."""

    def __init__(self, child: Child, descriptor: int) -> None:
        self._child = child
        self._descriptor = descriptor
        self._is_at_end = False

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of `buffer`, return how much; 0 only once the process exited with 0.

        Raises `PostgresError` at the end of the output of a process that failed, and
        `StalledError` when the watchdog ended it.
        """
        if not buffer:
            raise ValueError("an empty buffer cannot be told from the end of the output")
        self._child.waiting()
        count = os.readv(self._descriptor, [buffer])
        if count == 0:
            self._child.check()
            self._is_at_end = True
        self._child.moved()
        return count

    def end(self) -> None:
        """End the process, from any thread; a read that waits raises `PostgresError`."""
        self._child.end()

    def finish(self) -> None:
        """Raise unless all output was read and the process exited with 0."""
        if not self._is_at_end and self.readinto(memoryview(bytearray(1))):
            raise PostgresError(f"{self._child.label}: its output was not read to the end")


class Writer:
    """A running command's standard input. What it prints joins the tail of its stderr."""

    def __init__(self, child: Child, descriptor: int) -> None:
        self._child = child
        self._descriptor = descriptor

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    @property
    def stderr_tail(self) -> str:
        """The last 16 KiB of what it printed."""
        return self._child.stderr_tail

    def write(self, buffer: Buffer) -> bool:
        """Hand over the whole buffer. False: it has exited with 0 and wants no more.

        Raises `PostgresError` when the process failed, `StalledError` when the watchdog ended it.
        """
        left = memoryview(buffer).cast("B")
        while left:
            self._child.waiting()
            try:
                left = left[os.write(self._descriptor, left[:_SLICE_BYTES]) :]
            except BrokenPipeError:
                self._child.check()
                return False
            self._child.moved()
        return True

    def end(self) -> None:
        """End the process, from any thread; a write that waits raises `PostgresError`."""
        self._child.end()


class Server:
    """A running command that goes on until the block is left."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    @property
    def stderr_tail(self) -> str:
        """The last 16 KiB of its log."""
        return self._child.stderr_tail

    def ended_within(self, limit: timedelta) -> bool:
        """Wait up to `limit` and return whether it has ended."""
        return self._child.ended_within(limit)
