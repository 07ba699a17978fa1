"""A copy as a store to read from: its objects, with the evidence log of the repository itself.

A copy has no log. What is found out about it, by a restore test or `verify`, is told to the one
log there is; a restore never asks for it, so the repository itself may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from backup.repository.stores.base import Buffer, Store

LOG_PREFIX = "log/"


class CopyView:
    """The copy's objects, and below `log/` those of the repository; opened when first asked."""

    def __init__(self, copy: Store, open_home: Callable[[], Store]) -> None:
        self._copy = copy
        self._open_home = open_home
        self._home: Store | None = None

    @property
    def address(self) -> str:
        """The copy's."""
        return self._copy.address

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Write an object; see `Store.put`."""
        self._of(key).put(key, data, durable=durable)

    def sync(self) -> None:
        """Wait for both; see `Store.sync`."""
        self._copy.sync()
        if self._home is not None:
            self._home.sync()

    def get(self, key: str) -> bytes:
        """Return an object; see `Store.get`."""
        return self._of(key).get(key)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield keys of the copy, or of the log; see `Store.list`."""
        yield from self._of(prefix).list(prefix)

    def delete(self, key: str) -> None:
        """Remove an object; see `Store.delete`."""
        self._of(key).delete(key)

    def _of(self, key: str) -> Store:
        if not key.startswith(LOG_PREFIX):
            return self._copy
        if self._home is None:
            self._home = self._open_home()
        return self._home
