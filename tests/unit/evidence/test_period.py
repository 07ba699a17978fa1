"""A period: every backup and restore test that the log tells of, whether it ended or not."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from backup.evidence.bundle import CHECKPOINT, READ_ME, SUMS
from backup.evidence.entry import Detail, EntryType
from backup.evidence.period import NO_SCHEDULE, Period, collect
from backup.evidence.periodpack import encode_pack
from backup.evidence.render.period import (
    months,
    render_coverage,
    render_exceptions,
    render_period,
    render_population,
)
from backup.evidence.report import Report
from backup.evidence.slot import Policy, Slot, missed_details
from backup.repository.canonical import encode
from backup.repository.manifest import LogHead
from tests import samples_report
from tests.samples import REPOSITORY_ID
from tests.samples_bundle import World, at, seal
from tests.unit.evidence.test_rendering import Page

POLICY = Policy(
    job="backup",
    database="portal",
    schedule="0 2 * * *",
    zone="UTC",
    grace=timedelta(hours=1),
    policy_sha256="5" * 64,
)
FIRST, LAST = at("2026-01-01"), at("2026-03-01")


def days(world: World, number: int) -> None:
    """As many days go by."""
    world.now += timedelta(days=number)


def backup(
    world: World, end: EntryType | None = EntryType.BACKUP_FINISHED, name: str = "portal"
) -> str:
    """A backup begins, and ends or not; return its id."""
    id_ = f"{world.now:%Y%m%dT%H%M%SZ}-0a0a0a"
    details: dict[str, Detail] = {"backup": id_, "database": name}
    world.append(EntryType.BACKUP_STARTED, details)
    if end is not None:
        world.append(end, details)
    return id_


def restore_test(
    world: World, verdict: str, backup_id: str, sha256: str = "", name: str = "portal"
) -> None:
    """A restore test begins and ends."""
    begun = world.append(EntryType.RESTORE_TEST_STARTED, {"database": name, "backup": backup_id})
    details: dict[str, Detail] = {
        "database": name,
        "backup": backup_id,
        "started": begun.entry.seq,
        "verdict": verdict,
        "level": 6,
        "rto_ms": 200_000,
        "report": "20260120T000000Z-0c0c0c",
        "report_sha256": sha256,
    }
    world.append(EntryType.RESTORE_TEST_FINISHED, details)


def period(
    world: World,
    reports: dict[str, Report] | None = None,
    *,
    first: datetime = FIRST,
    last: datetime = LAST,
    database: str | None = None,
    problems: tuple[str, ...] = (),
    now: datetime | None = None,
) -> Period:
    """What the world's log tells."""
    size, _ = world.stored.notes[-1]
    return collect(
        list(world.stored.entries()),
        reports or {},
        repository_id=REPOSITORY_ID,
        generated_by="strongroom test",
        first=first,
        last=last,
        database=database,
        log=LogHead(size=size, root="7" * 64),
        log_problems=problems,
        now=now or world.now,
    )


def rows(data: bytes) -> list[dict[str, str]]:
    """The lines of a table."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def busy() -> World:
    """Two months of everything."""
    world = World()
    good = backup(world)
    restore_test(world, "PASS", good)
    days(world, 1)
    backup(world, EntryType.BACKUP_FAILED)
    days(world, 1)
    backup(world, None)
    days(world, 8)
    restore_test(world, "FAIL", good)
    days(world, 9)
    restore_test(world, "INCONCLUSIVE", "no backup id")
    restore_test(world, "PASS", "no backup id")
    backup(world, name="<other>")
    begun = world.append(EntryType.RESTORE_TEST_STARTED, {"database": "portal"})
    world.append(EntryType.RESTORE_TEST_ABORTED, {"database": "portal", "started": begun.entry.seq})
    world.append(EntryType.SLOT_MISSED, {"database": "portal", "slot": "2026-02-01T00:00:00Z"})
    world.append(EntryType.SLOT_MISSED, {"database": "portal", "job": "restore-test-latest"})
    world.append(EntryType.HEARTBEAT, {})
    return world


def test_everything_in_the_log_is_counted_once() -> None:
    """What ended by its end, what did not by its beginning, what was missed by its slot."""
    found = rows(render_population(period(busy())))
    assert [(row["kind"], row["outcome"]) for row in found] == [
        ("backup", "finished"),
        ("restore test", "finished"),
        ("backup", "failed"),
        ("backup", "no end"),
        ("restore test", "finished"),
        ("restore test", "finished"),
        ("restore test", "finished"),
        ("backup", "finished"),
        ("restore test", "aborted"),
        ("backup", "missed"),
        ("restore test", "missed"),
    ]
    assert found[9]["due"] == "2026-02-01T00:00:00Z"


def test_what_is_proven_ages_until_the_next_test_passes() -> None:
    """The age of the newest backup that passed, at each test."""
    ages = [int(row["newest_proven_ms"] or 0) for row in rows(render_population(period(busy())))]
    assert ages[1] < 600_000
    assert ages[4] > 10 * 86_400_000
    assert ages[5] > ages[4]


def test_a_period_has_what_is_in_it_and_asked_for() -> None:
    """From the first moment up to and without the last; one database or all."""
    world = busy()
    assert period(world, first=at("2025-01-01"), last=at("2026-01-01")).happenings == ()
    assert len(period(world, first=at("2026-01-24")).happenings) == 7
    assert [one.database for one in period(world, database="<other>").happenings] == ["<other>"]


def test_two_runs_at_once_each_have_their_own_end() -> None:
    """An end belongs to the beginning of the same backup, not to the newest."""
    world = World()
    for id_ in ("1", "2"):
        world.append(EntryType.BACKUP_STARTED, {"database": "portal", "backup": id_})
    world.append(EntryType.BACKUP_FINISHED, {"database": "portal", "backup": "1"})
    world.append(EntryType.HEARTBEAT, {})
    found = [(one.backup_id, one.outcome) for one in period(world).happenings]
    assert found == [("2", "no end"), ("1", "finished")]


def test_a_log_without_a_schedule_says_what_it_cannot_know() -> None:
    """What was due and never began is unknown until the daemon logs its policy."""
    world = busy()
    assert period(world).limits == (NO_SCHEDULE,)
    world.append(EntryType.POLICY_SET, POLICY.details)
    (limit,) = period(world).limits
    assert "holds a schedule since 2026-02-02" in limit
    assert period(world, first=world.now).limits == ()


def test_every_slot_that_was_due_is_accounted_for() -> None:
    """Answered by a run, missed, unaccounted for, or still open; the policies say so in sum."""
    world = World()
    world.append(EntryType.POLICY_SET, POLICY.details)
    verify = replace(POLICY, job="verify", database=None, schedule="0 4 * * *")
    world.append(EntryType.POLICY_SET, verify.details)
    world.append(EntryType.POLICY_SET, replace(POLICY, database="other", schedule=None).details)
    for number, type_ in ((15, EntryType.BACKUP_FINISHED), (16, EntryType.BACKUP_FAILED)):
        world.now = at(f"2026-01-{number}T02:00:00")
        world.append(type_, {"database": "portal", **Slot(job="backup", due=world.now).details})
    for damages in (0, 1):
        world.now = at(f"2026-01-{15 + damages}T04:00:00")
        answers = Slot(job="verify", due=world.now).details
        world.append(EntryType.VERIFY_FINISHED, {"damages": damages, **answers})
    world.now = at("2026-01-18T02:00:00")
    missed = missed_details(
        "backup", "portal", first=at("2026-01-17T02:00:00"), last=world.now, slots=2, reason="down"
    )
    world.append(EntryType.SLOT_MISSED, missed)
    found = period(world, now=at("2026-01-20T02:30:00"))
    told = [
        (row["kind"], row["due"][8:10], row["outcome"]) for row in rows(render_population(found))
    ]
    assert sorted(told) == [
        ("backup", "15", "finished"),
        ("backup", "16", "failed"),
        ("backup", "17", "missed"),
        ("backup", "18", "missed"),
        ("backup", "19", "unaccounted"),
        ("verify", "14", "unaccounted"),
        ("verify", "15", "finished"),
        ("verify", "16", "failed"),
        ("verify", "17", "unaccounted"),
        ("verify", "18", "unaccounted"),
        ("verify", "19", "unaccounted"),
    ]
    sums = [
        (one.job, one.due, one.answered, one.missed, one.unaccounted, one.open)
        for one in found.schedules
    ]
    assert sums == [("backup", 6, 2, 2, 1, 1), ("verify", 6, 2, 0, 4, 0)]
    assert (found.unaccounted, found.databases) == (5, ("portal",))
    assert [one.job for one in period(world, database="portal").schedules] == ["backup"]


def test_a_policy_that_cannot_be_read_is_a_problem_of_the_log() -> None:
    """Nobody knows what it promised."""
    world = World()
    seq = world.append(EntryType.POLICY_SET, {}).entry.seq
    assert f"entry {seq} sets a policy" in period(world).log_problems[0]


def test_an_empty_log_promises_nothing() -> None:
    """And says that it holds no schedule."""
    found = collect(
        [],
        {},
        repository_id=REPOSITORY_ID,
        generated_by="strongroom test",
        first=FIRST,
        last=LAST,
        database=None,
        log=LogHead(size=0, root="7" * 64),
        log_problems=(),
        now=LAST,
    )
    assert (found.happenings, found.schedules, found.limits) == ((), (), (NO_SCHEDULE,))


def excepted(world: World, report: Report | None = None) -> Period:
    """A period with a report at hand."""
    report = report or samples_report.excepted()
    world.append(
        EntryType.RESTORE_TEST_FINISHED,
        {
            "database": "portal",
            "report": report.report_id,
            "report_sha256": "it",
            "verdict": "PASS with 1 exception",
        },
    )
    stray = replace(report, report_id="20260115T040000Z-a1b2c3")
    return period(world, {"it": report, "another": stray})


def test_exceptions_are_those_of_the_reports_in_the_period() -> None:
    """Waived findings and excluded tables, with who answers for them."""
    found = excepted(World())
    assert [row["kind"] for row in rows(render_exceptions(found))] == [
        "waived finding",
        "excluded table",
    ]
    assert rows(render_population(found))[0]["report_at_hand"] == "yes"


def test_a_finding_that_nobody_answers_for_is_no_exception() -> None:
    """It made the verdict what it is."""
    failed = samples_report.failed()
    assert failed.verdict.findings
    assert [row["kind"] for row in rows(render_exceptions(excepted(World(), failed)))] == [
        "excluded table" for _ in failed.exclusions
    ]


def test_coverage_has_every_month_of_every_database() -> None:
    """Also the ones in which nothing happened."""
    found = [tuple(row.values()) for row in rows(render_coverage(period(busy())))]
    assert found == [
        ("<other>", "2026-01", "0", "0", "0", "0"),
        ("<other>", "2026-02", "1", "0", "0", "0"),
        ("portal", "2026-01", "1", "1", "2", "1"),
        ("portal", "2026-02", "0", "2", "4", "1"),
    ]
    over = period(World(), first=at("2025-12-31"), last=at("2026-01-02"))
    assert [(one.year, one.month) for one in months(over, "x")] == [(2025, 12), (2026, 1)]


@pytest.mark.parametrize("world", [World(), busy()], ids=["nothing", "busy"])
def test_the_page_is_made_of_the_period_alone(world: World) -> None:
    """Well-formed, harmless, and the same every time."""
    data = encode(period(world))
    page = render_period(data)
    assert page == render_period(data)
    found = Page(page)
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in found.elements}
    given = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(given) == len(set(given))


def test_the_page_names_what_is_wrong_with_the_log() -> None:
    """First of all."""
    text = "".join(
        Page(render_period(encode(period(busy(), problems=("entry 3 is missing",))))).text
    )
    assert "The evidence log is not whole" in text
    assert "entry 3 is missing" in text


def test_the_calendar_ends_where_the_period_does() -> None:
    """Days outside of it are no days on which nothing happened."""
    page = render_period(
        encode(period(busy(), first=at("2026-01-14"), last=at("2026-02-11")))
    ).decode()
    assert page.count('<td class="none">') == 2 * (13 + 21)


def test_a_pack_lists_and_signs_all_its_files() -> None:
    """The log's lines are those under the checkpoint that comes with them."""
    world = busy()
    found = encode_pack(period(world), world.stored, seal())
    assert len(found[SUMS].splitlines()) == len(found) - 2
    assert found["log.jsonl"].count(b"\n") == len(world.stored.lines)
    assert found[CHECKPOINT] == world.stored.notes[-1][1]
    assert b"python3 verify-log.py" in found[READ_ME]
    bare = replace(period(world), log=LogHead(size=0, root="0" * 64))
    assert encode_pack(bare, world.stored, seal())["log.jsonl"] == b""
