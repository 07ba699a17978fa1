"""What the settings promise of each database: slots, targets, certificates in use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from backup.errors import StrongroomError
from backup.postgres.dsn import Dsn
from backup.repository.layout import BackupKey
from backup.schedule import Schedule
from backup.settings import Settings
from scheduler.facts import Promise
from scheduler.jobs import ScheduledJob
from scheduler.status import Due


def database_names(settings: Settings, keys: Sequence[BackupKey]) -> tuple[str, ...]:
    """Return the databases that a status is about, in order.

    They are those of the settings; if these name none, those that there are backups of.
    """
    if settings.databases:
        return tuple(sorted(settings.databases))
    if settings.name is not None:
        return (settings.name,)
    if settings.dsn is not None:
        try:
            return (Dsn.parse(settings.dsn.get_secret_value()).database,)
        except StrongroomError:
            return ()
    return tuple(sorted({key.database for key in keys}))


def promise(settings: Settings, name: str, jobs: Sequence[ScheduledJob], now: datetime) -> Promise:
    """Return the promise of one database at `now`."""
    own = settings.for_database(name) if name in settings.databases else settings
    mine = [job for job in jobs if job.key.database == name]
    backup = next((job.schedule for job in mine if job.key.job == "backup"), None)
    latest = next((job.schedule for job in mine if job.key.job == "restore-test-latest"), None)
    return Promise(
        database=name,
        backup_due=() if backup is None else _two_slots(backup, now),
        test_due=() if latest is None else _two_slots(latest, now),
        next_due=None if backup is None else backup.next_slot(now),
        rpo_target=own.rpo_target,
        rto_target=own.rto_target,
    )


def due(job: ScheduledJob, now: datetime) -> Due:
    """Return when a job comes next."""
    return Due(job=job.key.job, database=job.key.database or None, at=job.schedule.next_slot(now))


def _two_slots(schedule: Schedule, now: datetime) -> tuple[datetime, ...]:
    """Return the two newest slots, newest first."""
    last = schedule.last_slot(now)
    return last, schedule.last_slot(last - timedelta(seconds=1))


def certificates(settings: Settings) -> set[Path]:
    """Return the certificate files that connections to databases name."""
    secrets = [one.dsn for one in settings.databases.values()] or [settings.dsn]
    found = set()
    for secret in secrets:
        try:
            options = dict(Dsn.parse(secret.get_secret_value()).options) if secret else {}
        except StrongroomError:
            continue  # `config check` says what is wrong with it, and the backup fails
        found |= {Path(options[key]) for key in ("sslcert", "sslrootcert") if options.get(key)}
    return {path for path in found if path.is_absolute()}
