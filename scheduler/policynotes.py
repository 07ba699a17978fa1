"""Which policies the evidence log was told of last, as notes in the journal. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from backup.evidence.slot import Policy
from backup.schedule import Schedule
from scheduler.jobs import GRACE, JobKey, ScheduledJob

PREFIX: Final = "policy."


def policy_note(key: JobKey) -> str:
    """Return the name of the note about a job's policy."""
    return f"{PREFIX}{key.job}.{key.database}"


def policy_text(policy: Policy) -> str:
    """Return a policy as a note holds it."""
    return json.dumps(dict(policy.details), sort_keys=True)


def policies_of(notes: Mapping[str, str]) -> dict[JobKey, Policy]:
    """Return the policies in notes; one that can't be read is as if it were not there."""
    found: dict[JobKey, Policy] = {}
    for value in notes.values():
        try:
            policy = Policy.of(json.loads(value))
        except (ValueError, AttributeError):
            policy = None
        if policy is not None:
            found[JobKey(job=policy.job, database=policy.database or "")] = policy
    return found


def job_of(key: JobKey, policy: Policy) -> ScheduledJob:
    """Return the job that a policy promised, to see what of it was due; it is never begun."""
    return ScheduledJob(
        key=key,
        schedule=Schedule.parse(policy.schedule or "", policy.zone),
        priority=0,
        deadline=GRACE,
        policy_sha256=policy.policy_sha256 or "",
        arguments=lambda due: (due.isoformat(),),
    )


def withdrawn(policy: Policy) -> Policy:
    """Return what says that a job is no longer due."""
    return Policy(
        job=policy.job,
        database=policy.database,
        schedule=None,
        zone=policy.zone,
        grace=policy.grace,
        policy_sha256=None,
    )
