"""Calls that a network may never answer: each has a deadline, and none keeps the process alive.

A socket's own timeout starts anew with every byte, so a server that sends one byte a second would
hold a backup for weeks. Here the caller waits on a thread of ours until the deadline and no longer;
what still hangs then is left behind, and ends with the process at the latest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

_Result = TypeVar("_Result")
_Work = Callable[[], None]


class Calls:
    """Threads that run calls; one that hangs is not used again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[_Work]] = []

    def submit(self, call: Callable[[], _Result]) -> Future[_Result]:
        """Begin a call at once, whatever other calls are at work."""
        future: Future[_Result] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            queue = self._idle.pop() if self._idle else None
        if queue is None:
            queue = SimpleQueue()
            threading.Thread(
                target=self._serve, args=(queue,), name=self._name, daemon=True
            ).start()
        queue.put(work)
        return future

    def _serve(self, queue: SimpleQueue[_Work]) -> None:
        while True:
            queue.get()()
            with self._lock:
                self._idle.append(queue)


class InFlight:
    """Room for so many calls and so many bytes at once; one call always fits."""

    def __init__(self, *, calls: int, size_bytes: int) -> None:
        self._calls = calls
        self._size_bytes = size_bytes
        self._changed = threading.Condition()
        self._count = 0
        self._held_bytes = 0

    def enter(self, size_bytes: int, timeout_seconds: float) -> bool:
        """Wait for room and take it; False if there was none in time."""
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: (
                    self._count == 0
                    or (
                        self._count < self._calls
                        and self._held_bytes + size_bytes <= self._size_bytes
                    )
                ),
                timeout_seconds,
            )
            if has_room:
                self._count += 1
                self._held_bytes += size_bytes
            return has_room

    def leave(self, size_bytes: int) -> None:
        """Give the room back."""
        with self._changed:
            self._count -= 1
            self._held_bytes -= size_bytes
            self._changed.notify_all()
