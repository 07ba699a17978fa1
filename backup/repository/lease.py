"""Leases: who is at work on a repository, so that nobody deletes what another is using.

`docs/format.md`, "Leases". A lease is a chain of objects `leases/<kind>-<id>.<number>.json`, each
written once; the one with the highest number counts. It is renewed by writing the next one. Of
`prune` and `daemon` there is one chain for everybody, so one of two hosts wins.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, Literal, TypeAlias, get_args

from pydantic import ConfigDict

from backup.errors import BusyError, NotFoundError, ObjectExistsError, StoreError
from backup.repository.canonical import STRICT, UtcTime, decode, encode
from backup.repository.layout import LEASES_PREFIX, BackupKey, encode_name
from backup.repository.retention import CLOCK_TOLERANCE
from backup.repository.stores.base import Store

LeaseKind: TypeAlias = Literal["backup", "prune", "verify", "restore", "restore-test", "daemon"]
WRITERS: frozenset[LeaseKind] = frozenset({"backup"})
READERS: frozenset[LeaseKind] = frozenset({"verify", "restore", "restore-test"})
EXCLUSIVE: frozenset[LeaseKind] = frozenset({"prune", "daemon"})
THE_ONLY = "only"

_KEY = re.compile(
    rf"leases/({'|'.join(map(re.escape, get_args(LeaseKind)))})-([0-9a-f]{{16}}|{THE_ONLY})"
    r"\.([0-9]{6})\.json"
)
# A lease that is renewed while it is read is read again.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the newest object of a chain says. Times are by the holder's clock.

    `backups` are those that the holder reads, or that a prune is about to delete, each as
    `name_of` has it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    format: Literal[1]
    kind: LeaseKind
    id: str
    number: int
    host: str
    process: int
    written: UtcTime
    expires: UtcTime
    is_released: bool
    backups: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key of this object."""
        return _key(self.kind, self.id, self.number)

    def is_alive(self, now: datetime) -> bool:
        """Whether its holder may be at work; a clock that is a little behind does not end it."""
        return not self.is_released and now < self.expires + CLOCK_TOLERANCE

    @property
    def holder(self) -> str:
        """Who holds it, for messages."""
        return f"{self.kind} on {self.host}, process {self.process}"


IsDead: TypeAlias = Callable[[Lease], bool]
"""Says of a lease that looks alive whether its holder is known to be dead."""


def name_of(key: BackupKey) -> str:
    """Return how a lease names a backup."""
    return f"{encode_name(key.database)}/{key.id}"


def read_leases(store: Store, kinds: Iterable[LeaseKind] | None = None) -> list[Lease]:
    """Return the newest object of every chain, alive or not. Raises `IntegrityError`."""
    wanted = None if kinds is None else frozenset(kinds)
    newest = _newest(store)
    found = [
        _current(store, kind, id_, number)
        for (kind, id_), number in sorted(newest.items())
        if wanted is None or kind in wanted
    ]
    return [lease for lease in found if lease is not None]


def keys_of_ended(store: Store, now: datetime, *, is_dead: IsDead = lambda _: False) -> list[str]:
    """Return the keys of leases that count no more: replaced, released, or expired for a day.

    Those of dead holders too, but where the chain is everybody's: there the next one replaces it.
    """
    ended = {
        (lease.kind, lease.id)
        for lease in read_leases(store)
        if (
            not lease.is_alive(now)
            and (lease.is_released or now > lease.expires + timedelta(days=1))
        )
        or (lease.kind not in EXCLUSIVE and is_dead(lease))
    }
    newest = _newest(store)
    return [
        key
        for key in store.list(LEASES_PREFIX)
        if (match := _KEY.fullmatch(key))
        and (
            (match[1], match[2]) in ended
            or int(match[3]) < newest.get((_kind(match[1]), match[2]), 0)
        )
    ]


def take(
    store: Store,
    lease: Lease,
    now: datetime,
    *,
    is_dead: IsDead = lambda _: False,
    note: Callable[[Lease], None] = lambda _: None,
) -> Lease:
    """Begin a lease; return it as it was written.

    Raises `BusyError` if it is of a kind of which there is one, and another host has it.
    `is_dead` says of a lease that looks alive that its holder is known to be dead; it is replaced.
    `note` is told of the object before it is put.
    """
    number, left = 0, None
    if lease.kind in EXCLUSIVE:
        for held in read_leases(store, [lease.kind]):
            if held.is_alive(now):
                if not is_dead(held):
                    raise _busy(held, store)
                left = held
            number = held.number
    taken = _put(store, replace(lease, number=number + 1), note)
    if left is not None:  # or it would count again when this one is over
        with contextlib.suppress(StoreError):
            store.delete(left.key)
    return taken


def renew(store: Store, lease: Lease, *, note: Callable[[Lease], None] = lambda _: None) -> Lease:
    """Write the next object of a lease that this run holds, and remove the one before.

    Raises `BusyError` if another host has taken it since.
    """
    renewed = _put(store, replace(lease, number=lease.number + 1), note)
    with contextlib.suppress(StoreError):  # a store that this host may not delete from
        store.delete(lease.key)
    return renewed


def release(store: Store, lease: Lease) -> None:
    """End a lease: remove it, or say that it is over where this host may not delete."""
    try:
        for key in _before(store, lease):  # left by a renewal, and would count again
            store.delete(key)
        store.delete(lease.key)
    except StoreError:
        store.put(*_object(replace(lease, number=lease.number + 1, is_released=True)))


def is_written(store: Store, lease: Lease) -> bool:
    """Return whether this very object is there: putting it may have failed when it was."""
    try:
        return store.get(lease.key) == encode(lease)
    except NotFoundError:
        return False


def _before(store: Store, lease: Lease) -> list[str]:
    """Return the objects of a chain that count no more."""
    return [
        key
        for key in store.list(f"{LEASES_PREFIX}{lease.kind}-{lease.id}.")
        if (match := _KEY.fullmatch(key)) and int(match[3]) < lease.number
    ]


def _put(store: Store, lease: Lease, note: Callable[[Lease], None]) -> Lease:
    note(lease)
    try:
        store.put(*_object(lease))
    except ObjectExistsError:
        raise BusyError(
            f"another host has just taken the lease of {lease.kind} in {store.address}",
            hint="wait for it; the object under leases/ names its host",
        ) from None
    if lease.kind in EXCLUSIVE:
        # Whoever slept since it looked may have filled a gap below the number that counts.
        for held in read_leases(store, [lease.kind]):
            if held.number > lease.number:
                store.delete(lease.key)
                raise _busy(held, store)
    return lease


def _object(lease: Lease) -> tuple[str, bytes]:
    return lease.key, encode(lease)


def _busy(lease: Lease, store: Store) -> BusyError:
    return BusyError(
        f"{lease.holder}, is at work on {store.address}",
        hint=f"wait for it; its lease ends at {lease.expires:%Y-%m-%d %H:%M:%S} UTC at the latest",
    )


def _newest(store: Store) -> Mapping[tuple[LeaseKind, str], int]:
    """Return the highest number of each chain."""
    newest: dict[tuple[LeaseKind, str], int] = {}
    for key in store.list(LEASES_PREFIX):
        match = _KEY.fullmatch(key)
        if match:
            chain = _kind(match[1]), match[2]
            newest[chain] = max(newest.get(chain, 0), int(match[3]))
    return newest


def _kind(text: str) -> LeaseKind:
    return next(kind for kind in get_args(LeaseKind) if kind == text)


def _key(kind: LeaseKind, id_: str, number: int) -> str:
    return f"{LEASES_PREFIX}{kind}-{id_}.{number:06}.json"


def _current(store: Store, kind: LeaseKind, id_: str, number: int) -> Lease | None:
    """Return what counts of a chain: it may be renewed, or end, while it is read."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(NotFoundError):
            return _read(store, kind, id_, number)
        later = _newest(store).get((kind, id_))
        if later is None:
            return None
        number = later
    raise StoreError(f"the leases in {store.address} change faster than they can be read")


def _read(store: Store, kind: LeaseKind, id_: str, number: int) -> Lease:
    key = _key(kind, id_, number)
    return decode(Lease, store.get(key), key)
