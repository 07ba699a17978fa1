"""One run at a time."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from backup.errors import BusyError
from backup.lock import exclusive


def test_a_second_run_is_told_who_is_at_work(tmp_path: Path) -> None:
    """At once, with the process id."""
    path = tmp_path / "locks/run.lock"
    with exclusive(path, "backing up portal"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with (
            pytest.raises(BusyError, match=rf"backing up portal: .*\(process {os.getpid()}\)"),
            exclusive(path, "backing up portal"),
        ):
            pytest.fail("two runs at once")


def test_the_lock_is_free_again_after_a_run(tmp_path: Path) -> None:
    """However it ended."""
    path = tmp_path / "run.lock"

    def fails() -> None:
        with exclusive(path, "x"):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fails()
    with exclusive(path, "x"):
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """A killed run leaves a file and no lock."""
    path = tmp_path / "run.lock"
    child = os.fork()
    if child == 0:
        with exclusive(path, "x"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert path.read_text() == f"{child}\n"
    with exclusive(path, "x"):
        assert path.read_text() == f"{os.getpid()}\n"
