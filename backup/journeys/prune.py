"""`prune`: delete the backups that the policy keeps no more, then what nothing refers to.

gather: manifests, the evidence log, pins, leases, what earlier prunes condemned
plan:   which backups go, which objects are condemned, which condemned ones are swept
act:    that plan and nothing else, less what has come into use meanwhile
report: to the evidence log before, after each backup, and at the end

A copy is pruned alike, by its own policy, pins and leases; the repository's log is told of it.
Ended anywhere there is something left over, never something missing, and the next prune goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from backup.errors import LockedError
from backup.evidence.entry import Detail
from backup.evidence.log import EvidenceLog
from backup.evidence.pruned import planned_details, prune_entries
from backup.journeys.progress import Progress
from backup.journeys.prunelook import (
    PrunePlan,
    Rules,
    Sight,
    decide,
    in_use,
    living,
    look,
    writer_at_work,
)
from backup.leases import HeldLease, held
from backup.repository.garbage import KEYS_PER_LIST, encode_condemned
from backup.repository.layout import BackupKey
from backup.repository.lease import read_leases
from backup.repository.pins import read_pins
from backup.repository.retention import BlockedPlan

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a prune did.

    `spared` were to go, and stay for now: they came into use, were pinned meanwhile, or the store
    has locked them. `locked` objects stay until their lock ends, at the earliest `locked_until`.
    """

    plan: PrunePlan
    deleted: tuple[BackupKey, ...]
    spared: Mapping[BackupKey, str]
    condemned: int
    swept: int
    locked: int
    locked_until: datetime | None
    postponed: str | None


@dataclass(slots=True)
class _Progress:
    """What has been done so far."""

    deleted: list[BackupKey] = field(default_factory=list)
    spared: dict[BackupKey, str] = field(default_factory=dict)
    condemned: int = 0
    swept: int = 0
    locked: int = 0
    locked_until: datetime | None = None
    postponed: str | None = None


def plan(sight: Sight, rules: Rules, *, now: datetime) -> PrunePlan | BlockedPlan:
    """Return what a prune would do now; nothing is written anywhere."""
    return decide(sight, look(sight, rules, now=now), rules, now=now)


def prune(
    sight: Sight,
    rules: Rules,
    log: EvidenceLog,
    *,
    clock: Callable[[], datetime],
    random: Callable[[int], bytes],
    progress: Progress,
    answering: Mapping[str, Detail] | None = None,
) -> Pruned | BlockedPlan:
    """Carry out what `plan` returns; nothing at all if it is blocked.

    `answering` goes into the entry that ends the run: which slot of the schedule it was for.
    Raises `BusyError` if another prune is at work on this repository, on any host.
    """
    store, kinds = sight.repository.store, prune_entries(sight.copy)
    with held(store, "prune", clock=clock, holders=sight.holders) as lease:
        made = plan(sight, rules, now=clock())
        if isinstance(made, BlockedPlan):
            log.append(
                kinds.blocked,
                {
                    **kinds.where,
                    "reasons": len(made.reasons),
                    "refused": len(made.refused.expired),
                    "policy_sha256": rules.sha256,
                    **(answering or {}),
                },
                now=clock(),
            )
            return made
        done = _Progress(postponed=made.postponed)
        if made.is_nothing and not answering:
            return _pruned(made, done)
        planned = log.append(
            kinds.planned,
            {
                **kinds.where,
                **planned_details((*made.backups.expired, *made.never_said)),
                "condemned": len(made.condemn),
                "swept": made.swept,
                "policy_sha256": rules.sha256,
            },
            now=clock(),
        )
        act = _Act(sight, made, log, lease, done, planned.entry.seq, clock, progress)
        act.delete_backups()
        act.condemn(random)
        act.sweep()
        act.clear_leases()
        log.append(
            kinds.executed,
            {
                **kinds.where,
                "planned": planned.entry.seq,
                "deleted": len(done.deleted),
                "spared": len(done.spared),
                "condemned": done.condemned,
                "swept": done.swept,
                "is_postponed": done.postponed is not None,
                **(answering or {}),
            },
            now=clock(),
        )
        return _pruned(made, done)


@dataclass(frozen=True, slots=True)
class _Act:
    """A plan being carried out."""

    sight: Sight
    plan: PrunePlan
    log: EvidenceLog
    lease: HeldLease
    done: _Progress
    planned: int
    clock: Callable[[], datetime]
    progress: Progress

    def delete_backups(self) -> None:
        """Delete manifest by manifest, each with the rest of its backup, oldest first."""
        for key in self.plan.never_said:
            self._say(key)
        going = self.plan.backups.expired
        if not going:
            return
        # Named first, looked at then: who begins to read one of them sees it, or is seen.
        self.lease.name_backups(going)
        for key in going:
            self.lease.check()
            reason = self._spared(key)
            if reason is not None:
                self.done.spared[key] = reason
                continue
            self._delete(key)

    def condemn(self, random: Callable[[int], bytes]) -> None:
        """Write down what nothing refers to."""
        keys = self.plan.condemn
        if not keys or self._is_postponed():
            return
        tokens = [random(3) for _ in range(len(keys) // KEYS_PER_LIST + 1)]
        for name, data in encode_condemned(keys, self.clock(), tokens):
            self.sight.repository.store.put(name, data)
            self.done.condemned += data.count(b"\n")

    def sweep(self) -> None:
        """Delete what was condemned a grace period ago and is referred to by nothing still."""
        if not self.plan.sweeps or self._is_postponed():
            return
        new = set(self.sight.repository.backups()) - self.plan.manifests.keys()
        if new:
            self.done.postponed = f"backup {min(new).id} was finished meanwhile"
            return
        self.progress.begin("sweeping", self.plan.swept)
        for sweep in self.plan.sweeps:
            is_gone = True
            for some in _groups(sweep.keys):
                self.lease.check()
                with ThreadPoolExecutor(self.sight.jobs, thread_name_prefix="sweep") as pool:
                    gone = list(pool.map(self._is_deleted, some))
                is_gone = is_gone and all(gone)
                self.done.swept += sum(gone)
                self.progress.advance(len(some))
            if is_gone:  # what is locked is tried again by the next prune
                self._is_deleted(sweep.list_key)

    def clear_leases(self) -> None:
        """Remove leases that count no more."""
        for key in self.plan.ended_leases:
            self._is_deleted(key)

    def _is_deleted(self, key: str) -> bool:
        """Delete an object; return whether it is gone, or locked by the store."""
        try:
            self.sight.repository.store.delete(key)
        except LockedError as error:
            until = self.done.locked_until
            self.done.locked += 1
            self.done.locked_until = min(filter(None, (until, error.until)), default=None)
            return False
        return True

    def _spared(self, key: BackupKey) -> str | None:
        """Return why a backup stays after all, or None."""
        store = self.sight.repository.store
        users = in_use(living(self.sight, read_leases(store)), [key], self.clock())
        if key in users:
            return f"in use: {users[key]}"
        pins = read_pins(store)
        return f"pinned: {pins[key]}" if key in pins else None

    def _delete(self, key: BackupKey) -> None:
        store = self.sight.repository.store
        try:
            store.delete(key.manifest)
        except LockedError as error:
            self.done.spared[key] = (
                "held by the store: a legal hold, which `strongroom unpin` lifts"
                if error.until is None
                else f"locked by the store until {error.until:%Y-%m-%d %H:%M} UTC"
            )
            return
        # From here on the backup does not exist; what is left of it is swept if we die now.
        self._say(key)
        for name in list(store.list(key.prefix)):
            self._is_deleted(name)
        self.done.deleted.append(key)
        _log.info("backup %s is deleted", key.id, extra={"action": "backup_deleted"})

    def _say(self, key: BackupKey) -> None:
        kinds = prune_entries(self.sight.copy)
        details: dict[str, Detail] = {
            **kinds.where,
            "backup": key.id.text,
            "database": key.database,
            "manifest_sha256": self.plan.manifests.get(key),
            "planned": self.planned,
        }
        self.log.append(kinds.executed, details, now=self.clock())

    def _is_postponed(self) -> bool:
        """Whether a writer has begun since the plan was made."""
        if self.done.postponed is None:
            leases = read_leases(self.sight.repository.store, ["backup"])
            self.done.postponed = writer_at_work(living(self.sight, leases), self.clock())
        return self.done.postponed is not None


def _pruned(made: PrunePlan, done: _Progress) -> Pruned:
    return Pruned(
        plan=made,
        deleted=tuple(done.deleted),
        spared=done.spared,
        condemned=done.condemned,
        swept=done.swept,
        locked=done.locked,
        locked_until=done.locked_until,
        postponed=done.postponed,
    )


def _groups(keys: tuple[str, ...], size: int = 500) -> Iterable[tuple[str, ...]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
