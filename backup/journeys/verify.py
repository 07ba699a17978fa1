"""`verify`: is everything that the backups refer to there, and is it what was written?

Without an identity: signatures, lists, and the SHA-256 of every object. With one: every chunk is
decrypted, authenticated to its end, decompressed and its id compared, and the private half is
read. What is damaged is listed in full; one damaged object never hides the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import Identity
from backup.damaged import DamagedObjects
from backup.errors import (
    Flaw,
    IntegrityError,
    KeyUnavailableError,
    NotFoundError,
    StoreError,
    StrongroomError,
)
from backup.evidence.entry import Detail, Entry, EntryType
from backup.evidence.log import EvidenceLog
from backup.evidence.slot import Slot, answering
from backup.journeys.archives import find_chunk_key
from backup.journeys.progress import Progress
from backup.journeys.threads import Running
from backup.repository.access import Repository, SignedManifest
from backup.repository.chunks import ChunkRef, check_object
from backup.repository.layout import BackupKey, chunk_object_key
from backup.repository.share import Share, day_of, share_due

_IN_FLIGHT_PER_JOB = 2
# One object that cannot be read, or not opened, must not hide the next.
_WRONG = (IntegrityError, KeyUnavailableError, NotFoundError, StoreError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One thing that is wrong: with which object, and which backups it takes with it.

    `flaw` None: the store could not be read, so nobody knows.
    """

    what: str
    backups: tuple[str, ...]
    flaw: Flaw | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was read and found. `unpinned` are backups whose signer nothing here vouches for.

    `objects` were read, of `all_objects` that the backups refer to: fewer if `share` says which.
    """

    backups: tuple[str, ...]
    unpinned: tuple[str, ...]
    is_decrypted: bool
    objects: int
    object_bytes: int
    damages: tuple[Damage, ...]
    all_objects: int
    share: Share | None = None

    @property
    def is_good(self) -> bool:
        """Whether backups were there, nothing was wrong and every signer was pinned."""
        return bool(self.backups) and not self.damages and not self.unpinned


def record(found: Verified, log: EvidenceLog, *, now: datetime, slot: Slot | None = None) -> None:
    """Tell the evidence log what was verified and what came of it."""
    log.append(
        EntryType.VERIFY_FINISHED,
        {
            "backups": len(found.backups),
            "objects": found.objects,
            "object_bytes": found.object_bytes,
            "is_decrypted": found.is_decrypted,
            "damages": len(found.damages),
            "unpinned": len(found.unpinned),
            **_coverage(found),
            **answering(slot),
        },
        now=now,
    )


def _coverage(found: Verified) -> dict[str, Detail]:
    """Return what an entry says of a verification that read a share."""
    if found.share is None:
        return {}
    return {
        "within_days": found.share.days,
        "day": found.share.day,
        "shares": len(found.share.due),
        "all_objects": found.all_objects,
    }


def due_share(log: EvidenceLog | None, days: int, *, now: datetime) -> Share:
    """Return the share of today, and of the days since the log tells of the last one.

    A log that is not whole tells of nothing here; `record` is what it will be a failure for.
    """
    last = None
    with contextlib.suppress(StrongroomError):
        found = None if log is None else log.newest(lambda entry: _is_share(entry, days))
        day = None if found is None else found.details.get("day")
        last = day if isinstance(day, int) else None
    return share_due(days, today=day_of(now), last=last)


def _is_share(entry: Entry, days: int) -> bool:
    return entry.type is EntryType.VERIFY_FINISHED and entry.details.get("within_days") == days


def verify(
    repository: Repository,
    keys: Sequence[BackupKey],
    allowed: AllowedSigners | None,
    *,
    identities: Sequence[Identity] = (),
    share: Share | None = None,
    damaged: DamagedObjects | None = None,
    jobs: int,
    progress: Progress,
    running: Running | None = None,
) -> Verified:
    """Read everything that `keys` refer to, each object once, and return what was found.

    With a share: all manifests, lists and catalogues, and the chunks that are due. Chunk objects
    that are wrong are noted in `damaged`, and those there that are sound are cleared.

    When `running` is ended by another thread, it raises soon, and nothing is found.
    Raises `NotFoundError` if there is nothing to verify, `KeyUnavailableError` if the identities
    do not open the repository: neither may look like a result.
    """
    if not keys:
        raise NotFoundError(
            f"{repository.store.address} holds no backup, so nothing was verified",
            hint="take one with `strongroom backup`",
        )
    damages = _Damages()
    manifests: list[SignedManifest] = []
    for key in keys:
        try:
            manifests.append(repository.manifest(key, allowed))
        except _WRONG as error:
            damages.note(error, [key.id.text])
    chunk_key = None
    if identities:
        _require_fitting(repository, manifests, identities)
        chunk_key, problem = find_chunk_key(repository, identities)
        if problem is not None:
            damages.note(IntegrityError(problem), [key.id.text for key in keys])

    refs: dict[ChunkRef, list[str]] = {}
    for signed in manifests:
        _collect(repository, signed, refs, damages, identities)

    def check(ref: ChunkRef) -> None:
        if running is not None:
            running.check()
        if identities:
            repository.chunk(ref, identities, chunk_key)
        else:
            check_object(repository.object(ref), ref, chunk_object_key(ref.sha256))

    due = list(refs) if share is None else share.of(refs)
    object_bytes = sum(ref.object_bytes for ref in due)
    progress.begin("verifying", object_bytes)
    failed: set[bytes] = set()
    for ref, failure in _failures(check, iter(due), jobs, progress):
        damages.note(failure, refs[ref])
        failed.add(ref.sha256)
        if damaged is not None:
            damaged.note(ref.sha256, failure)
    if damaged is not None:
        sound = {ref.sha256 for ref in due} - failed
        damaged.clear(sound, is_opened=bool(identities))
    return Verified(
        backups=tuple(key.id.text for key in keys),
        unpinned=tuple(
            signed.manifest.backup_id for signed in manifests if signed.signer.principal is None
        ),
        is_decrypted=bool(identities),
        objects=len(due),
        object_bytes=object_bytes,
        damages=damages.found,
        all_objects=len(refs),
        share=share,
    )


class _Damages:
    """What is wrong, each thing once, in the order in which it was found."""

    def __init__(self) -> None:
        self._backups: dict[tuple[str, Flaw | None], list[str]] = {}

    def note(self, error: StrongroomError, backups: Sequence[str]) -> None:
        self._backups.setdefault((error.message, _flaw(error)), []).extend(backups)

    @property
    def found(self) -> tuple[Damage, ...]:
        return tuple(
            Damage(what=what, backups=tuple(dict.fromkeys(backups)), flaw=flaw)
            for (what, flaw), backups in self._backups.items()
        )


def _flaw(error: StrongroomError) -> Flaw | None:
    if isinstance(error, IntegrityError):
        return error.flaw
    if isinstance(error, KeyUnavailableError):
        return "unauthentic"  # sealed to somebody else than the rest of the backup
    return "missing" if isinstance(error, NotFoundError) else None


def _require_fitting(
    repository: Repository, manifests: Sequence[SignedManifest], identities: Sequence[Identity]
) -> None:
    """Raise `KeyUnavailableError` if the identities open none of the backups."""
    refusal: KeyUnavailableError | None = None
    for signed in manifests:
        try:
            repository.catalog(signed.manifest, identities)
        except KeyUnavailableError as error:
            refusal = error
        except (IntegrityError, StoreError):
            continue  # is reported where every catalogue is read
        else:
            return
    if refusal is not None:
        raise refusal


def _collect(
    repository: Repository,
    signed: SignedManifest,
    refs: dict[ChunkRef, list[str]],
    damages: _Damages,
    identities: Sequence[Identity],
) -> None:
    """Gather the objects of one backup; note files, lists and catalogue that are wrong."""
    manifest = signed.manifest
    for file in manifest.files:
        try:
            repository.check_file(file)
        except _WRONG as error:
            damages.note(error, [manifest.backup_id])
    for part in manifest.parts:
        try:
            for ref in repository.refs(manifest, part):
                backups = refs.setdefault(ref, [])
                if not backups or backups[-1] != manifest.backup_id:
                    backups.append(manifest.backup_id)
        except _WRONG as error:
            damages.note(error, [manifest.backup_id])
    try:
        if identities:
            repository.catalog(manifest, identities)
        else:
            repository.check_catalog(manifest)
    except _WRONG as error:
        damages.note(error, [manifest.backup_id])


def _failures(
    check: Callable[[ChunkRef], None], refs: Iterator[ChunkRef], jobs: int, progress: Progress
) -> Iterator[tuple[ChunkRef, StrongroomError]]:
    """Run `check` on each in `jobs` threads, a few ahead; yield those that failed, with why."""
    with ThreadPoolExecutor(jobs, thread_name_prefix="verify") as pool:
        waiting: list[tuple[ChunkRef, Future[None]]] = []

        def settle(
            ref: ChunkRef, future: Future[None]
        ) -> Iterator[tuple[ChunkRef, StrongroomError]]:
            try:
                future.result()
            except _WRONG as error:
                yield ref, error
            progress.advance(ref.object_bytes)

        for ref in refs:
            waiting.append((ref, pool.submit(check, ref)))
            if len(waiting) >= jobs * _IN_FLIGHT_PER_JOB:
                yield from settle(*waiting.pop(0))
        for ref, future in waiting:
            yield from settle(ref, future)
