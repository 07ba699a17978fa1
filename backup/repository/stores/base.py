"""The contract of a store: four methods and a barrier, on keys and whole objects.

A key is a relative path of ASCII segments (`chunks/3f/3f9c…`), and no key is the first segments of
another. An object is written once and never changed. One suite, `tests/contract`, holds every
store to this page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias, runtime_checkable

from backup.errors import StoreError

Buffer: TypeAlias = bytes | bytearray | memoryview

# No segment begins with a dot: no way up, and room for a store's own hidden files.
_KEY = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9._%-]*(?:/[A-Za-z0-9_%-][A-Za-z0-9._%-]*)*")


def is_key(text: str) -> bool:
    """Whether this is a relative path of plain ASCII segments."""
    return _KEY.fullmatch(text) is not None


def require_key(key: str) -> None:
    """Raise `StoreError` unless `key` is one."""
    if not is_key(key):
        raise StoreError(f"{key!r} is not a key")


class Store(Protocol):
    """Objects by key. Methods may be called from several threads at once.

    Every method raises `StoreError` when the store fails; the object named is then either absent
    or whole, never partial.
    """

    @property
    def address(self) -> str:
        """Where this store is, for messages and reports; never a secret."""

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Write an object that must not exist yet.

        With `durable` the object survives a power cut when this returns. Without, it may become
        visible and durable as late as the next `sync`; it is never visible in part.

        Raises `ObjectExistsError`, at once or (for one that is not durable) from `sync`, when the
        key is taken; the object there is left as it is.
        """

    def sync(self) -> None:
        """Return when all that was put is visible and durable: the barrier before a manifest.

        Once an object was lost on the way, this raises every time: what was put is not all there.
        """

    def get(self, key: str) -> bytes:
        """Return a whole object. Raises `NotFoundError`."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield, in ascending order, every key that starts with `prefix`."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What keeps an object from being deleted: a lock until then, a legal hold without an end."""

    until: datetime | None
    is_held: bool


@runtime_checkable
class LockingStore(Protocol):
    """A store that can keep an object from being deleted by anyone, for a time or for good."""

    @property
    def is_locking(self) -> bool:
        """Whether the settings ask for locks; without, nothing below has an effect."""

    def lock_until(self, end: datetime) -> None:
        """Have objects of backups that are put from now on locked until then, a day at least."""

    def keep_locked(self, keys: Iterable[str], until: datetime | None = None) -> int:
        """Have each object locked until then; return how many were not.

        None: for as long as one that is written now.
        """

    def hold(self, keys: Iterable[str], *, is_held: bool) -> int:
        """Set or lift the legal hold of each object; return for how many it was otherwise."""

    def protection(self, key: str) -> Protection:
        """Return what keeps an object from being deleted. Raises `NotFoundError`."""
