"""Blocking work in threads, under asyncio's rules: awaited on every path, ended when cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from backup.errors import PostgresError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Endable(Protocol):
    """A running process that another thread may end."""

    def end(self) -> None:
        """End it; what waits for it raises."""


class Running:
    """The processes at work for one journey, so that all end when one of them fails."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: list[Endable] = []
        self._is_ended = False

    @contextmanager
    def entered(self, process: Endable) -> Iterator[None]:
        """Count a process in while the block lasts; end it at once if the journey has failed."""
        with self._lock:
            self._processes.append(process)
            is_ended = self._is_ended
        if is_ended:
            process.end()
        try:
            yield
        finally:
            with self._lock:
                self._processes.remove(process)

    def check(self) -> None:
        """Raise if the journey has failed elsewhere; called before something new is started."""
        if self._is_ended:
            raise PostgresError("ended because another part of the same run failed")

    def end(self) -> None:
        """End every process, now and later."""
        with self._lock:
            self._is_ended = True
            processes = list(self._processes)
        for process in processes:
            process.end()


async def run_each(
    function: Callable[[_Item], _Result], items: Sequence[_Item], *, jobs: int, running: Running
) -> list[_Result]:
    """Return the results in order; items start in order, `jobs` at once, each in a thread.

    When one fails or this is cancelled, `running` is ended and every thread awaited before the
    first failure goes on its way: nothing is left at work.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(jobs, thread_name_prefix="part") as pool:
        futures = [loop.run_in_executor(pool, function, item) for item in items]
        try:
            return await asyncio.gather(*futures)
        except BaseException:
            running.end()
            for future in futures:
                future.cancel()
            await settled(futures)
            raise


async def to_end(
    function: Callable[[], _Result], *, stop: Callable[[], None] | None = None
) -> _Result:
    """Return what the function returns in a thread; when cancelled, only once it has ended.

    Unlike `asyncio.to_thread`, which leaves the thread at work with what its caller closes. `stop`
    is called when this is cancelled, so that what may take long ends soon.
    """
    future = asyncio.get_running_loop().run_in_executor(None, function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        await settled([future])
        raise


async def settled(futures: Sequence[asyncio.Future[_Result]]) -> None:
    """Wait for all, whatever came of them; their failures follow from the first one."""
    waiting = asyncio.gather(*futures, return_exceptions=True)
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            continue
