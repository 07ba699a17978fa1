"""`copy`: the backups of a repository into a second store, so that no one disaster takes both.

gather: which backups and which objects are there, here and in the copy
plan:   the backups that the copy has not, oldest first, and their objects that it has not (pure)
act:    each object read, held against its signed list, put; all durable before the manifest
report: what was copied, and what could not be

The copy is the same repository under the same id: the same keys and pins read it. Ended anywhere
there are objects too many in the copy, never a manifest without all its objects. The evidence log
stays with the repository; what it says is copied beside the backups, last, so that it tells of
them all. Nothing is deleted from a copy here; what its own retention would let go is not copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from backup.crypto.allowed_signers import AllowedSigners
from backup.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    SettingsError,
    StrongroomError,
)
from backup.evidence.entry import EntryType
from backup.evidence.log import EvidenceLog
from backup.evidence.slot import Slot, answering
from backup.holders import Holders
from backup.journeys.copylog import copy_log, copy_pins
from backup.journeys.locks import lock_new, promote
from backup.journeys.progress import Progress
from backup.leases import HeldLease, held, reading
from backup.repository.access import Repository, SignedManifest
from backup.repository.canonical import decode
from backup.repository.chunks import ChunkRef, check_object
from backup.repository.layout import (
    CHUNK_KEY_KEY,
    CHUNKS_PREFIX,
    INSTRUCTIONS_KEY,
    REPOSITORY_KEY,
    SCRIPT_KEY,
    BackupKey,
    chunk_object_key,
    parse_chunk_object_key,
)
from backup.repository.lease import read_leases
from backup.repository.locking import LockRule
from backup.repository.manifest import RepositoryDescription, sha256_hex
from backup.repository.pins import read_pins
from backup.repository.retention import BlockedPlan, Inventory, Policy, plan_retention
from backup.repository.stores.base import LockingStore, Store

# The description comes last: it exists exactly when the copy is a repository.
_FILES = (CHUNK_KEY_KEY, INSTRUCTIONS_KEY, SCRIPT_KEY, REPOSITORY_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A backup that was not copied, and why; it is not in the copy."""

    key: BackupKey
    error: StrongroomError


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a run did. `present` backups were in the copy already."""

    address: str
    present: tuple[BackupKey, ...]
    copied: tuple[BackupKey, ...]
    failed: tuple[Failure, ...]
    objects: int
    object_bytes: int
    log_objects: int


def _no_rule(database: str) -> LockRule | None:
    del database
    return None


@dataclass(slots=True)
class Run:
    """What became of each copy by name: it was made, or could not be."""

    made: dict[str, Copied] = field(default_factory=dict)
    errors: dict[str, StrongroomError] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """The backups that were left out, and why."""
        return [
            f"{bad.key.id}: {bad.error.message}" for one in self.made.values() for bad in one.failed
        ]


def tell(log: EvidenceLog, run: Run, slot: Slot | None, *, now: datetime) -> None:
    """Tell the log of a run that copied something, failed, or was due."""
    made = run.made.values()
    copied = sum(len(one.copied) for one in made)
    if not (copied or run.problems or run.errors or slot):
        return
    log.append(
        EntryType.COPY_FINISHED,
        {
            "copies": " ".join((*run.made, *(run.errors.keys() - run.made.keys()))),
            "copied": copied,
            "failed": len(run.problems),
            "errors": len(run.errors),
            "objects": sum(one.objects for one in made),
            "object_bytes": sum(one.object_bytes for one in made),
            **answering(slot),
        },
        now=now,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRules:
    """What a copy keeps, and how long it locks; None: all, and as the store is opened."""

    retention: Policy | None = None
    lock_rule: Callable[[str], LockRule | None] = _no_rule


ALL = CopyRules()


def plan(
    source: Repository,
    target: Store,
    database: str | None,
    rules: CopyRules = ALL,
    *,
    now: datetime,
) -> tuple[BackupKey, ...]:
    """Return the backups that the copy has not and its retention keeps, oldest first.

    Raises `SettingsError` if there is another repository in its place.
    """
    there = _present(source, target)
    return _missing(source, target, there, database=database, rules=rules, now=now)


def _present(source: Repository, target: Store) -> frozenset[BackupKey]:
    there = _opened(source, target)
    return frozenset() if there is None else frozenset(there.backups())


def _missing(
    source: Repository,
    target: Store,
    present: frozenset[BackupKey],
    *,
    database: str | None,
    rules: CopyRules,
    now: datetime,
) -> tuple[BackupKey, ...]:
    missing = [key for key in source.backups(database) if key not in present]
    if rules.retention is None or not missing:
        return tuple(missing)
    pinned = {**read_pins(target), **read_pins(source.store)}
    # What a prune of the copy would delete at once; it decides over fewer, so it deletes no more.
    decided = plan_retention(
        Inventory(backups={*present, *missing}, pinned=pinned), rules.retention, now=now
    )
    kept = decided.refused.kept if isinstance(decided, BlockedPlan) else decided.kept
    wanted = {one.key for one in kept}
    return tuple(key for key in missing if key in wanted)


def copy(
    source: Repository,
    target: Store,
    allowed: AllowedSigners | None,
    *,
    database: str | None,
    jobs: int,
    clock: Callable[[], datetime],
    progress: Progress,
    rules: CopyRules = ALL,
    holders: Holders | None = None,
) -> Copied:
    """Copy the backups that are missing; what is in the copy already is left as it is.

    A backup that is damaged, or that no pinned key signed, is not copied and does not keep the
    others from it. Raises `BusyError` if the copy is being pruned. `holders` knows which runs of
    this host are dead.
    """
    with held(target, "backup", clock=clock, holders=holders) as lease:
        # A prune that begins from now on sees the lease, and sweeps nothing.
        _require_no_prune(target, clock(), holders)
        there = _present(source, target)
        missing = _missing(source, target, there, database=database, rules=rules, now=clock())
        present = tuple(sorted(key for key in there if database in {None, key.database}))
        run = _Run(source, target, allowed, jobs=jobs, progress=progress, lease=lease)
        with reading(source.store, "restore", missing, clock=clock, holders=holders):
            if missing:
                run.copy_files()
            for key in missing:
                of_database = [one for one in (*present, *missing) if one.database == key.database]
                lock_new(target, key, of_database, rules.lock_rule(key.database), now=clock())
                run.copy_backup(key)
        log_objects = 0
        if missing or present:
            copy_pins(source.store, target)
            log_objects = copy_log(source.store, target)
        _promote(target, allowed, rules, now=clock())
    return Copied(
        address=target.address,
        present=present,
        copied=tuple(run.copied),
        failed=tuple(run.failed),
        objects=run.objects,
        object_bytes=run.object_bytes,
        log_objects=log_objects,
    )


def _require_no_prune(target: Store, now: datetime, holders: Holders | None) -> None:
    for lease in read_leases(target, ["prune"]):
        if lease.is_alive(now) and not (holders and holders.is_dead(lease)):
            raise BusyError(
                f"{target.address} is being pruned by {lease.holder}",
                hint="copy again when that is over",
            )


def _promote(
    target: Store, allowed: AllowedSigners | None, rules: CopyRules, *, now: datetime
) -> None:
    """Extend the locks of what the copy keeps longer than it looked when it was copied."""
    try:
        copy = Repository(target)
    except NotFoundError:
        return
    by_database: dict[str, list[BackupKey]] = {}
    for key in copy.backups():
        by_database.setdefault(key.database, []).append(key)
    pinned = read_pins(target)
    for database, keys in by_database.items():
        promote(copy, keys, allowed, rules.lock_rule(database), now=now, pinned=pinned)


def _opened(source: Repository, target: Store) -> Repository | None:
    try:
        data = target.get(REPOSITORY_KEY)
    except NotFoundError:
        return None
    other = decode(RepositoryDescription, data, REPOSITORY_KEY)
    if other != source.description:
        raise SettingsError(
            f"{target.address} holds repository {other.repository_id}, not a copy of {source.id}",
            hint="name an empty directory or prefix for the copy",
        )
    return Repository(target)


class _Run:
    """What is there, and what has been done so far."""

    def __init__(
        self,
        source: Repository,
        target: Store,
        allowed: AllowedSigners | None,
        *,
        jobs: int,
        progress: Progress,
        lease: HeldLease,
    ) -> None:
        self._lease = lease
        self._source = source
        self._target = target
        self._allowed = allowed
        self._jobs = jobs
        self._progress = progress
        self._there = _chunks_in(target)
        self.copied: list[BackupKey] = []
        self.failed: list[Failure] = []
        self.objects = self.object_bytes = 0

    def copy_files(self) -> None:
        """Copy what `init` wrote, unless it is there."""
        for name in _FILES:
            self._put_same(name, self._source.store.get(name))

    def copy_backup(self, key: BackupKey) -> None:
        """Copy one backup, its manifest last; note it among the failed if it is not to be had."""
        try:
            signed = self._source.manifest(key, self._allowed)
            if signed.signer.principal is None:
                raise IntegrityError(
                    f"{key.manifest} is signed by a key that is not pinned", flaw="unsigned"
                )
            self._copy(key, signed)
        except (IntegrityError, NotFoundError) as error:
            self.failed.append(Failure(key=key, error=error))
        else:
            self.copied.append(key)

    def _copy(self, key: BackupKey, signed: SignedManifest) -> None:
        manifest = signed.manifest
        lists: dict[str, bytes] = {}
        refs: dict[bytes, ChunkRef] = {}
        for part in manifest.parts:
            for ref in self._source.refs(manifest, part):
                refs[ref.sha256] = ref
            name = key.chunk_list(part.name)
            lists[name] = self._listed(name, part.list_sha256)
        missing = [ref for sha256, ref in refs.items() if sha256 not in self._there]
        self._progress.begin(f"copying {key.id}", sum(ref.object_bytes for ref in missing))
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="copy") as pool:
            for ref in pool.map(self._copy_chunk, missing):
                self._progress.advance(ref.object_bytes, ref.object_bytes)
                self.objects += 1
                self.object_bytes += ref.object_bytes
        for name, data in lists.items():
            self._put_same(name, data)
        self._put_same(key.catalog, self._listed(key.catalog, manifest.catalog_sha256))
        self._put_same(key.signature, self._source.store.get(key.signature))
        self._target.sync()
        self._require_all(key, refs)
        self._keep_locked(refs.keys() - {ref.sha256 for ref in missing})
        data = self._source.store.get(key.manifest)
        if sha256_hex(data) != signed.sha256:
            raise IntegrityError(f"{key.manifest} changed while it was being copied")
        self._lease.check()
        self._target.put(key.manifest, data)

    def _copy_chunk(self, ref: ChunkRef) -> ChunkRef:
        name = chunk_object_key(ref.sha256)
        data = self._source.object(ref)
        check_object(data, ref, name)
        self._target.put(name, data, durable=False)
        return ref

    def _require_all(self, key: BackupKey, refs: dict[bytes, ChunkRef]) -> None:
        """Ask the copy itself: every object that the manifest needs is listed there."""
        self._there = _chunks_in(self._target)
        lost = refs.keys() - self._there
        if lost:
            raise IntegrityError(
                f"{len(lost)} objects of {key.id} are not in {self._target.address} after they were"
                " put there",
                hint="is somebody deleting there? run `strongroom copy` again",
                flaw="missing",
            )

    def _keep_locked(self, used_again: Sequence[bytes] | set[bytes]) -> None:
        if isinstance(self._target, LockingStore):
            self._target.keep_locked([*_FILES, *map(chunk_object_key, sorted(used_again))])

    def _listed(self, name: str, sha256: str) -> bytes:
        data = self._source.store.get(name)
        if sha256_hex(data) != sha256:
            raise IntegrityError(f"{name} is not what the signed manifest lists: SHA-256 differs")
        return data

    def _put_same(self, name: str, data: bytes) -> None:
        """Put an object, unless an earlier run did: then it must be the same."""
        try:
            there = self._target.get(name)
        except NotFoundError:
            self._target.put(name, data, durable=name == REPOSITORY_KEY)
            return
        if there != data:
            raise IntegrityError(
                f"{name} in {self._target.address} is not the one of {self._source.store.address}",
                hint="somebody changed one of them: `strongroom verify` both",
            )


def _chunks_in(store: Store) -> set[bytes]:
    names = store.list(CHUNKS_PREFIX)
    return {sha256 for name in names if (sha256 := parse_chunk_object_key(name)) is not None}
