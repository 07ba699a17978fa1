"""Calls that may hang, in a thread of their own that nobody waits for longer than he has to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

_Result = TypeVar("_Result")


class Limited:
    """Runs one call at a time in a thread, and gives up on it after a limit."""

    def __init__(self, name: str, limit: timedelta) -> None:
        self._name = name
        self._limit = limit
        self._hanging: threading.Thread | None = None

    def call(self, function: Callable[[], _Result]) -> _Result:
        """Return what the function returns; what it raises passes through.

        Raises `TimeoutError` if it takes too long, or still hangs from the last time.
        """
        if self._hanging is not None and self._hanging.is_alive():
            raise TimeoutError("the delivery before still hangs")
        results: list[_Result] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function())
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
                errors.append(error)

        thread = threading.Thread(target=run, name=self._name, daemon=True)
        thread.start()
        thread.join(self._limit.total_seconds())
        if thread.is_alive():
            self._hanging = thread
            raise TimeoutError(f"no answer within {self._limit.total_seconds():.0f} s")
        if errors:
            raise errors[0]
        return results[0]
