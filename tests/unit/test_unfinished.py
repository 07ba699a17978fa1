"""The list of an unfinished run: a hint for the next one, never more."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from backup.errors import StoreError
from backup.repository.chunks import ChunkRef, encode_list
from backup.unfinished import unfinished_list

ONE = ChunkRef(b"\1" * 32, b"\2" * 32, 10, 20)
TWO = ChunkRef(b"\3" * 32, b"\4" * 32, 30, 40)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the list is."""
    return tmp_path / "state/unfinished/run.chunks"


def test_the_next_run_finds_what_an_unfinished_one_noted(path: Path) -> None:
    """And what those before it noted."""
    with unfinished_list(path) as noting:
        assert list(noting.earlier()) == []
        noting.remember(ONE)
    with unfinished_list(path) as noting:
        assert list(noting.earlier()) == [ONE]
        noting.remember(TWO)
    with unfinished_list(path) as noting:
        assert list(noting.earlier()) == [ONE, TWO]


def test_a_note_is_written_at_once(path: Path) -> None:
    """A kill loses none."""
    with unfinished_list(path) as noting:
        noting.remember(ONE)
        assert path.read_bytes() == encode_list([ONE])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_finished_run_leaves_nothing(path: Path) -> None:
    """Its own lists name the chunks from then on."""
    with unfinished_list(path) as noting:
        noting.remember(ONE)
        noting.forget()
        noting.forget()
    assert not path.exists()


def test_an_exception_leaves_the_notes(path: Path) -> None:
    """That is what they are for."""

    def run() -> None:
        with unfinished_list(path) as noting:
            noting.remember(ONE)
            raise StoreError("the store failed")

    with pytest.raises(StoreError):
        run()
    assert path.read_bytes() == encode_list([ONE])


def test_a_line_that_was_cut_short_spoils_no_other(path: Path) -> None:
    """Neither the one before nor the one after it."""
    path.parent.mkdir(parents=True)
    for cut in range(1, len(encode_list([TWO]))):
        path.write_bytes(encode_list([ONE]) + encode_list([TWO])[:cut])
        with unfinished_list(path) as noting:
            noting.remember(TWO)
        with unfinished_list(path) as noting:
            assert list(noting.earlier()) == [ONE, TWO]


def test_a_full_disk_is_an_error_that_names_the_file(path: Path) -> None:
    """/dev/full is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    with unfinished_list(path) as noting, pytest.raises(StoreError, match="No space left") as error:
        noting.remember(ONE)
    assert str(path) in error.value.message


def test_a_line_that_is_written_in_part_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last block of a file system takes only so much."""
    with unfinished_list(path) as noting:
        write = os.write
        monkeypatch.setattr(os, "write", lambda to, data: write(to, data[:5]))
        with pytest.raises(StoreError, match="whole line"):
            noting.remember(ONE)
