"""The disk is full or refuses: exit code 6, no backup, and the next run goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import subprocess  # noqa: TID251 - mount and umount
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.vault import Vault
from tests.lab.effort import Numbers

FSYNC_OR_LINK_FAILED = 6


@contextlib.contextmanager
def small_disk(where: Path, size_bytes: int) -> Iterator[None]:
    """Mount a file system of this size at a directory, or skip the test."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system takes root")
    where.mkdir(exist_ok=True)
    if not mount(where, f"size={size_bytes}"):
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", where], check=True, timeout=30)


def mount(where: Path, options: str) -> bool:
    """Mount, or change, a tmpfs."""
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)]
    return subprocess.run(argv, check=False, capture_output=True, timeout=30).returncode == 0


def test_the_repository_fills_its_disk(
    tmp_path: Path, vault: Vault, numbers: Numbers, chance: random.Random
) -> None:
    """Whenever the disk is full, there is no backup; with more space the next run is good."""
    for number in range(numbers.of(10, 40)):
        home = tmp_path / str(number)
        with small_disk(home, 64 * 1024 + chance.randrange(1_700_000)):
            mine = Vault.make(home, vault.server, vault.dsn)
            done = mine.backup()
            if done.code == 0:
                continue
            assert done.code == FSYNC_OR_LINK_FAILED, done.stderr
            assert "No space left on device" in done.stderr
            assert "hint: free space" in done.stderr
            assert mine.backups() == []
            mine.assert_nobody_left()
            assert mount(home, "remount,size=64M")
            done = mine.backup()
            assert done.code == 0, done.stderr
            mine.assert_whole()


def test_the_state_directory_fills_its_disk(
    tmp_path: Path, vault: Vault, chance: random.Random
) -> None:
    """A host that cannot note what it stores makes no backup."""
    with small_disk(tmp_path / "disk", 64 * 1024):
        shutil.copytree(vault.state, tmp_path / "disk" / "state")
        room = os.statvfs(tmp_path / "disk")
        keep = chance.randrange(3) * room.f_bsize
        (tmp_path / "disk" / "ballast").write_bytes(b"0" * (room.f_bavail * room.f_bsize - keep))
        options = ("--state-directory", tmp_path / "disk" / "state")
        done = vault.backup(*options)
        assert done.code == FSYNC_OR_LINK_FAILED, done.stderr
        assert done.stderr.startswith("strongroom: ")
        assert vault.backups() == []
        (tmp_path / "disk" / "ballast").unlink()
        done = vault.backup(*options)
        assert done.code == 0, done.stderr
    vault.assert_whole()


@pytest.mark.parametrize("call", ["fsync", "link", "mkdir"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_the_disk_refuses_once(
    vault: Vault, numbers: Numbers, chance: random.Random, call: str, number: int
) -> None:
    """One fsync, link or mkdir that fails means no backup; the next run is good."""
    for at in sorted({1, *(chance.randrange(2, 60) for _ in range(numbers.of(1, 20)))}):
        before = vault.backups()
        done = vault.backup(fault={"calls": [call], "at": at, "then": number})
        if done.code == 0:
            assert len(vault.backups()) == len(before) + 1
            continue
        assert done.code == FSYNC_OR_LINK_FAILED, done.stderr
        assert os.strerror(number) in done.stderr
        assert vault.backups() == before
    done = vault.backup()
    assert done.code == 0, done.stderr
    vault.assert_whole()
