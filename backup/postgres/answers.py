"""Waiting for an answer that may take hours, and not for one that never comes.

A query that counts or sorts, or an index that is built, moves no byte for as long as it takes. So
who hears nothing asks over another connection whether the server is still at it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from backup.errors import StalledError

_Result = TypeVar("_Result")

# How long nothing is heard before it is asked.
PATIENCE = timedelta(minutes=1)
_DOUBTS = 2


async def answered(
    work: Awaitable[_Result],
    *,
    label: str,
    is_at_work: Callable[[], Coroutine[Any, Any, bool]],
    moved: Callable[[], int] = lambda: 0,
    patience: timedelta | None = None,
) -> _Result:
    """Return what `work` returns; whatever happens it is over then.

    Raises `StalledError` when `moved` stood still and `is_at_work` said no, twice, each after
    `patience`: once may be a moment between two queries.
    """
    patience = patience or PATIENCE
    task = asyncio.ensure_future(work)
    doubts, seen = 0, moved()
    try:
        while not (await asyncio.wait([task], timeout=patience.total_seconds()))[0]:
            before, seen = seen, moved()
            is_alive = before != seen or await is_at_work()
            doubts = 0 if is_alive else doubts + 1
            if doubts == _DOUBTS and not task.done():
                raise StalledError(
                    f"{label}: no answer for {patience * _DOUBTS}, and the server does not say"
                    " that it is at work",
                    hint="check the network to the server, and what pg_stat_activity shows",
                )
        return await task
    finally:
        task.cancel()
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:  # again: what was begun is ended all the same
                continue
        if not task.cancelled():
            task.exception()  # it follows from why we leave, or is raised above
