"""What this host remembers of an evidence log: `<state>/log/<repository id>.leaves`.

The leaf hashes of the tree, 32 bytes each, in order. It is both a cache, so that appending need
not read the whole log again, and a pin: a log in the store that does not begin with these entries
was cut short or written anew. Removed, it is read from the store again, and the pin is gone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from backup.crypto.merkle import HASH_BYTES, root
from backup.crypto.sshkey import SigningKey
from backup.errors import FULL_DISK_HINTS, StoreError
from backup.evidence.log import EvidenceLog
from backup.repository.layout import require_repository_id
from backup.repository.manifest import LogHead
from backup.repository.stores.base import Store


class LogMemory:
    """The leaves in a file; one run on this host appends at a time."""

    def __init__(self, state_directory: Path, repository_id: str) -> None:
        require_repository_id(repository_id)
        self.path = state_directory / "log" / f"{repository_id}.leaves"

    @contextmanager
    def held(self) -> Iterator[_FileLeaves]:
        """Wait until no other run on this host appends, and hand out the leaves."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _store_error(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield _FileLeaves(self.path, descriptor)
        finally:
            with suppress(OSError):  # each leaf was flushed, or its `add` raised
                os.close(descriptor)

    def head(self) -> LogHead | None:
        """Return what this host has seen; None if it never appended to this log."""
        if not self.path.exists():
            return None
        with self.held() as leaves:
            return LogHead(size=len(leaves.hashes), root=root(leaves.hashes).hex())


class _FileLeaves:
    """The leaves of an open, locked file. What a crash cut short is passed over and replaced."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        whole = len(data) - len(data) % HASH_BYTES
        self._hashes = [data[start : start + HASH_BYTES] for start in range(0, whole, HASH_BYTES)]

    @property
    def hashes(self) -> Sequence[bytes]:
        return self._hashes

    def add(self, leaf: bytes) -> None:
        """Remember one more; durable on return. Raises `StoreError`."""
        try:
            os.pwrite(self._descriptor, leaf, len(self._hashes) * HASH_BYTES)
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise _store_error(self._path, error) from error
        self._hashes.append(leaf)


def open_log(
    store: Store, repository_id: str, signing_key: SigningKey, state_directory: Path
) -> EvidenceLog:
    """Return a repository's evidence log as this host appends to it."""
    return EvidenceLog(store, repository_id, signing_key, LogMemory(state_directory, repository_id))


def _store_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"writing {path}: {error.strerror or error}",
        hint=FULL_DISK_HINTS.get(error.errno or 0, "the state directory must be this user's own"),
    )
