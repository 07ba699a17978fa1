"""What is stored already and may be used again: from which backups, and whether it still is.

Trusted are lists that a pinned key signed, and this host's own list of unfinished runs; and of
these only what is in the store.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backup.crypto.allowed_signers import AllowedSigners
from backup.damaged import DamagedObjects
from backup.errors import IntegrityError, NotFoundError, StoreError
from backup.leases import HeldLease
from backup.repository.access import Repository, SignedManifest
from backup.repository.garbage import MINIMUM_GRACE, condemned_chunks
from backup.repository.known import KnownChunks
from backup.repository.layout import (
    CHUNKS_PREFIX,
    BackupId,
    BackupKey,
    chunk_object_key,
    parse_chunk_object_key,
)
from backup.repository.manifest import RepositoryFile
from backup.repository.stores.base import LockingStore
from backup.unfinished import UnfinishedList

_log = logging.getLogger(__name__)

# Chunks are recognised from this many of the newest backups: older ones hold little that these
# do not, and reading their lists would cost more than it saves.
_RECENT_OF_THIS_DATABASE = 3
_RECENT_OF_EACH_OTHER = 1
# And from so many of the other databases only, those backed up last: with hundreds of them every
# backup would read hundreds of lists.
_OTHERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reusable:
    """What is known before the server is asked.

    `backups` are those whose lists `chunks` came from; if one of them goes away during the run,
    what was reused is looked for again.
    """

    chunks: KnownChunks
    backups: frozenset[BackupKey]
    has_unfinished: bool
    previous: SignedManifest | None
    warnings: tuple[str, ...]


def find_reusable(
    repository: Repository,
    name: str,
    allowed: AllowedSigners | None,
    unfinished: UnfinishedList,
    damaged: DamagedObjects,
) -> Reusable:
    """Read which chunks are stored already, from signed manifests and unfinished runs only.

    What is known to be damaged is not: it is stored anew.
    """
    known = KnownChunks()
    # Read before the listing: what was swept in between is in neither.
    condemned = condemned_chunks(repository.store)
    present = _present_objects(repository) - condemned
    if bad := present & damaged.all():
        _log.warning("%d damaged objects are not used again", len(bad), extra={"action": "damaged"})
        present -= bad
    # First, so that of two objects with one chunk the signed one counts.
    known.add_present(unfinished.earlier(), present)
    has_unfinished = len(known) > 0
    warnings: list[str] = []
    used: list[BackupKey] = []
    previous: SignedManifest | None = None
    # Oldest first, so that of two objects with one chunk the newer counts.
    for key in _recent(repository.backups(), name):
        try:
            signed = repository.manifest(key, allowed)
            if signed.signer.principal is None:
                raise IntegrityError(f"{key.manifest} is signed by a key that is not pinned")
            for part in signed.manifest.parts:
                known.add_present(repository.refs(signed.manifest, part), present)
        except (IntegrityError, NotFoundError) as error:
            # The new backup stores again what it can't take over; the old one is for `verify`.
            warnings.append(f"an earlier backup is damaged: {error.message}")
            continue
        used.append(key)
        if key.database == name:
            previous = signed
    _log.info("%d chunks are stored already", len(known), extra={"action": "known_read"})
    return Reusable(
        chunks=known,
        backups=frozenset(used),
        has_unfinished=has_unfinished,
        previous=previous,
        warnings=tuple(warnings),
    )


def _recent(keys: Sequence[BackupKey], name: str) -> list[BackupKey]:
    """Return the newest few backups of this database and of a few others, oldest first."""

    def by_age(key: BackupKey) -> tuple[BackupId, str]:
        return key.id, key.database

    newest: dict[str, list[BackupKey]] = {}
    for key in sorted(keys, key=by_age):
        newest.setdefault(key.database, []).append(key)
    recent = newest.pop(name, [])[-_RECENT_OF_THIS_DATABASE:]
    others = [key for of in newest.values() for key in of[-_RECENT_OF_EACH_OTHER:]]
    return sorted(recent + sorted(others, key=by_age)[-_OTHERS:], key=by_age)


def check_reused(
    repository: Repository,
    reused: frozenset[bytes],
    reusable: Reusable,
    *,
    referred: frozenset[bytes],
    lease: HeldLease,
) -> None:
    """Raise if something this backup refers to may have been pruned while it was made.

    What it reused is looked for if the backups that it came from have gone away. What is not
    condemned now stays for at least the shortest grace period, and a run that is shorter than
    half of that has nothing to fear: a longer one looks for all that it refers to.
    """
    if lease.age >= MINIMUM_GRACE / 2 or lease.has_lapsed:
        _check_long_run(repository, referred, lease)
    is_protected = reusable.backups <= set(repository.backups()) and not reusable.has_unfinished
    if reused and not is_protected:
        missing = reused - _present_objects(repository)
        if missing:
            raise StoreError(
                f"{len(missing)} chunks were deleted from {repository.store.address} while this"
                " backup was using them",
                hint="run the backup again; it stores them anew",
            )


def _check_long_run(repository: Repository, referred: frozenset[bytes], lease: HeldLease) -> None:
    condemned = condemned_chunks(repository.store)
    missing = referred - _present_objects(repository)
    if missing or (lease.has_lapsed and referred & condemned):
        raise StoreError(
            f"this run took {lease.age} and others may have taken it for dead:"
            f" {len(missing | referred & condemned)} of its chunks are deleted or about to be",
            hint="run the backup again; raise sweep_grace of [retention] if runs take this long",
        )


def keep_locked(
    repository: Repository, files: Iterable[RepositoryFile], reused: Iterable[bytes]
) -> None:
    """Have what this backup uses again locked as long as what it wrote, where the store locks."""
    store = repository.store
    if isinstance(store, LockingStore):
        keys = [*(file.name for file in files), *map(chunk_object_key, sorted(reused))]
        count = store.keep_locked(keys)
        if count:
            _log.info("%d locks are extended", count, extra={"action": "locks_extended"})


def _present_objects(repository: Repository) -> set[bytes]:
    """Return the SHA-256 in the name of every chunk object."""
    keys = repository.store.list(CHUNKS_PREFIX)
    return {sha256 for key in keys if (sha256 := parse_chunk_object_key(key)) is not None}
