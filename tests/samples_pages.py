"""Every kind of page that there is, made of samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from backup.evidence.entry import Detail, EntryType
from backup.evidence.period import Period, collect
from backup.evidence.render.html import render_report
from backup.evidence.render.index import Listed, render_index
from backup.evidence.render.period import render_period
from backup.evidence.report import Report
from backup.evidence.slot import Policy, Slot
from backup.repository.canonical import encode
from backup.repository.manifest import LogHead
from tests import samples_report
from tests.samples import REPOSITORY_ID
from tests.samples_bundle import World, at


def quarter(names: tuple[str, ...] = ("portal", samples_report.HOSTILE[0])) -> Period:
    """Three months of daily backups and weekly restore tests, with something of everything."""
    world = World(now=at("2025-12-31T22:00:00"))
    for name in names:
        for job, schedule in (("backup", "0 2 * * *"), ("restore-test-latest", "0 5 * * 0")):
            policy = Policy(
                job="backup",
                database=name,
                schedule=schedule,
                zone="UTC",
                grace=timedelta(hours=1),
            )
            details = {**policy.details, "job": job}
            world.append(EntryType.POLICY_SET, details)
    for number in range(90):
        for name in names:
            due = at("2026-01-01T02:00:00") + timedelta(days=number)
            if number in {40, 41, 60} and name != "portal":
                continue
            _day(world, name, due, number)
    return collect(
        list(world.stored.entries()),
        {},
        repository_id=REPOSITORY_ID,
        generated_by="strongroom test",
        first=at("2026-01-01"),
        last=at("2026-04-01"),
        database=None,
        log=LogHead(size=world.stored.notes[-1][0], root="7" * 64),
        log_problems=(),
        now=at("2026-04-01T12:00:00"),
    )


def _day(world: World, name: str, due: object, number: int) -> None:
    world.now = due  # type: ignore[assignment]
    backup = f"{world.now:%Y%m%dT%H%M%SZ}-0a0a0a"
    details: dict[str, Detail] = {"database": name, "backup": backup}
    slot = Slot(job="backup", due=world.now).details
    world.append(EntryType.BACKUP_STARTED, {**details, **slot})
    end = EntryType.BACKUP_FAILED if number == 17 else EntryType.BACKUP_FINISHED
    world.append(end, {**details, **slot})
    if world.now.isoweekday() != 7:
        return
    world.now = world.now.replace(hour=5, minute=0)
    slot = Slot(job="restore-test-latest", due=world.now).details
    begun = world.append(EntryType.RESTORE_TEST_STARTED, {**details, **slot})
    ended: dict[str, Detail] = {
        "started": begun.entry.seq,
        "verdict": "FAIL" if number == 52 else "PASS",
        "level": 3 if number == 52 else 6,
        "rto_ms": 200_000 + 5_000 * (number % 11),
        "report": backup,
    }
    world.append(EntryType.RESTORE_TEST_FINISHED, {**details, **slot, **ended})


def nothing() -> Period:
    """A log that tells of nothing, and is not whole."""
    return collect(
        [],
        {},
        repository_id=REPOSITORY_ID,
        generated_by="strongroom test",
        first=at("2026-01-01"),
        last=at("2026-04-01"),
        database=None,
        log=LogHead(size=0, root="7" * 64),
        log_problems=("there is no entry",),
        now=at("2026-04-02"),
    )


def _index() -> bytes:
    reports = [samples_report.passed(), samples_report.failed(), samples_report.hostile()]
    listed = [_listed(report, number) for number, report in enumerate(reports)]
    broken = replace(listed[0], database="broken", report=None, problem="no whole zip file")
    return render_index([*listed, broken])


def _listed(report: Report, number: int) -> Listed:
    return Listed(
        address=f"{number}/{report.report_id}.zip",
        database=report.backup.database,
        report_id=report.report_id,
        report=report,
        problem=None,
    )


PAGES: dict[str, Callable[[], bytes]] = {
    "passed": lambda: render_report(encode(samples_report.passed())),
    "excepted": lambda: render_report(encode(samples_report.excepted())),
    "failed": lambda: render_report(encode(samples_report.failed())),
    "inconclusive": lambda: render_report(encode(samples_report.inconclusive())),
    "hostile": lambda: render_report(encode(samples_report.hostile())),
    "period": lambda: render_period(encode(quarter())),
    "empty period": lambda: render_period(encode(nothing())),
    "index": _index,
    "empty index": lambda: render_index([]),
}
