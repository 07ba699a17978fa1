"""What is due, missed, begun and tried again: pure, so that years pass in a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from backup.evidence.slot import Job
from backup.schedule import Schedule
from scheduler.jobs import JobKey, ScheduledJob
from scheduler.outcomes import Outcome, classify
from scheduler.plan import (
    Patience,
    SlotRecord,
    State,
    begun,
    choose,
    ended,
    next_wake,
    take_due,
)

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PATIENCE = Patience(attempts=3, retry_after=timedelta(minutes=1), retry_after_at_most=HOUR)


def job(
    name: str = "portal", text: str = "0 * * * *", kind: Job = "backup", priority: int = 50
) -> ScheduledJob:
    """A job of the settings."""
    return ScheduledJob(
        key=JobKey(job=kind, database=name),
        schedule=Schedule.parse(text),
        priority=priority,
        deadline=HOUR,
        policy_sha256="0" * 64,
        arguments=lambda due: (kind, due.isoformat()),
    )


def record(
    state: State,
    *,
    due: datetime = NOON,
    attempts: int = 0,
    name: str = "portal",
    kind: Job = "backup",
    next_attempt: datetime | None = None,
) -> SlotRecord:
    """A slot of that job."""
    key = JobKey(job=kind, database=name)
    return SlotRecord(key=key, due=due, state=state, attempts=attempts, next_attempt=next_attempt)


def states(records: Iterable[SlotRecord]) -> list[tuple[datetime, State]]:
    """When each was due, and how it stands."""
    return [(one.due, one.state) for one in records]


def test_a_new_job_begins_now() -> None:
    """What its schedule had before is promised to nobody."""
    taken = take_due([job()], {}, [], NOON)
    assert taken.floors == {job().key: NOON}
    assert not taken.records
    assert not taken.missed


def test_a_slot_is_due_once() -> None:
    """At its moment, not before, and not again."""
    floors = {job().key: NOON - HOUR}
    assert not take_due([job()], floors, [], NOON - timedelta(seconds=1)).records
    taken = take_due([job()], floors, [], NOON + timedelta(seconds=5))
    assert states(taken.records) == [(NOON, State.QUEUED)]
    assert taken.floors == {job().key: NOON}
    assert not take_due([job()], taken.floors, taken.records, NOON + timedelta(minutes=59)).records


def test_after_an_outage_there_is_one_catch_up() -> None:
    """14 days of an hourly job: the newest slot is done, 335 are missed, in one stretch."""
    taken = take_due([job()], {job().key: NOON}, [], NOON + timedelta(days=14))
    assert states(taken.records) == [(NOON + timedelta(days=14), State.QUEUED)]
    [missed] = taken.missed
    assert (missed.first, missed.last) == (NOON + HOUR, NOON + timedelta(days=14) - HOUR)
    assert (missed.slots, missed.reason) == (335, "down")


def test_a_clock_that_goes_back_doubles_nothing() -> None:
    """By an hour: it waits until the time has come again."""
    floors = {job().key: NOON}
    for minutes in range(-60, 60, 5):
        taken = take_due([job()], floors, [], NOON + timedelta(minutes=minutes))
        assert not taken.records
    assert take_due([job()], floors, [], NOON + HOUR).records


def test_a_clock_that_was_far_ahead_does_not_stop_backups() -> None:
    """Years of waiting for a wrong clock's future would be an outage."""
    far = {job().key: NOON + timedelta(days=3650)}
    taken = take_due([job()], far, [], NOON)
    assert taken.floors == {job().key: NOON}
    done = record(State.DONE, due=NOON + HOUR)
    again = take_due([job()], taken.floors, [done], NOON + HOUR)
    assert not again.records  # that very slot was done


def test_a_slot_that_is_overtaken_is_written_down() -> None:
    """Queued: missed, since others were at work. Begun before: failed. Running: it goes on."""
    floors = {job().key: NOON}
    later = NOON + HOUR
    for state, attempts, becomes in (
        (State.QUEUED, 0, State.MISSED),
        (State.WAITING, 0, State.MISSED),
        (State.WAITING, 2, State.FAILED),
        (State.RUNNING, 1, None),
    ):
        taken = take_due([job()], floors, [record(state, attempts=attempts)], later)
        expected = [] if becomes is None else [(NOON, becomes)]
        assert states(taken.records) == [*expected, (later, State.QUEUED)]
        assert [one.reason for one in taken.missed] == (["busy"] if becomes is State.MISSED else [])


def test_a_job_that_leaves_the_settings_closes_its_slots() -> None:
    """What was queued is missed: it was held back. What runs may finish."""
    records = [record(State.QUEUED), record(State.RUNNING, due=NOON - HOUR, attempts=1)]
    taken = take_due([], {job().key: NOON}, records, NOON)
    assert states(taken.records) == [(NOON, State.MISSED)]
    assert [(one.reason, one.slots) for one in taken.missed] == [("held", 1)]


def test_priority_first_then_age_and_never_two_of_a_database() -> None:
    """Within the limit of what may run at once."""
    jobs = [
        job("a", priority=10), job("b", priority=90), job("c", priority=10),
        job("b", kind="restore-test-latest", priority=99),
    ]  # fmt: skip
    records = [
        record(State.QUEUED, name="a", due=NOON),
        record(State.QUEUED, name="b", due=NOON),
        record(State.QUEUED, name="c", due=NOON - HOUR),
        record(State.QUEUED, name="b", kind="restore-test-latest", due=NOON),
    ]

    def chosen(concurrency: int) -> list[str]:
        return [one.key.text for one in choose(jobs, records, NOON, concurrency=concurrency)]

    assert chosen(1) == ["restore-test-latest b"]
    assert chosen(2) == ["restore-test-latest b", "backup c"]
    assert chosen(9) == ["restore-test-latest b", "backup c", "backup a"]
    records.append(record(State.RUNNING, name="b", kind="verify", attempts=1))
    assert chosen(2) == ["backup c"]


def test_a_job_waits_until_it_is_tried_again() -> None:
    """Not a second earlier."""
    waiting = record(State.WAITING, attempts=1, next_attempt=NOON)
    assert not choose([job()], [waiting], NOON - timedelta(seconds=1), concurrency=1)
    assert choose([job()], [waiting], NOON, concurrency=1) == (waiting,)
    assert next_wake([job()], [waiting], NOON - timedelta(minutes=1)) == NOON
    assert next_wake([job()], [], NOON) == NOON + HOUR
    assert next_wake([], [], NOON) is None


def attempt(of: SlotRecord, outcome: Outcome, chance: float = 0.0) -> SlotRecord:
    """Begin at noon, and end so."""
    return ended(begun(of, NOON), NOON, outcome=outcome, exit_code=1, message="", patience=PATIENCE,
                 chance=chance)  # fmt: skip


def test_what_can_help_is_tried_again_later_each_time() -> None:
    """Twice as long each time, a little longer by chance, and in the end no more."""
    first = attempt(record(State.QUEUED), Outcome.TROUBLED)
    assert first.next_attempt == NOON + timedelta(minutes=1)
    second = attempt(first, Outcome.TROUBLED, chance=1.0)
    assert second.next_attempt == NOON + timedelta(minutes=2.5)
    third = attempt(second, Outcome.STALLED)
    assert (third.state, third.attempts, third.next_attempt) == (State.FAILED, 3, None)
    assert attempt(record(State.QUEUED), Outcome.SUCCEEDED).state is State.DONE
    assert attempt(record(State.QUEUED), Outcome.FAILED).state is State.FAILED


def test_an_interrupted_attempt_begins_again_at_once() -> None:
    """Nobody is waited for."""
    again = attempt(record(State.QUEUED), Outcome.INTERRUPTED).next_attempt
    assert again is not None
    assert again - NOON <= timedelta(seconds=15)


def test_where_somebody_else_is_at_work_it_is_no_attempt() -> None:
    """However long that takes."""
    waiting = record(State.QUEUED)
    for _ in range(20):
        waiting = attempt(waiting, Outcome.BUSY)
        assert (waiting.state, waiting.attempts) == (State.WAITING, 0)
        assert waiting.next_attempt == NOON + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("kind", "code", "ended_by", "outcome"),
    [
        ("backup", 0, None, Outcome.SUCCEEDED),
        ("backup", 2, None, Outcome.FAILED),
        ("backup", 3, None, Outcome.FAILED),
        ("backup", 5, None, Outcome.TROUBLED),
        ("backup", 6, None, Outcome.TROUBLED),
        ("backup", 7, None, Outcome.FAILED),
        ("backup", 8, None, Outcome.BUSY),
        ("backup", 10, None, Outcome.TROUBLED),
        ("backup", 130, None, Outcome.INTERRUPTED),
        ("backup", -9, None, Outcome.INTERRUPTED),
        ("backup", -9, "silence", Outcome.STALLED),
        ("backup", 130, "deadline", Outcome.STALLED),
        ("backup", 130, "stop", Outcome.INTERRUPTED),
        ("backup", 0, "stop", Outcome.SUCCEEDED),
        ("restore-test-latest", 0, None, Outcome.SUCCEEDED),
        ("restore-test-latest", 1, None, Outcome.FAILED),
        ("restore-test-random", 2, None, Outcome.FAILED),
        ("restore-test-oldest", 3, None, Outcome.TROUBLED),
    ],
)
def test_what_an_exit_code_means(kind: Job, code: int, ended_by: str, outcome: Outcome) -> None:
    """As docs/exit-codes.md says whether a retry can help."""
    assert classify(kind, code, ended_by) is outcome  # type: ignore[arg-type]


class Counted(list[SlotRecord]):
    """Records that count how often somebody goes through all of them."""

    rounds = 0

    def __iter__(self) -> Iterator[SlotRecord]:
        self.rounds += 1
        return super().__iter__()


def test_two_hundred_databases_do_not_look_through_each_others_slots() -> None:
    """However many jobs there are, a look at what is due goes through all slots twice."""
    jobs = [job(f"d{number:03}") for number in range(200)]
    before = [
        SlotRecord(key=one.key, due=NOON - hours * HOUR, state=State.DONE)
        for one in jobs
        for hours in range(1, 5)
    ]
    records = Counted(before)
    floors = {one.key: NOON - HOUR for one in jobs}
    taken = take_due(jobs, floors, records, NOON)
    assert len(taken.records) == 200
    assert records.rounds == 2
