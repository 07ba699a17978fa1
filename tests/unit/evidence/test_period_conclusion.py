"""Page one of a period: the answer for each database, the worst of them, and what to follow up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backup.evidence.period import Happening, Period, Scheduled
from backup.evidence.render.conclusion import Status
from backup.evidence.render.periodconclusion import (
    answer,
    answers_by_database,
    troubles,
    unseen,
    word_of,
)
from backup.evidence.verdict import Word
from tests.samples_bundle import at
from tests.samples_pages import nothing, quarter

QUARTER = quarter()
TEST = next(one for one in QUARTER.happenings if one.kind == "restore test")


def of(*tests: Happening, name: str = "portal", **changes: int) -> Period:
    """A period in which these tests ended, and nothing was missed unless it is said."""
    schedule = replace(QUARTER.schedules[0], database=name, missed=0, unaccounted=0)
    return replace(
        QUARTER,
        last=at("2026-01-31"),
        happenings=tuple(replace(one, database=name) for one in tests),
        schedules=(replace(schedule, **changes),),
    )


def both(one: Period, other: Period) -> Period:
    """What happened in the two."""
    return replace(
        one,
        happenings=one.happenings + other.happenings,
        schedules=one.schedules + other.schedules,
    )


def test_a_database_is_recoverable_if_its_newest_test_passed() -> None:
    """With every table's rows compared; an older failure is told of, and is history."""
    failed = replace(TEST, verdict="FAIL", level=3)
    found = answer(of(failed, TEST))
    assert found.status is Status.RECOVERABLE
    assert found.sentence.startswith("1 of 2 restore tests passed; the newest, of 4 January 2026")
    assert "says PASS at level 6. The newest proven backup was" in found.sentence


@pytest.mark.parametrize(
    ("period", "status", "words"),
    [
        (of(), Status.NOT_PROVEN, "No restore test ended in this period."),
        (of(replace(TEST, verdict="FAIL")), Status.AT_RISK, "says FAIL"),
        (of(replace(TEST, verdict=None, level=None)), Status.NOT_PROVEN, "says nothing."),
        (of(replace(TEST, level=4)), Status.NOT_PROVEN, "at level 4"),
        (of(replace(TEST, level=None, newest_proven_ms=None)), Status.NOT_PROVEN, "0 of 0 backups"),
        (of(replace(TEST, outcome="aborted")), Status.NOT_PROVEN, "No restore test ended"),
        (of(TEST, unaccounted=1), Status.AT_RISK, "1 slot has no entry that answers"),
        (of(TEST, unaccounted=2), Status.AT_RISK, "2 slots have no entry that answers"),
        (of(TEST, missed=1), Status.RECOVERABLE, "1 slot was missed."),
        (of(TEST, missed=2), Status.RECOVERABLE, "2 slots were missed."),
        (nothing(), Status.NOT_PROVEN, "The evidence log is not whole"),
        (replace(nothing(), log_problems=()), Status.NOT_PROVEN, "tells of no backup"),
    ],
)
def test_what_is_not_proven_is_not_called_recoverable(
    period: Period, status: Status, words: str
) -> None:
    """Nothing ended, it failed, it ended too early, something is unaccounted for."""
    found = answer(period)
    assert (found.status, found.name) == (status, None)
    assert words in found.sentence


def test_an_old_test_proves_nothing_of_the_end() -> None:
    """Unless it is from a schedule that was kept: then it was not due any sooner."""
    old = replace(of(TEST), last=at("2026-04-01"))
    found = answer(old)
    assert found.status is Status.NOT_PROVEN
    assert "STALE: that is 86 days before the end" in found.sentence
    assert answer(replace(old, judged_at=at("2026-01-31"))).status is Status.RECOVERABLE
    tests = replace(old.schedules[0], job="restore-test-latest")
    kept = replace(old, schedules=(*old.schedules, tests))
    assert answer(kept).status is Status.RECOVERABLE
    for changed in (replace(tests, missed=1), replace(tests, until=at("2026-02-01"))):
        assert answer(replace(old, schedules=(changed,))).status is Status.NOT_PROVEN
    assert answer(replace(kept, schedules=(replace(tests, unaccounted=1),))).status is (
        Status.AT_RISK
    )


def test_the_answer_for_the_firm_is_the_worst_of_its_databases() -> None:
    """It names those that made it so, three at most."""
    good = both(of(TEST), of(TEST, name="ledger"))
    assert answer(good).sentence == (
        "The newest restore test of each of 2 databases passed, with every table's rows compared."
    )
    one = both(good, of(name="third"))
    assert answer(one).sentence == "1 of 3 databases is not proven: third."
    bad = both(good, of(replace(TEST, verdict="FAIL"), name="ledger"))
    assert answer(bad).status is Status.AT_RISK
    assert answer(bad).sentence == "1 of 2 databases is at risk: ledger."
    many = good
    for name in "abcd":
        many = both(many, of(name=name))
    assert answer(many).sentence == "4 of 6 databases are not proven: a, b, c and 1 more."
    assert [each.name for each in answers_by_database(one)] == ["ledger", "portal", "third"]


def test_slots_in_a_row_are_one_line_to_follow_up() -> None:
    """A run between them ends the row; so does another policy."""
    found = [
        (
            one.first.kind,
            one.first.outcome,
            f"{one.first.at:%m-%d}",
            f"{one.last.at:%m-%d}",
            one.count,
        )
        for one in troubles(QUARTER)
    ]
    assert found == [
        ("backup", "failed", "01-18", "01-18", 1),
        ("backup", "failed", "01-18", "01-18", 1),
        ("backup", "unaccounted", "02-10", "02-11", 2),
        ("restore test", "finished", "02-22", "02-22", 1),
        ("restore test", "finished", "02-22", "02-22", 1),
        ("backup", "unaccounted", "03-02", "03-02", 1),
    ]
    assert unseen(QUARTER) == 26


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        ("finished", Word.PASS),
        ("failed", Word.FAIL),
        ("missed", Word.FAIL),
        ("unaccounted", Word.FAIL),
        ("aborted", Word.INCONCLUSIVE),
        ("no end", Word.INCONCLUSIVE),
    ],
)
def test_an_outcome_has_a_word(outcome: str, word: Word) -> None:
    """Only a restore test that finished has its verdict's."""
    verify = replace(TEST, kind="verify", verdict=None, outcome=outcome)  # type: ignore[arg-type]
    assert word_of(verify) is word
    assert word_of(replace(TEST, verdict="FAIL")) is Word.FAIL


def test_a_schedule_of_the_sample_adds_up() -> None:
    """Due is what ran, was missed, is unaccounted for or open."""
    assert all(_sum(one) == one.due for one in QUARTER.schedules)
    assert at("2026-04-01") == QUARTER.last


def _sum(one: Scheduled) -> int:
    return one.answered + one.missed + one.unaccounted + one.open
