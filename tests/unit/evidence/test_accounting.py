"""Slots that the log promises: each is answered, missed, open, or unaccounted for."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from backup.evidence.accounting import due_slots, promises, unaccounted, wrong_slots
from backup.evidence.entry import Detail, EntryType
from backup.evidence.slot import Job, Policy, Slot, missed_details, slot_text
from tests.samples_bundle import World, at

NOW = at("2026-01-20T12:00:00")
MIDNIGHTS = [at("2026-01-14") + timedelta(days=n) for n in range(1, 7)]


def promised(
    world: World,
    schedule: str | None = "0 0 * * *",
    *,
    job: Job = "backup",
    database: str | None = "portal",
    zone: str = "UTC",
) -> int:
    """A policy is logged; return its number."""
    policy = Policy(
        job=job, database=database, schedule=schedule, zone=zone, grace=timedelta(hours=1)
    )
    return world.append(EntryType.POLICY_SET, policy.details).entry.seq


def answer(
    world: World, due: datetime, type_: EntryType = EntryType.BACKUP_FINISHED, **details: Detail
) -> None:
    """A run answers a slot, a minute after it was due."""
    world.now = due
    answers = Slot(job="backup", due=due).details
    world.append(type_, {"database": "portal", **answers, **details})


def left(world: World, now: datetime = NOW) -> list[datetime]:
    """What nothing answers for."""
    return [slot.due for slot in unaccounted(list(world.stored.entries()), now=now)]


def test_a_promised_slot_without_an_entry_is_unaccounted() -> None:
    """Each of them, by the policy that was in force."""
    world = World()
    seq = promised(world)
    assert left(world) == MIDNIGHTS
    (sentence,) = wrong_slots(list(world.stored.entries()), now=NOW)
    assert sentence == (
        "SLOT_UNACCOUNTED: backup of portal was due 6 times from 2026-01-15T00:00:00Z to"
        f" 2026-01-20T00:00:00Z by entry {seq}, and no entry answers"
    )


def test_any_entry_that_carries_the_slot_answers_for_it() -> None:
    """Also that of a run that failed: it is no missing run."""
    world = World()
    promised(world)
    for due in MIDNIGHTS[:5]:
        answer(world, due)
    answer(world, MIDNIGHTS[5], EntryType.BACKUP_FAILED)
    assert left(world) == []
    assert list(wrong_slots(list(world.stored.entries()), now=NOW)) == []


@pytest.mark.parametrize(
    "details",
    [
        {"database": "other"},
        {"job": "verify"},
        {"slot": "2026-01-15T00:00:01Z"},
        {"slot": "yesterday"},
        {"slot": None},
    ],
)
def test_an_entry_of_something_else_answers_nothing(details: dict[str, Detail]) -> None:
    """Another database, job or time."""
    world = World()
    promised(world)
    answer(world, MIDNIGHTS[0], **details)
    assert left(world) == MIDNIGHTS


def test_nothing_answers_for_what_is_not_due_yet() -> None:
    """An entry written before the slot, and a run of missed slots that reaches into the future."""
    world = World()
    promised(world)
    details = missed_details(
        "backup", "portal", first=MIDNIGHTS[0], last=MIDNIGHTS[5], slots=6, reason="down"
    )
    world.append(EntryType.BACKUP_FINISHED, {**details, "slot": slot_text(MIDNIGHTS[1])})
    world.now = MIDNIGHTS[2]
    world.append(EntryType.SLOT_MISSED, details)
    assert left(world) == MIDNIGHTS[3:]


def test_slots_that_were_missed_are_accounted_for() -> None:
    """By one entry for a run of them; a broken end of it is its beginning."""
    world = World()
    promised(world)
    world.now = NOW
    details = missed_details(
        "backup", "portal", first=MIDNIGHTS[1], last=MIDNIGHTS[4], slots=4, reason="down"
    )
    world.append(EntryType.SLOT_MISSED, details)
    world.append(EntryType.SLOT_MISSED, {**details, "slot": slot_text(MIDNIGHTS[0]), "until": 1})
    assert left(world) == MIDNIGHTS[5:]
    found = list(due_slots(list(world.stored.entries()), now=NOW))
    assert [slot.missed_by is None for slot in found] == [False] * 5 + [True]


def test_a_slot_is_open_until_its_grace_is_over() -> None:
    """So a run that waits for another one is no finding."""
    world = World()
    promised(world)
    assert left(world, MIDNIGHTS[0] + timedelta(hours=1)) == []
    assert left(world, MIDNIGHTS[0] + timedelta(hours=1, seconds=1)) == MIDNIGHTS[:1]


def test_a_policy_holds_until_the_next_one_of_its_job_and_database() -> None:
    """What it promised stays promised; one without a schedule ends it."""
    world = World()
    promised(world)
    promised(world, "30 12 * * *", database="other")
    world.now = MIDNIGHTS[1]
    promised(world, None)
    assert left(world) == [
        *MIDNIGHTS[:2],
        *(at("2026-01-14T12:30:00") + timedelta(days=n) for n in range(6)),
    ]
    assert left(World()) == []
    assert unaccounted([], now=NOW) == []


def test_a_policy_of_the_whole_repository_is_answered_by_any_entry_of_the_job() -> None:
    """Verifying names no database."""
    world = World()
    promised(world, job="verify", database=None)
    for due in MIDNIGHTS:
        answer(world, due, EntryType.VERIFY_FINISHED, job="verify", database=None)
    assert left(world) == []
    world.now = NOW
    (sentence,) = wrong_slots(list(world.stored.entries()), now=NOW + timedelta(days=1))
    assert sentence.startswith("SLOT_UNACCOUNTED: verify was due 2026-01-21T00:00:00Z by entry 1")


def test_local_time_is_that_of_the_zone() -> None:
    """Half past midnight in Kolkata is the evening before in UTC."""
    world = World()
    promised(world, "30 0 * * *", zone="Asia/Kolkata")
    assert left(world)[0] == at("2026-01-14T19:00:00")


@pytest.mark.parametrize("broken", [{"schedule": "never"}, {"zone": "Nowhere"}, {"job": "x"}])
def test_a_policy_that_says_nothing_is_a_finding(broken: dict[str, Detail]) -> None:
    """It must not look like one that promises nothing."""
    world = World()
    seq = promised(world)
    (good,) = promises(list(world.stored.entries()))[0]
    bad = world.append(EntryType.POLICY_SET, {**good.policy.details, **broken}).entry.seq
    found, unreadable = promises(list(world.stored.entries()))
    assert ([one.seq for one in found], unreadable) == ([seq], [bad])
    assert f"entry {bad} sets a policy that can't be read" in next(
        wrong_slots(list(world.stored.entries()), now=NOW)
    )
