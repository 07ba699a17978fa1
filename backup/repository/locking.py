"""Until when a policy keeps a backup at least, and so until when a store should lock it: pure.

Nobody knows at the moment of a backup which later one will take its place. What is known is the
calendar: the newest backup of a bucket that is over stays until enough newer buckets hold one, and
these begin on dates that can be computed. Whether a bucket is over, before it is, says the
schedule: no backup is due in the rest of it. Without a schedule only what is over counts, and the
lock is extended when it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import TypeAlias
from zoneinfo import ZoneInfo

from backup.repository.layout import BackupKey
from backup.repository.retention import Bucket, Policy, day, hour, month, week, year
from backup.schedule import Schedule

# Shorter locks would end before anybody has noticed an attack.
MINIMUM_LOCK = timedelta(days=1)

_Begin: TypeAlias = Callable[[datetime, int], datetime]
_FIFTY_YEARS_OF_DAYS = 18_250
_MOST_SLOTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRule:
    """What the locks of a database's backups follow from.

    `at_most` is how far ahead a lock reaches: what the policy keeps longer is extended while it
    does. A mistake in the policy is then paid for so long at most.
    """

    policy: Policy
    schedule: Schedule | None
    at_most: timedelta

    @property
    def longest(self) -> timedelta:
        """How long a backup is locked at most: for what is written once and kept for good."""
        policy = self.policy
        spans = (
            policy.keep_within,
            policy.minimum_age,
            timedelta(hours=min(policy.keep_hourly, 24 * _FIFTY_YEARS_OF_DAYS)),
            timedelta(days=min(policy.keep_daily, _FIFTY_YEARS_OF_DAYS)),
            timedelta(days=min(7 * policy.keep_weekly, _FIFTY_YEARS_OF_DAYS)),
            timedelta(days=min(31 * policy.keep_monthly, _FIFTY_YEARS_OF_DAYS)),
            timedelta(days=min(366 * policy.keep_yearly, _FIFTY_YEARS_OF_DAYS)),
        )
        return min(self.at_most, max(MINIMUM_LOCK, *spans))


def lock_ends(
    backups: Collection[BackupKey],
    rule: LockRule,
    *,
    now: datetime,
    pinned: Collection[BackupKey] = (),
) -> Mapping[BackupKey, datetime]:
    """Return until when each backup of one database has to be locked; not those that need none.

    A backup that has just begun counts among them. `pinned` are locked as far as a lock reaches.
    """
    policy, latest = rule.policy, now + rule.at_most
    ends: dict[BackupKey, datetime] = {}
    for key in backups:
        begun = key.id.started
        ends[key] = begun + max(policy.minimum_age, policy.keep_within, MINIMUM_LOCK)
    newest_first = sorted(set(backups), key=lambda key: (key.id, key.database), reverse=True)
    following = None if rule.schedule is None else rule.schedule.next_slot(now)
    for count, bucket, begin in (
        (policy.keep_hourly, hour, _hour_begins),
        (policy.keep_daily, day, _day_begins),
        (policy.keep_weekly, week, _week_begins),
        (policy.keep_monthly, month, _month_begins),
        (policy.keep_yearly, year, _year_begins),
    ):
        kept = _kept_by(
            newest_first, count, bucket, begin, zone=policy.zone, now=now, following=following
        )
        for key, end in kept:
            ends[key] = max(ends[key], end)
    for key, end in _kept_as_last(newest_first, rule, now):
        ends[key] = max(ends[key], end)
    ends.update(dict.fromkeys(ends.keys() & set(pinned), latest))
    return {key: min(end, latest) for key, end in ends.items() if end > now}


def _kept_by(
    newest_first: Sequence[BackupKey],
    count: int,
    bucket: Bucket,
    begin: _Begin,
    *,
    zone: ZoneInfo,
    now: datetime,
    following: datetime | None,
) -> Sequence[tuple[BackupKey, datetime]]:
    """Return until when the newest backup of each bucket stays: so many newer ones have to begin.

    A bucket that is not over counts only if no backup is due in the rest of it.
    """
    local = now.astimezone(zone)
    current = bucket(local)[0]
    seen: set[Hashable] = set()
    found = []
    for key in newest_first:
        missing = count - len(seen)
        if missing <= 0:
            break
        which = bucket(key.id.started.astimezone(zone))[0]
        if which in seen:
            continue
        seen.add(which)
        if which == current and (
            following is None or bucket(following.astimezone(zone))[0] == which
        ):
            continue
        # The current bucket may be the first of those that are missing.
        ahead = missing if current in seen else missing - 1
        found.append((key, begin(local, ahead).astimezone(UTC)))
    return found


def _kept_as_last(
    newest_first: Sequence[BackupKey], rule: LockRule, now: datetime
) -> Sequence[tuple[BackupKey, datetime]]:
    """Return until when each of the last few stays, if backups come as they are due."""
    last = newest_first[: rule.policy.keep_last]
    if rule.schedule is None or not last:
        return []
    wanted = min(rule.policy.keep_last, _MOST_SLOTS)
    slots = list(islice(rule.schedule.slots(now, now + rule.at_most), wanted))
    latest = now + rule.at_most
    # The newest goes when as many have come as are kept, the one before it one earlier.
    return [
        (key, slots[wanted - place - 1] if wanted - place <= len(slots) else latest)
        for place, key in enumerate(last[:wanted])
    ]


def _hour_begins(local: datetime, ahead: int) -> datetime:
    start = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    return start + timedelta(hours=min(ahead, 24 * _FIFTY_YEARS_OF_DAYS))


def _day_begins(local: datetime, ahead: int) -> datetime:
    return _midnight(local, local.date() + timedelta(days=min(ahead, _FIFTY_YEARS_OF_DAYS)))


def _week_begins(local: datetime, ahead: int) -> datetime:
    monday = local.date() - timedelta(days=local.weekday())
    return _midnight(local, monday + timedelta(days=min(7 * ahead, _FIFTY_YEARS_OF_DAYS)))


def _month_begins(local: datetime, ahead: int) -> datetime:
    months = 12 * local.year + local.month - 1 + min(ahead, 600)
    return _midnight(local, date(months // 12, months % 12 + 1, 1))


def _year_begins(local: datetime, ahead: int) -> datetime:
    return _midnight(local, date(local.year + min(ahead, 50), 1, 1))


def _midnight(local: datetime, on: date) -> datetime:
    return datetime.combine(on, time(), tzinfo=local.tzinfo)
