"""Waiting for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain, repeat

import pytest

from backup.errors import StalledError
from backup.postgres.answers import answered

SOON = timedelta(milliseconds=1)


def wait_while(says: Iterator[bool], *, moves: bool = False) -> list[str]:
    """Wait for what never comes while the server says this; return what was done about it."""
    seen: list[str] = []
    moved = iter(range(5)) if moves else repeat(0)

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    async def is_at_work() -> bool:
        seen.append("asked")
        return next(says)

    async def run() -> None:
        await answered(
            work(),
            label="db1",
            is_at_work=is_at_work,
            moved=lambda: next(moved, 4),
            patience=SOON,
        )

    with pytest.raises(StalledError, match=r"db1: no answer for 0:00:00\.002"):
        asyncio.run(run())
    return seen


def test_what_the_server_works_at_is_waited_for() -> None:
    """Two refusals in a row end it; one may be a moment between two queries."""
    says = chain([True, False, True, True, False], repeat(False))
    assert wait_while(says) == ["asked"] * 6 + ["ended"]


def test_what_moves_is_not_asked_about() -> None:
    """Each byte is a sign that it goes on."""
    assert wait_while(repeat(False), moves=True) == ["asked"] * 2 + ["ended"]


def test_an_answer_is_returned_and_a_failure_raised() -> None:
    """Nothing is asked where the answer comes in time."""

    async def never() -> bool:
        raise AssertionError("asked")

    async def answer() -> int:
        return 7

    async def failure() -> int:
        raise ValueError("no")

    async def run() -> None:
        assert await answered(answer(), label="db1", is_at_work=never) == 7
        with pytest.raises(ValueError, match="no"):
            await answered(failure(), label="db1", is_at_work=never)

    asyncio.run(run())


def test_who_is_cancelled_leaves_nothing_at_work() -> None:
    """However often: what was begun is over before it goes on."""
    steps: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            steps.append("ended")
            raise OSError("late") from None

    async def at_work() -> bool:
        return True

    async def run() -> None:
        waiting = asyncio.create_task(answered(work(), label="db1", is_at_work=at_work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        steps.append("over")

    asyncio.run(run())
    assert steps == ["ended", "over"]
