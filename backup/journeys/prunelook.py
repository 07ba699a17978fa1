"""The first part of a prune: what there is, what of it may be believed, what may go.

Nothing here writes. What was read is a value, and so is the plan that is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from backup.crypto.allowed_signers import AllowedSigners
from backup.errors import IntegrityError, NotFoundError, UnpinnedError
from backup.evidence.entry import Entry
from backup.evidence.log import Claim, StoredLog, check_log, read_log
from backup.evidence.pruned import (
    made_in_order,
    never_said,
    pinned_backups,
    proven_backups,
)
from backup.holders import Holders
from backup.repository.access import Repository
from backup.repository.garbage import (
    CondemnedList,
    References,
    left_over,
    read_condemned,
)
from backup.repository.layout import (
    BACKUPS_PREFIX,
    CHUNKS_PREFIX,
    BackupKey,
    parse_chunk_object_key,
    parse_manifest_key,
)
from backup.repository.lease import (
    READERS,
    WRITERS,
    Lease,
    keys_of_ended,
    name_of,
    read_leases,
)
from backup.repository.manifest import LogHead, StoredPart
from backup.repository.pins import look_at_pins, pin_key
from backup.repository.retention import (
    CLOCK_TOLERANCE,
    BlockedPlan,
    Inventory,
    Plan,
    Policy,
    plan_retention,
)

# One run condemns so many objects at most, and the next run the rest: memory stays bounded.
MOST_CONDEMNED_AT_ONCE = 500_000

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What stays, by database, and how long what nothing refers to stays marked."""

    policy: Policy
    grace: timedelta
    sha256: str
    of_database: Mapping[str, Policy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a prune looks with: the repository, whom it believes, and what this host remembers.

    `unfinished` are chunk objects that runs of this host stored and did not finish; `holders` knows
    which of its runs are dead. `copy` is the name of the copy that the repository is, if it is one.
    """

    repository: Repository
    allowed: AllowedSigners | None
    claims: Sequence[Claim]
    unfinished: frozenset[bytes]
    holders: Holders
    jobs: int
    copy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a prune has to know of a manifest that was believed."""

    key: BackupKey
    sha256: str
    parts: tuple[StoredPart, ...]
    log: LogHead | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Everything that was read before anything was decided."""

    manifests: Mapping[BackupKey, Held]
    inventory: Inventory
    leases: tuple[Lease, ...]
    condemned: tuple[CondemnedList, ...]
    left_over: tuple[str, ...]
    ended_leases: tuple[str, ...]
    never_said: tuple[BackupKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A list of condemned objects whose time has come, and those of them that nothing refers to."""

    list_key: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What a prune does, and nothing else: a value that a dry run prints.

    `postponed` says why no object is condemned or swept this time, if that is so.
    """

    backups: Plan
    manifests: Mapping[BackupKey, str]
    condemn: tuple[str, ...]
    sweeps: tuple[Sweep, ...]
    ended_leases: tuple[str, ...]
    never_said: tuple[BackupKey, ...]
    postponed: str | None

    @property
    def is_nothing(self) -> bool:
        """Whether nothing in the repository would change."""
        return not (
            self.backups.expired
            or self.condemn
            or self.sweeps
            or self.ended_leases
            or self.never_said
        )

    @property
    def swept(self) -> int:
        """How many objects go for good."""
        return sum(len(sweep.keys) for sweep in self.sweeps)


def look(sight: Sight, rules: Rules, *, now: datetime) -> Stored:
    """Read all manifests, the evidence log, pins, leases, and what is condemned."""
    store = sight.repository.store
    doubts: list[str] = []
    # Leases first: whoever is at work when the manifests are read is seen.
    leases = living(sight, _believed(doubts, lambda: read_leases(store)) or ())
    condemned = tuple(_believed(doubts, lambda: read_condemned(store)) or ())
    objects = list(store.list(BACKUPS_PREFIX))
    keys = [key for name in objects if (key := parse_manifest_key(name)) is not None]
    manifests = _manifests(sight, keys, doubts)
    pins = look_at_pins(store)
    doubts += pins.wrong
    log = _log(sight, manifests.values(), doubts)
    entries = () if log is None else tuple(log.entries())
    # An entry that no checkpoint vouches for yet is nobody's word.
    vouched_for = entries[: log.vouched_for if log else 0]
    doubts += _lost_pins(
        sight, (pinned_backups(vouched_for, sight.copy) & set(keys)) - {*pins.reasons}
    )
    doubts += _clock_doubts(leases, condemned, now)
    existing = frozenset(keys)
    return Stored(
        manifests=manifests,
        inventory=Inventory(
            backups=existing,
            proven=proven_backups(vouched_for) & existing,
            made_last=_made_last(entries, existing, rules),
            pinned=pins.reasons,
            in_use=in_use(leases, existing, now),
            doubts=tuple(doubts),
        ),
        leases=leases,
        condemned=condemned,
        left_over=tuple(left_over(objects, existing)),
        ended_leases=tuple(
            _believed(doubts, lambda: keys_of_ended(store, now, is_dead=sight.holders.is_dead))
            or ()
        ),
        never_said=never_said(entries, existing, sight.copy),
    )


def decide(sight: Sight, stored: Stored, rules: Rules, *, now: datetime) -> PrunePlan | BlockedPlan:
    """Return what goes, or why nothing may. Reads the lists of all that stays."""
    backups = plan_retention(stored.inventory, rules.policy, now=now, of_database=rules.of_database)
    if isinstance(backups, BlockedPlan):
        return backups
    postponed = writer_at_work(stored.leases, now)
    condemn: tuple[str, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    if postponed is None:
        staying = [stored.manifests[one.key] for one in backups.kept]
        references = read_references(sight, staying)
        condemn = tuple(_to_condemn(sight, stored, references))
        sweeps = tuple(_sweeps(stored, references, rules.grace, now))
    return PrunePlan(
        backups=backups,
        manifests={key: held.sha256 for key, held in stored.manifests.items()},
        condemn=condemn,
        sweeps=sweeps,
        ended_leases=stored.ended_leases,
        never_said=stored.never_said,
        postponed=postponed,
    )


def living(sight: Sight, leases: Iterable[Lease]) -> tuple[Lease, ...]:
    """Return the leases whose holders are not known to be dead."""
    return tuple(lease for lease in leases if not sight.holders.is_dead(lease))


def writer_at_work(leases: Iterable[Lease], now: datetime) -> str | None:
    """Return why no object may be condemned or swept now, or None."""
    for lease in leases:
        if lease.kind in WRITERS and lease.is_alive(now):
            return f"{lease.holder}, is at work until {lease.expires:%Y-%m-%d %H:%M:%S} UTC at most"
    return None


def in_use(
    leases: Iterable[Lease], backups: Iterable[BackupKey], now: datetime
) -> Mapping[BackupKey, str]:
    """Return who reads each backup that somebody reads."""
    holders = {
        name: lease.holder
        for lease in leases
        if lease.kind in READERS and lease.is_alive(now)
        for name in lease.backups
    }
    return {key: holders[name_of(key)] for key in backups if name_of(key) in holders}


def read_references(sight: Sight, staying: Sequence[Held]) -> References:
    """Return which chunk objects these backups refer to. Raises `IntegrityError` on any doubt."""
    repository = sight.repository
    references = References()
    # In the order of parts, so that each list comes after one much like it; each list once.
    wanted = {
        part.list_sha256: (held.key.chunk_list(part.name), part)
        for held, part in sorted(
            ((held, part) for held in staying for part in held.parts),
            key=lambda pair: (pair[0].key.database, pair[1].name, pair[0].key.id),
        )
    }

    def read(place: tuple[str, StoredPart]) -> tuple[str, StoredPart, bytes]:
        key, part = place
        return key, part, repository.list_object(key, part)

    for key, part, data in _each(read, list(wanted.values()), sight.jobs):
        if references.add_list(data, key) != part.chunks:
            raise IntegrityError(f"{key} does not have as many lines as the manifest says")
    return references


def _manifests(
    sight: Sight, keys: Sequence[BackupKey], doubts: list[str]
) -> Mapping[BackupKey, Held]:
    """Read the manifests; what cannot be believed is a doubt."""

    def read(key: BackupKey) -> Held | str:
        try:
            signed = sight.repository.manifest(key, sight.allowed)
            if signed.signer.principal is None:
                raise UnpinnedError(f"{key.manifest} is signed by a key that is not pinned here")
        except (IntegrityError, NotFoundError, UnpinnedError) as error:
            return error.message
        manifest = signed.manifest
        return Held(key=key, sha256=signed.sha256, parts=manifest.parts, log=manifest.log)

    believed: dict[BackupKey, Held] = {}
    for found in _each(read, keys, sight.jobs):
        if isinstance(found, str):
            doubts.append(found)
        else:
            believed[found.key] = found
    return believed


def _log(sight: Sight, manifests: Iterable[Held], doubts: list[str]) -> StoredLog | None:
    """Read the evidence log; what is wrong with it is a doubt, and then it tells of nothing."""
    if sight.allowed is None:
        doubts.append("no signer is pinned on this host, so no proof can be believed")
        return None
    log = read_log(sight.repository.store)
    claims = [
        Claim(who=f"backup {held.key.id}", head=held.log)
        for held in manifests
        if held.log is not None
    ]
    wrong = check_log(
        log,
        repository_id=sight.repository.id,
        keys=[signer.public_key for signer in sight.allowed.signers],
        claims=[*sight.claims, *claims],
        is_at_rest=False,
    )
    doubts += [f"evidence log: {sentence}" for sentence in wrong]
    return None if wrong else log


def _lost_pins(sight: Sight, wanted: Iterable[BackupKey]) -> Iterable[str]:
    """Yield which of these pins are not there; one may have been set since the others were read."""
    for key in sorted(wanted):
        name = pin_key(key)
        if name not in sight.repository.store.list(name):
            yield f"{name} is gone, and the evidence log says that backup {key.id} is pinned"


def _clock_doubts(
    leases: Iterable[Lease], condemned: Iterable[CondemnedList], now: datetime
) -> Iterable[str]:
    latest = now + CLOCK_TOLERANCE
    for lease in leases:
        if lease.written > latest:
            yield f"{lease.key} was written in the future: a clock is wrong"
    for found in condemned:
        if found.made > latest:
            yield f"{found.key} was written in the future: a clock is wrong"


def _made_last(
    entries: Iterable[Entry], existing: frozenset[BackupKey], rules: Rules
) -> frozenset[BackupKey]:
    """Return the last few of each database that the log was told of, of those that exist."""
    last: set[BackupKey] = set()
    for database, made in made_in_order(entries).items():
        count = rules.of_database.get(database, rules.policy).minimum_count
        last.update([key for key in made if key in existing][-max(count, 1) :])
    return frozenset(last)


def _to_condemn(sight: Sight, stored: Stored, references: References) -> Iterable[str]:
    """Return what nothing refers to and no list condemns yet."""
    known = {key for found in stored.condemned for key in found.keys}
    chunks = references.unreferenced(sight.repository.store.list(CHUNKS_PREFIX))
    fresh = (key for key in chunks if parse_chunk_object_key(key) not in sight.unfinished)
    both = (key for keys in (stored.left_over, fresh) for key in keys if key not in known)
    return islice(both, MOST_CONDEMNED_AT_ONCE)


def _sweeps(
    stored: Stored, references: References, grace: timedelta, now: datetime
) -> Iterable[Sweep]:
    """Return the lists that are due, each with what nothing refers to still."""
    for found in stored.condemned:
        if found.is_due(now, grace):
            objects = left_over(found.keys, stored.inventory.backups)
            yield Sweep(list_key=found.key, keys=(*objects, *references.unreferenced(found.keys)))


def _each(
    function: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int
) -> Iterable[_Result]:
    """Yield the results in order; a few are worked on ahead, in threads."""
    with ThreadPoolExecutor(jobs, thread_name_prefix="prune") as pool:
        for start in range(0, len(items), 4 * jobs):
            yield from pool.map(function, items[start : start + 4 * jobs])


def _believed(doubts: list[str], read: Callable[[], Sequence[_Result]]) -> Sequence[_Result] | None:
    """Return what was read, or None: then it is a doubt."""
    try:
        return read()
    except IntegrityError as error:
        doubts.append(error.message)
        return None
