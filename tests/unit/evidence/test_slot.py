"""Slots and policies as the evidence log writes them: one text for each, and no other is read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backup.errors import SettingsError
from backup.evidence.slot import JOBS, Policy, Slot, answering, missed_details
from tests.samples_bundle import at

SLOT = Slot(job="backup", due=at("2026-01-14T02:00:00"))
POLICY = Policy(
    job="backup",
    database="portal",
    schedule="0 2 * * *",
    zone="Europe/London",
    grace=timedelta(hours=1),
    policy_sha256="0" * 64,
)


@pytest.mark.parametrize("job", JOBS)
def test_a_slot_is_its_text(job: str) -> None:
    """What `--slot` takes is what a slot writes of itself."""
    assert Slot.parse(f"{job}@2026-01-14T02:00:00Z").text == f"{job}@2026-01-14T02:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "backup",
        "backup@",
        "backups@2026-01-14T02:00:00Z",
        "backup@2026-01-14T02:00:00",
        "backup@2026-1-14T02:00:00Z",
        "backup@2026-02-30T02:00:00Z",
        "backup@2026-01-14T02:00:00+00:00",
    ],
)
def test_any_other_text_is_no_slot(text: str) -> None:
    """Another job, another time, a time that there is not."""
    with pytest.raises(SettingsError, match="is no slot"):
        Slot.parse(text)


def test_an_entry_that_answers_carries_job_and_time() -> None:
    """A run that a person started carries neither."""
    assert answering(SLOT) == {"job": "backup", "slot": "2026-01-14T02:00:00Z"}
    assert answering(None) == {}


def test_a_policy_is_read_back_from_its_entry() -> None:
    """Also one that ends a schedule, and one of the whole repository."""
    assert Policy.of(POLICY.details) == POLICY
    ended = {**POLICY.details, "database": None, "schedule": None}
    found = Policy.of(ended)
    assert found is not None
    assert (found.database, found.schedule) == (None, None)


@pytest.mark.parametrize("name", ["job", "database", "schedule", "zone", "grace_s"])
def test_details_of_another_kind_are_no_policy(name: str) -> None:
    """Nothing is guessed."""
    assert Policy.of({**POLICY.details, name: True}) is None
    assert Policy.of({**POLICY.details, "policy_sha256": 1}) is None
    assert Policy.of({}) is None


def test_one_entry_stands_for_a_run_of_missed_slots() -> None:
    """With the first, the last, how many, and why."""
    found = missed_details(
        "backup", "portal", first=SLOT.due, last=at("2026-01-16T02:00:00"), slots=3, reason="down"
    )
    assert found == {
        "job": "backup",
        "database": "portal",
        "slot": "2026-01-14T02:00:00Z",
        "until": "2026-01-16T02:00:00Z",
        "slots": 3,
        "reason": "down",
    }
