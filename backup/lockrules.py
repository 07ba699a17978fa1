"""Which rule the locks of a database's backups follow, as the settings have it."""

from __future__ import annotations

from datetime import timedelta

from backup.repository.locking import LockRule
from backup.schedule import Schedule
from backup.settings import Settings
from backup.storesettings import GivenCopy


def lock_rule(settings: Settings, database: str, copy: GivenCopy | None = None) -> LockRule | None:
    """Return the rule for a database in the repository, or in a copy.

    None: nothing is locked there, or for a time that was set by hand.
    """
    s3 = settings.s3 if copy is None else copy.s3 or settings.s3
    if not s3.is_lock_derived:
        return None
    own = settings.databases.get(database)
    if copy is not None and copy.retention is not None:
        policy = copy.retention.policy(settings.zone)
    else:
        zone = own.zone if own is not None else None
        retention = None if own is None else own.retention
        policy = settings.retention.of_database(retention, zone or settings.zone)
    line, zone = settings.schedule, settings.zone
    if own is not None:
        line, zone = own.schedule or line, own.zone or zone
    return LockRule(
        policy=policy,
        schedule=None if line is None else Schedule.parse(line, zone),
        at_most=s3.lock_at_most,
    )


def longest(settings: Settings, copy: GivenCopy | None) -> timedelta | None:
    """Return how long any backup is locked; None: it does not follow from the policy."""
    names = sorted(settings.databases) or [settings.name or ""]
    rules = [lock_rule(settings, name, copy) for name in names]
    spans = [rule.longest for rule in rules if rule is not None]
    return max(spans, default=None)
