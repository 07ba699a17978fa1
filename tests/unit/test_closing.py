"""Calls that the disk refuses: at the very end of a run they harm nobody, before it they end it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backup.crypto.merkle import leaf_hash
from backup.errors import ObjectExistsError, StoreError
from backup.holders import Holders
from backup.journeys.export import _write_texts
from backup.lock import exclusive
from backup.logmemory import LogMemory
from backup.repository.chunks import ChunkRef
from backup.repository.stores.local import LocalStore
from backup.unfinished import unfinished_list

ONE = ChunkRef(b"\1" * 32, b"\2" * 32, 10, 20)


def use_lock(state: Path) -> None:
    """Hold the lock of a run."""
    with exclusive(state / "run.lock", "backing up portal"):
        pass


def use_list(state: Path) -> None:
    """Note a chunk, and forget it."""
    with unfinished_list(state / "run.chunks") as noting:
        noting.remember(ONE)
        noting.forget()


def use_log(state: Path) -> None:
    """Remember an entry of the log, flushed."""
    with LogMemory(state, "0" * 32).held() as leaves:
        leaves.add(leaf_hash(b"one"))


def use_holders(state: Path) -> None:
    """Hold a lease, and let go of it."""
    record = Holders(state).begin()
    assert record is not None
    record.end()


@pytest.mark.parametrize("use", [use_lock, use_list, use_log, use_holders])
@pytest.mark.parametrize("call", ["close", "unlink"])
def test_what_fails_at_the_very_end_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], None], call: str
) -> None:
    """What had to be durable was flushed before, and a lock ends with its descriptor."""
    real = getattr(os, call)

    def fails(argument: int | Path) -> None:
        if call == "close":  # close(2): the descriptor is gone, whatever it returns
            real(argument)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fails)
        use(tmp_path)
    use(tmp_path)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "close", "link", "unlink"])
def test_what_fails_while_an_object_is_stored_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Each of these, whichever of its kind it is: on a network file system close tells of losses.

    The object is not there, or whole; putting it again by the next run finds it so.
    """
    for at in range(1, 100):
        root = tmp_path / str(at)
        seen = 0
        real = getattr(os, call)

        def fails(*arguments: Any, real: Any = real, at: int = at, **named: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == at and call == "close":
                real(*arguments)
            if seen == at:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*arguments, **named)

        with monkeypatch.context() as patched:
            patched.setattr(os, call, fails)
            try:
                LocalStore(root).put("chunks/ab/cd", b"content")
            except StoreError as error:
                assert "Input/output error" in error.message
        with contextlib.suppress(ObjectExistsError):
            LocalStore(root).put("chunks/ab/cd", b"content")
        assert LocalStore(root).get("chunks/ab/cd") == b"content"
        if seen < at:
            break
    assert seen > 0


def test_texts_of_an_export_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses them is told of as the store's."""

    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StoreError, match="Input/output error"):
        _write_texts(tmp_path, {"README.txt": "text"})
