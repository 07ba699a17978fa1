"""Slots: the points in time at which a job is due, and what the evidence log says of them. Pure.

A job is a name of `JOBS`; with the database that it is about, or None for the whole repository, it
is what a `policy.set` promises. An entry answers for a slot if its details carry `job` and `slot`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from backup.errors import SettingsError
from backup.evidence.entry import Detail

Job = Literal[
    "backup",
    "prune",
    "verify",
    "restore-test-latest",
    "restore-test-oldest",
    "restore-test-random",
    "report",
    "copy",
]
JOBS: tuple[Job, ...] = get_args(Job)
# Why a slot was missed: nobody ran; another run of the job was at work; the job was held back by
# the operator; the run could not begin.
Reason = Literal["down", "busy", "held", "error"]
REASONS: tuple[Reason, ...] = get_args(Reason)

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One point in time at which a job is due; `due` has whole seconds."""

    job: Job
    due: datetime

    @property
    def text(self) -> str:
        """The form of `--slot`: `backup@2026-01-14T02:00:00Z`."""
        return f"{self.job}@{slot_text(self.due)}"

    @property
    def details(self) -> dict[str, Detail]:
        """What an entry carries that answers for it."""
        return {"job": self.job, "slot": slot_text(self.due)}

    @classmethod
    def parse(cls, text: str) -> Slot:
        """Return the slot that `text` writes. Raises `SettingsError`."""
        job, _, due = text.partition("@")
        parsed = parse_slot_time(due)
        for known in JOBS:
            if known == job and parsed is not None:
                return cls(job=known, due=parsed)
        raise SettingsError(
            f"{text!r} is no slot", hint="a slot is written like backup@2026-01-14T02:00:00Z"
        )


def answering(slot: Slot | None) -> dict[str, Detail]:
    """Return the details of an entry that answers for a slot; none for a run by hand."""
    return {} if slot is None else slot.details


def slot_text(due: datetime) -> str:
    """Return a due time as the log writes it."""
    return due.astimezone(UTC).strftime(_TIME)


def parse_slot_time(text: str) -> datetime | None:
    """Return the due time that the log wrote, or None for any other text."""
    try:
        due = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return due if due.strftime(_TIME) == text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is promised of a job from the moment on in which its `policy.set` is logged.

    `schedule` None: the job is no longer due. Within `grace` of a slot something must be logged
    that answers for it. `policy_sha256` is over the settings that the job goes by.
    """

    job: Job
    database: str | None
    schedule: str | None
    zone: str
    grace: timedelta
    policy_sha256: str | None = None

    @property
    def details(self) -> dict[str, Detail]:
        """The details of its `policy.set`."""
        return {
            "job": self.job,
            "database": self.database,
            "schedule": self.schedule,
            "zone": self.zone,
            "grace_s": self.grace // timedelta(seconds=1),
            "policy_sha256": self.policy_sha256,
        }

    @classmethod
    def of(cls, details: Mapping[str, Detail]) -> Policy | None:
        """Return the policy that details tell of, or None if they tell of none."""
        database, schedule = details.get("database"), details.get("schedule")
        zone, grace = details.get("zone"), details.get("grace_s")
        sha256 = details.get("policy_sha256")
        jobs = [job for job in JOBS if job == details.get("job")]
        if (
            not jobs
            or not isinstance(database, str | None)
            or not isinstance(schedule, str | None)
            or not isinstance(zone, str)
            or not isinstance(grace, int)
            or isinstance(grace, bool)
            or not isinstance(sha256, str | None)
        ):
            return None
        return cls(
            job=jobs[0],
            database=database,
            schedule=schedule,
            zone=zone,
            grace=timedelta(seconds=grace),
            policy_sha256=sha256,
        )


def missed_details(
    job: Job,
    database: str | None,
    *,
    first: datetime,
    last: datetime,
    slots: int,
    reason: Reason,
) -> dict[str, Detail]:
    """Return the details of a `slot.missed`: one entry for a run of slots that nobody answered."""
    return {
        "job": job,
        "database": database,
        "slot": slot_text(first),
        "until": slot_text(last),
        "slots": slots,
        "reason": reason,
    }
