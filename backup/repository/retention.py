"""Which backups stay and why, and which may go: a pure function of what there is and the policy.

Nothing is deleted on a doubt. A rule only ever adds reasons to keep a backup, so a larger policy
keeps at least as much; what would make all of it doubtful blocks the whole plan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

from backup.repository.layout import BackupId, BackupKey

# How far the clocks of two hosts may be apart before a backup counts as made in the future.
CLOCK_TOLERANCE = timedelta(minutes=5)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many backups of a database stay. Buckets are those of local time in `zone`.

    `keep_proven_monthly` keeps, of so many months, the newest backup that passed a restore test.
    The last three are brakes: the newest `minimum_count` stay, nothing younger than
    `minimum_age` goes, and a plan that would delete more than `max_expire` backups of one
    database is blocked.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: timedelta = timedelta()
    keep_proven_monthly: int = 0
    zone: ZoneInfo = _UTC
    minimum_count: int = 1
    minimum_age: timedelta = timedelta(days=1)
    max_expire: int = 30

    @property
    def is_empty(self) -> bool:
        """Whether no rule asks to keep anything: then nobody said what may go."""
        return not (
            self.keep_last
            or self.keep_hourly
            or self.keep_daily
            or self.keep_weekly
            or self.keep_monthly
            or self.keep_yearly
            or self.keep_within
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The backups there are and what is known of them; the order of anything is irrelevant.

    `proven` passed a restore test. `made_last` are the last of each database by the order of the
    evidence log: an id is as wrong as the clock that it came from, the log's order is not.
    `pinned` and `in_use` say why; `doubts` are sentences about what could not be believed.
    """

    backups: Collection[BackupKey]
    proven: frozenset[BackupKey] = frozenset()
    made_last: frozenset[BackupKey] = frozenset()
    pinned: Mapping[BackupKey, str] | None = None
    in_use: Mapping[BackupKey, str] | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A backup that stays, and every reason for it."""

    key: BackupKey
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What stays and what may be deleted, oldest first."""

    kept: tuple[Kept, ...]
    expired: tuple[BackupKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedPlan:
    """Nothing may be deleted, for these reasons; `refused` is what would have been decided."""

    reasons: tuple[str, ...]
    refused: Plan


Bucket: TypeAlias = Callable[[datetime], tuple[Hashable, str]]


def plan_retention(
    inventory: Inventory,
    policy: Policy,
    *,
    now: datetime,
    of_database: Mapping[str, Policy] | None = None,
) -> Plan | BlockedPlan:
    """Return what to keep and what may go at the time `now`, or why nothing may.

    `of_database` are the policies of databases, by their exact names, that have one of their own.
    """
    policies = of_database or {}
    reasons: dict[BackupKey, list[str]] = {}
    by_database: dict[str, list[BackupKey]] = defaultdict(list)
    for key in sorted(set(inventory.backups), key=_by_age):
        reasons[key] = []
        by_database[key.database].append(key)
    for database, keys in by_database.items():
        own = policies.get(database, policy)
        newest_first = keys[::-1]
        for key, reason in _wanted(newest_first, own, now):
            reasons[key].append(reason)
        for key, reason in _braked(newest_first, inventory, own, now):
            reasons[key].append(reason)
    plan = Plan(
        kept=tuple(Kept(key=key, reasons=tuple(why)) for key, why in reasons.items() if why),
        expired=tuple(key for key, why in reasons.items() if not why),
    )
    in_force = {database: policies.get(database, policy) for database in by_database}
    blocks = tuple(_blocks(inventory, in_force, plan, now))
    return BlockedPlan(reasons=blocks, refused=plan) if blocks else plan


def _by_age(key: BackupKey) -> tuple[BackupId, str]:
    return key.id, key.database


def _wanted(
    newest_first: Sequence[BackupKey], policy: Policy, now: datetime
) -> Iterable[tuple[BackupKey, str]]:
    """Yield what the policy asks to keep of one database."""
    for place, key in enumerate(newest_first[: policy.keep_last], 1):
        yield key, f"last {place} of {policy.keep_last}"
    for count, bucket in (
        (policy.keep_hourly, hour),
        (policy.keep_daily, day),
        (policy.keep_weekly, week),
        (policy.keep_monthly, month),
        (policy.keep_yearly, year),
    ):
        yield from _newest_of_each(newest_first, count, bucket, policy.zone)
    if policy.keep_within:
        for key in newest_first:
            if key.id.started >= now - policy.keep_within:
                yield key, f"within {_span(policy.keep_within)}"


def _braked(
    newest_first: Sequence[BackupKey], inventory: Inventory, policy: Policy, now: datetime
) -> Iterable[tuple[BackupKey, str]]:
    """Yield what no policy may delete of one database."""
    yield newest_first[0], "newest"
    for key in newest_first[1 : policy.minimum_count]:
        yield key, f"one of the newest {policy.minimum_count}"
    proven = [key for key in newest_first if key in inventory.proven]
    if proven:
        yield proven[0], "newest that passed a restore test"
        for key, name in _newest_of_each(proven, policy.keep_proven_monthly, month, policy.zone):
            yield key, f"passed a restore test, {name}"
    pinned, in_use = inventory.pinned or {}, inventory.in_use or {}
    for key in newest_first:
        if key in inventory.made_last:
            yield key, "last made, by the evidence log"
        if key.id.started > now - policy.minimum_age:
            yield key, f"younger than {_span(policy.minimum_age)}"
        if key in pinned:
            yield key, f"pinned: {pinned[key]}"
        if key in in_use:
            yield key, f"in use: {in_use[key]}"


def _span(length: timedelta) -> str:
    """Return `1 day`, or `20:00:00`."""
    return str(length).removesuffix(", 0:00:00")


def _newest_of_each(
    newest_first: Sequence[BackupKey], count: int, bucket: Bucket, zone: ZoneInfo
) -> Iterable[tuple[BackupKey, str]]:
    """Yield the newest backup of each of the newest `count` buckets that hold any."""
    seen: set[Hashable] = set()
    for key in newest_first:
        if len(seen) >= count:
            return
        which, name = bucket(key.id.started.astimezone(zone))
        if which not in seen:
            seen.add(which)
            yield key, name


def hour(local: datetime) -> tuple[Hashable, str]:
    """Return the hour that a local time lies in, and its name."""
    # With the offset: the hour that comes twice in autumn is two hours.
    return (local.date(), local.hour, local.utcoffset()), f"hourly {local:%Y-%m-%d %H:00 %z}"


def day(local: datetime) -> tuple[Hashable, str]:
    """Return the day."""
    return local.date(), f"daily {local:%Y-%m-%d}"


def week(local: datetime) -> tuple[Hashable, str]:
    """Return the ISO week."""
    iso = local.isocalendar()
    return (iso.year, iso.week), f"weekly {iso.year}-W{iso.week:02}"


def month(local: datetime) -> tuple[Hashable, str]:
    """Return the month."""
    return (local.year, local.month), f"monthly {local:%Y-%m}"


def year(local: datetime) -> tuple[Hashable, str]:
    """Return the year."""
    return local.year, f"yearly {local:%Y}"


def _blocks(
    inventory: Inventory, policies: Mapping[str, Policy], plan: Plan, now: datetime
) -> Iterable[str]:
    """Yield why nothing at all may be deleted."""
    yield from inventory.doubts
    for database, policy in sorted(policies.items()):
        if policy.is_empty:
            yield (f"the policy keeps nothing of {database}: no keep_… of [retention] is set")
    latest = now + CLOCK_TOLERANCE
    for key in sorted(set(inventory.backups), key=_by_age):
        if key.id.started > latest:
            yield (
                f"backup {key.id} of {key.database} lies in the future"
                f" (it is {now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC here): a clock is wrong"
            )
    counts: dict[str, int] = defaultdict(int)
    for key in plan.expired:
        counts[key.database] += 1
    for database, count in sorted(counts.items()):
        most = policies[database].max_expire
        if count > most:
            yield f"{count} backups of {database} would go at once, and max_expire is {most}"
