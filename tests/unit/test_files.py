"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from backup import files

WAYS = [files.create, files.write_new, files.write_over]
each_way = pytest.mark.parametrize("write", WAYS, ids=lambda way: way.__name__)


@each_way
def test_a_file_is_its_owners_alone_unless_it_is_said(
    write: Callable[..., None], tmp_path: Path
) -> None:
    """Most of them are keys."""
    write(tmp_path / "key", b"secret\n")
    write(tmp_path / "certificate", b"public\n", mode=files.PUBLIC)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"key": 0o600, "certificate": 0o644 & ~_umask()}
    assert (tmp_path / "key").read_bytes() == b"secret\n"


@each_way
def test_only_one_of_them_replaces_what_is_there(
    write: Callable[..., None], tmp_path: Path
) -> None:
    """Nothing else is left beside it."""
    path = tmp_path / "file"
    write(path, b"old")
    if write is files.write_over:
        write(path, b"new")
    else:
        with pytest.raises(FileExistsError):
            write(path, b"new")
    assert path.read_bytes() == (b"new" if write is files.write_over else b"old")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is flushed, in order; they may be gone since."""
    real, names = os.fsync, list[str]()

    def fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.lstrip("."))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return names


@pytest.mark.parametrize("write", [files.write_new, files.write_over])
def test_bytes_and_names_are_on_the_disk_on_return(
    write: Callable[..., None], tmp_path: Path, flushed: list[str]
) -> None:
    """The bytes before the name, and each new directory in the one above it."""
    write(tmp_path / "a" / "b" / "file", b"whole")
    above, a, file, b = flushed
    assert (above, a, b) == (tmp_path.name, "a", "b")
    assert file.startswith("file.")


def test_a_name_that_was_moved_is_on_the_disk_on_return(tmp_path: Path, flushed: list[str]) -> None:
    """It is its directory that holds it."""
    (tmp_path / ".new").mkdir()
    files.move_over(tmp_path / ".new", tmp_path / "whole")
    assert flushed == [tmp_path.name]


@pytest.mark.parametrize("write", [files.write_new, files.write_over])
def test_a_name_that_may_not_be_on_the_disk_is_told(
    write: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there, and whole; who wrote it must not call it safe."""

    def refuse(_path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "sync_directory", refuse)
    with pytest.raises(OSError, match="Input/output"):
        write(tmp_path / "file", b"whole")
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"whole"]


@each_way
@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
def test_what_fails_leaves_nothing_half_made(
    write: Callable[..., None], call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of each call is refused; a way that does not call it is not disturbed."""
    path = tmp_path / "file"
    refused = 0

    def refuse(*_arguments: object, **_named: object) -> None:
        nonlocal refused
        refused += 1
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        try:
            write(path, b"whole")
        except OSError as error:
            assert (error.errno, refused) == (errno.EIO, 1)
    assert [one.name for one in tmp_path.iterdir()] == ([] if refused else ["file"])
    assert refused == (call in {"fsync", _CALLED.get(write.__name__)})


_CALLED = {"write_new": "link", "write_over": "replace"}


@pytest.mark.parametrize("write", [files.write_new, files.write_over])
def test_missing_directories_are_made_for_this_user_alone(
    write: Callable[..., None], tmp_path: Path
) -> None:
    """All of them, not only the last."""
    write(tmp_path / "a" / "b" / "file", b"")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_file_in_place_of_a_directory_is_no_directory(tmp_path: Path) -> None:
    """It is left as it is."""
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(NotADirectoryError):
        files.write_new(tmp_path / "a" / "b" / "file", b"")
    with pytest.raises(NotADirectoryError):
        files.write_new(tmp_path / "a" / "file", b"")
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_a_directory_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    """And a name in another directory is none of its business."""
    (tmp_path / ".new").mkdir()
    (tmp_path / ".new" / "file").touch()
    (tmp_path / "empty").mkdir()
    files.move_over(tmp_path / ".new", tmp_path / "empty")
    assert (tmp_path / "empty" / "file").exists()
    (tmp_path / ".new").mkdir()
    with pytest.raises(OSError, match="not empty"):
        files.move_over(tmp_path / ".new", tmp_path / "empty")


def _umask() -> int:
    before = os.umask(0o077)
    os.umask(before)
    return before
