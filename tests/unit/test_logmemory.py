"""What a host remembers of an evidence log, in a file."""

from __future__ import annotations

import errno
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.crypto.merkle import leaf_hash, root
from backup.crypto.sshkey import SigningKey
from backup.errors import StoreError
from backup.evidence.entry import EntryType
from backup.evidence.log import check_log, read_log
from backup.logmemory import LogMemory, open_log
from backup.repository.manifest import LogHead
from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore

ID = "0" * 32
LEAVES = [leaf_hash(str(number).encode()) for number in range(3)]
NOW = datetime(2026, 1, 14, 2, 0, tzinfo=UTC)


def remember(memory: LogMemory, *leaves: bytes) -> None:
    """Remember these."""
    with memory.held() as held:
        for leaf in leaves:
            held.add(leaf)


def test_leaves_outlive_the_process(tmp_path: Path) -> None:
    """In order, for this user alone; the head is the root over them."""
    memory = LogMemory(tmp_path, ID)
    assert memory.head() is None
    remember(memory, *LEAVES)
    again = LogMemory(tmp_path, ID)
    with again.held() as held:
        assert list(held.hashes) == LEAVES
    assert again.head() == LogHead(size=3, root=root(LEAVES).hex())
    assert memory.path.stat().st_mode & 0o077 == 0


def test_what_a_crash_cut_short_is_replaced(tmp_path: Path) -> None:
    """Half a leaf does not count, and the next one takes its place."""
    memory = LogMemory(tmp_path, ID)
    remember(memory, LEAVES[0])
    with memory.path.open("ab") as file:
        file.write(b"half")
    remember(memory, LEAVES[1])
    with memory.held() as held:
        assert list(held.hashes) == LEAVES[:2]


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clear error, with what helps."""
    (tmp_path / "log").write_text("a file")
    with pytest.raises(StoreError, match="leaves") as caught, LogMemory(tmp_path, ID).held():
        pass
    assert caught.value.hint == "the state directory must be this user's own"
    memory = LogMemory(tmp_path / "other", ID)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        remember(memory, LEAVES[0])
    assert caught.value.hint is not None
    assert "free space" in caught.value.hint


def test_the_id_of_a_repository_chooses_no_other_path(tmp_path: Path) -> None:
    """It comes out of the store."""
    with pytest.raises(ValueError, match="32 hex digits"):
        LogMemory(tmp_path, "../../etc")


def test_many_append_at_once(tmp_path: Path) -> None:
    """Runs on two hosts, several on each: no entry is lost, nothing is forked."""
    key = SigningKey.generate("one")
    directory = tmp_path / "repository"
    LocalStore(directory).put("repository.json", b"{}")

    def append(host: str) -> None:
        store: Store = LocalStore(directory)
        log = open_log(store, ID, key, tmp_path / host)
        for number in range(5):
            log.append(EntryType.HEARTBEAT, {"host": host, "number": number}, now=NOW)

    open_log(LocalStore(directory), ID, key, tmp_path / "a").append(
        EntryType.GENESIS, {"repository": ID}, now=NOW
    )
    threads = [threading.Thread(target=append, args=(host,)) for host in "aabb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_log(LocalStore(directory))
    assert check_log(found, repository_id=ID, keys=[key.public_key]) == ()
    assert len(found.lines) == 21
