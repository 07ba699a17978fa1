"""Locks that follow from the policy: a new backup's, and those of earlier ones that are promoted.

A manifest is locked last, so one that is locked long enough says that all of its backup is. What
is extended is named by signed lists only.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

from backup.crypto.allowed_signers import AllowedSigners
from backup.errors import IntegrityError, NotFoundError
from backup.journeys.check import Check
from backup.repository.access import Repository, SignedManifest
from backup.repository.layout import BackupId, BackupKey, chunk_object_key
from backup.repository.locking import LockRule, lock_ends
from backup.repository.stores.base import LockingStore, Store

_log = logging.getLogger(__name__)


def lock_new(
    store: Store,
    key: BackupKey,
    others: Collection[BackupKey],
    rule: LockRule | None,
    *,
    now: datetime,
) -> None:
    """Have what is put from now on locked as long as the policy keeps this backup, or a day."""
    if rule is None or not isinstance(store, LockingStore):
        return
    store.lock_until(lock_ends({*others, key}, rule, now=now).get(key, now))


def lock_check(
    backups: Collection[BackupKey], database: str, rule: LockRule, now: datetime
) -> Check:
    """Return what `doctor` says: until when a backup of this database that begins now is locked."""
    coming = BackupKey(database, BackupId.new(now, b"\xff\xff\xff"))
    end = lock_ends([*backups, coming], rule, now=now)[coming]
    asks = "the schedule" if rule.schedule else "none: no schedule is set"
    return Check(
        name="lock by policy",
        status="good",
        observed=f"a backup that begins now is locked until {end:%Y-%m-%d %H:%M}Z, as long as the"
        f" retention keeps it for certain (next ones by {asks}); while it is kept longer each"
        f" backup extends that, {rule.at_most.days} days ahead at most",
    )


def promote(
    repository: Repository,
    backups: Sequence[BackupKey],
    allowed: AllowedSigners | None,
    rule: LockRule | None,
    *,
    now: datetime,
    pinned: Collection[BackupKey] = (),
) -> tuple[BackupKey, ...]:
    """Extend the locks of one database's backups as the policy keeps them; return whose were.

    What cannot be believed is left as it is: that is for `verify`.
    """
    store = repository.store
    if rule is None or not isinstance(store, LockingStore) or not store.is_locking:
        return ()
    ends = lock_ends(backups, rule, now=now, pinned=pinned)
    reached: set[str] = set()
    promoted = []
    for key, end in sorted(ends.items(), key=lambda item: (item[1], item[0]), reverse=True):
        try:
            until = store.protection(key.manifest).until
            if until is not None and until >= end.replace(microsecond=0):
                continue
            signed = repository.manifest(key, allowed)
            if signed.signer.principal is None:
                raise IntegrityError(f"{key.manifest} is signed by a key that is not pinned")
            names = objects_of(repository, signed)
        except (IntegrityError, NotFoundError) as error:
            _log.warning(
                "the lock of %s is not extended: %s",
                key.id,
                error.message,
                extra={"action": "lock_not_extended"},
            )
            continue
        _extend(store, names, end, reached)
        promoted.append(key)
    if promoted:
        _log.info(
            "the locks of %d backups are extended", len(promoted), extra={"action": "promoted"}
        )
    return tuple(promoted)


def objects_of(repository: Repository, signed: SignedManifest) -> tuple[str, ...]:
    """Return the keys of all objects that a backup needs, its manifest last."""
    manifest, key = signed.manifest, signed.manifest.key
    chunks = {
        chunk_object_key(ref.sha256)
        for part in manifest.parts
        for ref in repository.refs(manifest, part)
    }
    lists = (key.chunk_list(part.name) for part in manifest.parts)
    files = (file.name for file in manifest.files)
    return (*sorted(chunks), *files, *lists, key.catalog, key.signature, key.manifest)


def _extend(store: LockingStore, names: Sequence[str], end: datetime, reached: set[str]) -> None:
    """Extend the locks; `reached` were extended in this run already, to later times."""
    wanted = [name for name in names if name not in reached]
    store.keep_locked(wanted[:-1], end)
    store.keep_locked(wanted[-1:], end)
    reached.update(wanted)
