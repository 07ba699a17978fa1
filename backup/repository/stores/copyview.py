"""A copy as a store to read from: its objects, with the evidence log of the repository itself.

There is one log, and nothing is appended to a copy of it. What is found out about a copy, by a
restore test or `verify`, is told to the log of the repository. When that is lost, what was copied
of the log is read in its place; a restore asks for neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from backup.errors import NotFoundError, StrongroomError
from backup.repository.layout import (
    COPIED_LOG_PREFIX,
    LOG_PREFIX,
    REPOSITORY_KEY,
    copied_log_key,
)
from backup.repository.stores.base import Buffer, LockingStore, Protection, Store


class CopyView:
    """The copy's objects, and below `log/` those of the repository; opened when first asked."""

    def __init__(self, copy: Store, open_home: Callable[[], Store]) -> None:
        self._copy = copy
        self._open_home = open_home
        self._home: Store | None = None
        self._lost: str | None = None
        self._is_of_another = False

    @property
    def address(self) -> str:
        """The copy's."""
        return self._copy.address

    @property
    def lost(self) -> str | None:
        """Why the repository itself, and so its log, can't be had; None: it is there."""
        self._look_for_home()
        return self._lost

    @property
    def is_of_another(self) -> bool:
        """Whether the repository is there, and another one than the copy is of."""
        self._look_for_home()
        return self._is_of_another

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Write an object; see `Store.put`. No log is begun where the repository is lost."""
        self._writable(key).put(key, data, durable=durable)

    def sync(self) -> None:
        """Wait for both; see `Store.sync`."""
        self._copy.sync()
        if self._home is not None:
            self._home.sync()

    def get(self, key: str) -> bytes:
        """Return an object; see `Store.get`."""
        if not key.startswith(LOG_PREFIX):
            return self._copy.get(key)
        home = self._look_for_home()
        return self._copy.get(copied_log_key(key)) if home is None else home.get(key)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield keys of the copy, or of the log; see `Store.list`."""
        if not prefix.startswith(LOG_PREFIX):
            yield from self._copy.list(prefix)
            return
        home = self._look_for_home()
        if home is not None:
            yield from home.list(prefix)
            return
        for key in self._copy.list(copied_log_key(prefix)):
            yield LOG_PREFIX + key.removeprefix(COPIED_LOG_PREFIX)

    def delete(self, key: str) -> None:
        """Remove an object; see `Store.delete`."""
        self._writable(key).delete(key)

    @property
    def is_locking(self) -> bool:
        """Whether the copy locks; see `LockingStore`."""
        return isinstance(self._copy, LockingStore) and self._copy.is_locking

    def lock_until(self, end: datetime) -> None:
        """See `LockingStore.lock_until`."""
        if isinstance(self._copy, LockingStore):
            self._copy.lock_until(end)

    def keep_locked(self, keys: Iterable[str], until: datetime | None = None) -> int:
        """See `LockingStore.keep_locked`."""
        return self._copy.keep_locked(keys, until) if isinstance(self._copy, LockingStore) else 0

    def hold(self, keys: Iterable[str], *, is_held: bool) -> int:
        """See `LockingStore.hold`."""
        if not isinstance(self._copy, LockingStore):
            return 0
        return self._copy.hold(keys, is_held=is_held)

    def protection(self, key: str) -> Protection:
        """See `LockingStore.protection`; a store without locks protects nothing."""
        if isinstance(self._copy, LockingStore):
            return self._copy.protection(key)
        return Protection(until=None, is_held=False)

    def _writable(self, key: str) -> Store:
        if not key.startswith(LOG_PREFIX):
            return self._copy
        home = self._look_for_home()
        if home is None:
            raise NotFoundError(f"the evidence log is not to be had: {self._lost}")
        return home

    def _look_for_home(self) -> Store | None:
        """Return the repository that this is a copy of, or None: then `_lost` says why."""
        if self._home is None and self._lost is None:
            try:
                home = self._open_home()
                if home.get(REPOSITORY_KEY) == self._copy.get(REPOSITORY_KEY):
                    self._home = home
                else:
                    self._is_of_another = True
                    self._lost = f"{home.address} is not the repository that this is a copy of"
            except StrongroomError as error:
                self._lost = error.message
        return self._home
