"""Ctrl-C at any line of a process's life with us, and a second one at anything done after that."""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from backup.postgres import process
from backup.postgres.command import Command
from backup.postgres.process import serving
from tests.lab.processes import command_lines

SOON_SECONDS = 20
SECONDS_OF_SLEEP = "613.25"  # what a test of ours is known by
SLEEPER = Command(label="sleep", argv=("sleep", SECONDS_OF_SLEEP))
PLACES = 1000  # more than there are


@contextmanager
def interrupted(line: int, step: int | None) -> Iterator[list[int]]:
    """Raise what Ctrl-C raises at the n-th line of the module, then at the n-th call of C.

    Before it, and after it: there real ones come, too. Yields what came to pass. Python drops a
    function that traces once it has raised, so the second comes by another kind of them.
    """
    came: list[int] = []
    counts = {"line": itertools.count(), "step": itertools.count()}

    def is_ours(frame: FrameType) -> bool:
        return frame.f_code.co_filename == process.__file__

    def by_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and next(counts["line"]) == line:
            came.append(frame.f_lineno)
            raise KeyboardInterrupt
        return by_line if is_ours(frame) else None

    def by_step(frame: FrameType, event: str, _: Any) -> None:
        if (
            len(came) == 1
            and is_ours(frame)
            and event in {"c_call", "c_return"}
            and next(counts["step"]) == step
        ):
            came.append(frame.f_lineno)
            raise KeyboardInterrupt

    before = sys.gettrace(), sys.getprofile()
    sys.setprofile(by_step)
    sys.settrace(by_line)
    try:
        yield came
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])


def live_and_be_interrupted(line: int, step: int | None = None) -> list[int]:
    """Start a process, let it go, and return at which lines that was interrupted."""
    try:
        with interrupted(line, step) as came, serving(SLEEPER, stop=signal.SIGTERM):
            pass
    except KeyboardInterrupt:
        assert came
    return came


def assert_nobody_sleeps(where: object) -> None:
    """What was started has ended, or does soon."""
    give_up = time.monotonic() + SOON_SECONDS
    while any(SECONDS_OF_SLEEP in text for _, text in command_lines()):
        assert time.monotonic() < give_up, where
        time.sleep(0.01)


def test_interrupted_at_any_line() -> None:
    """It passes through, and nobody is left, wherever it comes."""
    lines = set()
    for line in range(PLACES):
        came = live_and_be_interrupted(line)
        if not came:
            break
        lines.update(came)
        assert_nobody_sleeps(came)
    assert len(lines) > 25


# Between a block and its end the first one leaves the end to Python, which reports the second.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_at_any_line_and_once_more() -> None:
    """Whoever is impatient waits no longer for it, and leaves nobody either."""
    pairs = 0
    for line in range(PLACES):
        for step in range(PLACES):
            came = live_and_be_interrupted(line, step)
            if len(came) < 2:
                break
            pairs += 1
            assert_nobody_sleeps(came)
        if not came:
            break
    assert pairs > 50
