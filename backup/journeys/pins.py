"""`pin` and `unpin`: keep a backup whatever the policy says, and let it go again.

Where the store locks, all that the backup needs gets a legal hold as well: nobody deletes it, with
whatever rights, until the hold is lifted. What other pinned backups need keeps its hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from backup.crypto.allowed_signers import AllowedSigners
from backup.errors import (
    BusyError,
    NotFoundError,
    ObjectExistsError,
    SettingsError,
    StrongroomError,
    UnpinnedError,
)
from backup.evidence.entry import Detail, EntryType
from backup.evidence.log import EvidenceLog
from backup.holders import Holders
from backup.journeys.createlog import names
from backup.journeys.locks import objects_of
from backup.leases import require_not_going
from backup.repository.access import Repository
from backup.repository.layout import BackupKey
from backup.repository.pins import Pin, encode_pin, pin_key, read_pin, read_pins
from backup.repository.stores.base import LockingStore

_MAXIMUM_REASON = 500


def pin(
    repository: Repository,
    key: BackupKey,
    log: EvidenceLog,
    *,
    who: str,
    why: str,
    clock: Callable[[], datetime],
    allowed: AllowedSigners | None = None,
    copy: str | None = None,
    holders: Holders | None = None,
) -> tuple[Pin, bool]:
    """Keep a backup; return the pin, and whether it is new.

    A pin that is there already stays as it is; a hold that is missing is set. `copy` is the name
    of the copy that `repository` is. Raises `BusyError` if a prune is deleting the backup in this
    moment, `StoreError` if the pin is there and the store refuses the hold.
    """
    if not why.strip() or len(why) > _MAXIMUM_REASON:
        raise SettingsError(f"a reason has 1 to {_MAXIMUM_REASON} characters")
    made, is_new = _pin(
        repository, key, log, who=who, why=why, clock=clock, copy=copy, holders=holders
    )
    _hold(repository, key, allowed)
    return made, is_new


def _pin(
    repository: Repository,
    key: BackupKey,
    log: EvidenceLog,
    *,
    who: str,
    why: str,
    clock: Callable[[], datetime],
    copy: str | None,
    holders: Holders | None,
) -> tuple[Pin, bool]:
    there = read_pin(repository.store, key)
    if there is not None:
        return there, False
    made = Pin(
        format=1,
        backup_id=key.id.text,
        database=key.database,
        who=who,
        when=clock().replace(microsecond=0),
        why=why.strip(),
    )
    try:
        repository.store.put(pin_key(key), encode_pin(made))
    except ObjectExistsError:
        return read_pin(repository.store, key) or made, False
    try:
        # After the pin is there: a prune that has not seen it is seen here.
        require_not_going(repository.store, [key], now=clock(), holders=holders)
        if key not in repository.backups(key.database):
            raise NotFoundError(f"backup {key.id} has just been deleted")
    except (BusyError, NotFoundError):
        repository.store.delete(pin_key(key))
        raise
    log.append(
        EntryType.PIN_SET,
        {**_named(key, copy), "who": who, "why": made.why},
        now=clock(),
    )
    return made, True


def unpin(
    repository: Repository,
    key: BackupKey,
    log: EvidenceLog,
    *,
    who: str,
    now: datetime,
    allowed: AllowedSigners | None = None,
    copy: str | None = None,
) -> bool:
    """Take a pin off, and the holds that no other pin needs; return whether there was one.

    The log is told first, and the pin goes last: ended in between, it is taken off again. Holds
    that were left without a pin count as one.
    """
    store = repository.store
    has_pin = pin_key(key) in set(store.list(pin_key(key)))
    locking = store if isinstance(store, LockingStore) and store.is_locking else None
    if not has_pin and not (locking and locking.protection(key.manifest).is_held):
        return False
    log.append(EntryType.PIN_REMOVED, {**_named(key, copy), "who": who}, now=now)
    others = set(read_pins(store)) - {key}
    if locking is not None:
        needed = _needed(repository, others, allowed)
        locking.hold(
            [name for name in _objects(repository, key, allowed) if name not in needed],
            is_held=False,
        )
    store.delete(pin_key(key))
    if locking is not None:
        # Who pinned meanwhile may have held what was let go of here.
        for other in sorted(set(read_pins(store)) - {key} - others):
            _hold(repository, other, allowed)
    return True


def _hold(repository: Repository, key: BackupKey, allowed: AllowedSigners | None) -> None:
    """Have nobody delete what a backup needs, where the store can do that."""
    store = repository.store
    if not isinstance(store, LockingStore) or not store.is_locking:
        return
    try:
        store.hold(_objects(repository, key, allowed), is_held=True)
    except StrongroomError as error:
        raise type(error)(
            f"backup {key.id} is pinned, but has no legal hold in {store.address}: {error.message}",
            hint="pin it again with the rights of `strongroom store policy --role keeper`; until"
            " then the pin keeps our own prune away, and the lock anybody until it ends",
        ) from error


def _objects(
    repository: Repository, key: BackupKey, allowed: AllowedSigners | None
) -> tuple[str, ...]:
    """Return all objects of a backup that a pinned key signed."""
    signed = repository.manifest(key, allowed)
    if signed.signer.principal is None:
        raise UnpinnedError(f"{key.manifest} is signed by a key that is not pinned here")
    return objects_of(repository, signed)


def _needed(
    repository: Repository, keys: Iterable[BackupKey], allowed: AllowedSigners | None
) -> frozenset[str]:
    """Return what these backups need, of those that exist. Raises where that can't be told."""
    existing = set(repository.backups())
    return frozenset(
        name for key in keys if key in existing for name in _objects(repository, key, allowed)
    )


def _named(key: BackupKey, copy: str | None) -> dict[str, Detail]:
    where: dict[str, Detail] = {} if copy is None else {"copy": copy}
    return {**names(key), **where}
