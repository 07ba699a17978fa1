"""One started process: a thread of its own reads its stderr, watches the clock and reaps it.

The thread waits on a pidfd, and the process stays a zombie until its whole group has been killed,
so no signal can hit a stranger who was given the same number.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from backup.errors import PostgresError, StalledError

TAIL_BYTES: Final = 16 * 1024
# What a program of ours writes to stderr when it has moved something and has nothing to say.
HEARTBEAT: Final = b"\0"
_SHOWN_CHARACTERS: Final = 2000
_LONGEST_NAP: Final = 3600.0

Ending: TypeAlias = Literal["stall", "timeout", "request"]


class Child:
    """A process that leads its own group. Its methods may be called from any thread.

    `is_heard`: what it says on stderr counts as movement. `HEARTBEAT` says nothing else.
    """

    def __init__(
        self,
        *,
        label: str,
        pid: int,
        reap: Callable[[], int],
        stderr: int,
        stall: timedelta | None = None,
        timeout: timedelta | None = None,
        grace: timedelta,
        is_heard: bool = False,
    ) -> None:
        self.label = label
        self.pid = pid
        self._reap = reap
        self._stderr = stderr
        self._stall = stall
        self._timeout = timeout
        self._grace = grace
        self._is_heard = is_heard
        self._tail = bytearray()
        self._started = self._moved = time.monotonic()
        self._ending: Ending | None = None
        self._kill_at: float | None = None
        self._is_waited_for = self._was_waited_for = False
        self._return_code: int | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._pidfd = os.pidfd_open(pid)
        os.set_blocking(stderr, False)
        threading.Thread(target=self._mind, name=f"mind {label}", daemon=True).start()

    @property
    def stderr_tail(self) -> str:
        """The last 16 KiB of what it said, undecodable bytes replaced."""
        with self._lock:
            return self._tail.decode(errors="replace")

    def ended_within(self, limit: timedelta) -> bool:
        """Wait up to `limit` and return whether it has ended."""
        return self._ended.wait(limit.total_seconds())

    def waiting(self) -> None:
        """Note that we wait for it, so that a stall is laid at the right door."""
        self._is_waited_for = True

    def moved(self) -> None:
        """Note that bytes moved: the stall watchdog starts again."""
        self._is_waited_for = False
        self._moved = time.monotonic()

    @property
    def ending(self) -> Ending | None:
        """Why it was ended, if it was."""
        return self._ending

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Signal the group, and kill it when it has not gone after the grace period."""
        self._end("request", how)

    def wait(self) -> int:
        """Return the exit code, negative for a signal, once the process has been reaped."""
        self._ended.wait()
        assert self._return_code is not None
        return self._return_code

    def check(self) -> None:
        """Wait for it, and raise unless it ended by itself with exit code 0."""
        self.waiting()
        code = self.wait()
        if self._ending == "stall":
            why = "it moved no byte" if self._was_waited_for else "we asked nothing of it"
            raise StalledError(f"{self.label}: {why} for {self._stall}, so it was ended")
        if self._ending == "timeout":
            raise StalledError(f"{self.label}: not done after {self._timeout}, so it was ended")
        if self._ending == "request":
            raise PostgresError(f"{self.label}: was ended before it was done")
        if code != 0:
            how = f"exit code {code}" if code > 0 else f"ended by {_signal_name(-code)}"
            raise PostgresError(f"{self.label}: {how}{self._last_words()}")

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.stderr_tail.splitlines() if line.strip()]
        words = "; ".join(lines)[-_SHOWN_CHARACTERS:]
        return f": {words}" if words else ""

    def _end(self, ending: Ending, how: signal.Signals) -> None:
        with self._lock:
            if self._ending is not None or self._return_code is not None:
                return
            self._ending = ending
            self._was_waited_for = self._is_waited_for
            self._kill_at = time.monotonic() + self._grace.total_seconds()
            self._signal(how)
            os.eventfd_write(self._wake, 1)

    def _signal(self, how: signal.Signals) -> None:
        # Not reaped yet, so the number is still its own. A group that is gone is what we wanted.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, how)

    def _mind(self) -> None:
        try:
            self._watch()
        finally:
            self._finish()  # on any error too: nobody may wait for ever for a process unminded

    def _watch(self) -> None:
        poller = select.poll()
        for descriptor in (self._pidfd, self._wake, self._stderr):
            poller.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poller.poll(self._milliseconds_left())}
            if self._stderr in ready and not self._drain():
                poller.unregister(self._stderr)
            if self._pidfd in ready:
                break
            if self._wake in ready:
                os.eventfd_read(self._wake)
            self._enforce()

    def _finish(self) -> None:
        with self._lock:
            self._signal(signal.SIGKILL)  # what it forked and left behind
            self._return_code = self._reap()
        self._drain()
        for descriptor in (self._pidfd, self._wake, self._stderr):
            os.close(descriptor)
        self._ended.set()

    def _drain(self) -> bool:
        """Read what is there; False at the end."""
        while True:
            try:
                data = os.read(self._stderr, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            if self._is_heard:
                self.moved()
                data = data.replace(HEARTBEAT, b"")
            with self._lock:
                self._tail += data
                del self._tail[:-TAIL_BYTES]

    def _deadline(self) -> tuple[float, Ending] | None:
        deadlines: list[tuple[float, Ending]] = []
        if self._stall is not None:
            deadlines.append((self._moved + self._stall.total_seconds(), "stall"))
        if self._timeout is not None:
            deadlines.append((self._started + self._timeout.total_seconds(), "timeout"))
        return min(deadlines, default=None)

    def _milliseconds_left(self) -> float | None:
        if self._kill_at is not None:
            at = self._kill_at
        elif (deadline := self._deadline()) is not None:
            at = deadline[0]
        else:
            return None
        # poll takes milliseconds in a C int: 24 days; waking up once an hour costs nothing
        return min(max(0.0, at - time.monotonic()), _LONGEST_NAP) * 1000 + 1

    def _enforce(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at:
                with self._lock:
                    self._signal(signal.SIGKILL)
                    self._kill_at = now + 1
        elif (deadline := self._deadline()) is not None and now >= deadline[0]:
            self._end(deadline[1], signal.SIGTERM)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
