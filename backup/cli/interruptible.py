"""Running a journey so that Ctrl-C and SIGTERM end it in good order, however often they come."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

from backup.cli import signals

_Result = TypeVar("_Result")


def run(journey: Coroutine[Any, Any, _Result]) -> _Result:
    """Return what the journey returns; the first signal cancels it, further ones change nothing.

    Raises `KeyboardInterrupt` when it has been cancelled and cleaned up after itself. A second
    signal must not break off the cleaning up; who can't wait has SIGKILL.
    """

    async def cancellable() -> _Result:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def cancel() -> None:
            if task is not None and not task.cancelling():
                task.cancel()

        def interrupt(number: int, frame: FrameType | None) -> None:
            del number, frame
            if not loop.is_closed():
                loop.call_soon_threadsafe(cancel)

        for number in signals.SIGNALS:
            signal.signal(number, interrupt)
        return await journey

    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        signals.ignore()  # nor may one break off the last words
        raise KeyboardInterrupt from None
    finally:
        if not signals.are_ignored():
            for number, handler in before.items():
                signal.signal(number, handler)
