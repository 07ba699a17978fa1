"""`daemon --dry-run`: what a daemon that starts now would do first, and what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from backup.settings import Settings
from scheduler.journal import Journal, JournalError
from scheduler.plan import OPEN, take_due
from scheduler.service import journal_path, work_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One job: the slot that would be done now, how many were missed, and when it is due next."""

    job: str
    database: str
    schedule: str
    zone: str
    due: datetime | None
    missed: int
    next_due: datetime


def outlook(settings: Settings, environment: Mapping[str, str], *, now: datetime) -> list[Outlook]:
    """Return how every job stands by the journal; a job that is not in it begins now."""
    work = work_of(settings, environment)
    try:
        with closing(Journal.read_only(journal_path(settings))) as journal:
            floors, records = journal.floors(), journal.records(newest=200)
    except JournalError:  # no daemon has run here yet
        floors, records = {}, []
    taken = take_due(work.jobs, floors, records, now)
    open_ = {record.key: record for record in records if record.state in OPEN}
    open_ |= {record.key: record for record in taken.records if record.state in OPEN}
    return [
        Outlook(
            job=job.key.job,
            database=job.key.database,
            schedule=job.schedule.text,
            zone=job.schedule.zone,
            due=open_[job.key].due if job.key in open_ else None,
            missed=sum(one.slots for one in taken.missed if one.key == job.key),
            next_due=job.schedule.next_slot(now),
        )
        for job in work.jobs
    ]
