"""Running a journey so that Ctrl-C and SIGTERM end it in good order, however often they come."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

_Result = TypeVar("_Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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

        for number in SIGNALS:
            signal.signal(number, interrupt)
        return await journey

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        for number in SIGNALS:  # nor may one break off the last words
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt from None
    finally:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            for number, handler in before.items():
                signal.signal(number, handler)
