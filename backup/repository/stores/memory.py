"""A store in memory: for tests, and as the plainest reading of the contract."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from backup.errors import NotFoundError, ObjectExistsError
from backup.repository.stores.base import Buffer, require_key


class MemoryStore:
    """Objects in a dictionary; everything is durable for as long as the process lives."""

    def __init__(self, address: str = "memory:") -> None:
        self._address = address
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """The name given when it was made."""
        return self._address

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Write an object; see `Store.put`."""
        del durable  # there is no power cut to outlive
        require_key(key)
        with self._lock:
            if key in self._objects:
                raise ObjectExistsError(f"{key} exists already in {self._address}")
            self._objects[key] = bytes(data)

    def sync(self) -> None:
        """Return at once: every object was visible when `put` returned."""

    def get(self, key: str) -> bytes:
        """Return an object; see `Store.get`."""
        require_key(key)
        with self._lock:
            try:
                return self._objects[key]
            except KeyError:
                raise NotFoundError(f"{key} is not in {self._address}") from None

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys of one moment; see `Store.list`."""
        with self._lock:
            keys = sorted(key for key in self._objects if key.startswith(prefix))
        yield from keys

    def delete(self, key: str) -> None:
        """Remove an object; see `Store.delete`."""
        require_key(key)
        with self._lock:
            self._objects.pop(key, None)
