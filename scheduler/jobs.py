"""Jobs: what the settings ask of the daemon, each with its schedule and its command line. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from backup.evidence.slot import Job, Policy, Slot
from backup.schedule import Schedule
from backup.settings import Settings

# Within this time of a slot something is in the log, unless the daemon is down.
GRACE: Final = timedelta(hours=1)
_RESTORE_TEST_PRIORITY: Final = 30
_COPY_PRIORITY: Final = 40
_UPKEEP_PRIORITY: Final = 20

Arguments = Callable[[datetime], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class JobKey:
    """Which job: what is done, and to which database; an empty name: to the whole repository."""

    job: Job
    database: str = ""

    @property
    def text(self) -> str:
        """As messages and `application_name` have it: `backup portal`."""
        return f"{self.job} {self.database}" if self.database else self.job


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledJob:
    """A job of the settings. `arguments` gives the verb's command line for a slot."""

    key: JobKey
    schedule: Schedule
    priority: int
    deadline: timedelta
    policy_sha256: str
    arguments: Arguments

    @property
    def policy(self) -> Policy:
        """What the evidence log is told that is promised."""
        return Policy(
            job=self.key.job,
            database=self.key.database or None,
            schedule=self.schedule.text,
            zone=self.schedule.zone,
            grace=GRACE,
            policy_sha256=self.policy_sha256,
        )


def jobs_of(settings: Settings) -> tuple[ScheduledJob, ...]:
    """Return every job that the settings have a schedule for."""
    return tuple(sorted(_jobs(settings), key=lambda job: job.key))


def _jobs(settings: Settings) -> Iterator[ScheduledJob]:
    for name, priority in _databases(settings):
        own = settings.selected(name)
        if own.schedule is not None:
            yield _job(
                settings,
                JobKey(job="backup", database=name),
                Schedule.parse(own.schedule, own.zone),
                priority,
                _slotted("backup", "backup", "--name", name),
            )
        yield from _restore_tests(settings, name)
    yield from _upkeep(settings)


def _databases(settings: Settings) -> Iterator[tuple[str, int]]:
    if settings.databases:
        yield from ((name, one.priority) for name, one in sorted(settings.databases.items()))
    elif settings.name is not None:
        yield settings.name, 50


def _restore_tests(settings: Settings, name: str) -> Iterator[ScheduledJob]:
    given = settings.schedules
    rules: tuple[tuple[Job, str | None, str], ...] = (
        ("restore-test-latest", given.restore_test_latest, "latest"),
        ("restore-test-oldest", given.restore_test_oldest, "--oldest"),
        ("restore-test-random", given.restore_test_random, "--random"),
    )
    for job, text, rule in rules:
        if text is not None:
            yield _job(
                settings,
                JobKey(job=job, database=name),
                Schedule.parse(text, given.zone or settings.zone),
                _RESTORE_TEST_PRIORITY,
                _slotted(job, "restore-test", rule, "--database", name),
            )


def _days(period: timedelta) -> int:
    """Return whole days, and at least one: then each run reads everything."""
    return max(1, period // timedelta(days=1))


def _upkeep(settings: Settings) -> Iterator[ScheduledJob]:
    given = settings.schedules
    zone = given.zone or settings.zone
    if given.prune is not None:
        yield _job(
            settings,
            JobKey(job="prune"),
            Schedule.parse(given.prune, zone),
            _UPKEEP_PRIORITY,
            _slotted("prune", "prune", "--apply"),
        )
    if given.verify is not None:
        yield _job(
            settings,
            JobKey(job="verify"),
            Schedule.parse(given.verify, zone),
            _UPKEEP_PRIORITY,
            _slotted("verify", "verify", "--all", "--within", str(_days(given.verify_within))),
        )
    if given.copies is not None and settings.copies:
        yield _job(
            settings,
            JobKey(job="copy"),
            Schedule.parse(given.copies, zone),
            _COPY_PRIORITY,
            _slotted("copy", "copy", "--prune"),
        )
    if given.report is not None:
        directory = settings.reports_directory or settings.state_directory / "reports"
        yield _job(
            settings,
            JobKey(job="report"),
            Schedule.parse(given.report, zone),
            _UPKEEP_PRIORITY,
            lambda due: _report(due, zone, directory),
        )


def _job(
    settings: Settings, key: JobKey, schedule: Schedule, priority: int, arguments: Arguments
) -> ScheduledJob:
    return ScheduledJob(
        key=key,
        schedule=schedule,
        priority=priority,
        deadline=settings.daemon.deadline,
        policy_sha256=_policy_sha256(settings, key),
        arguments=arguments,
    )


def _slotted(job: Job, *words: str) -> Arguments:
    return lambda due: (*words, "--slot", Slot(job=job, due=due).text, "--json")


def _report(due: datetime, zone: str, directory: Path) -> tuple[str, ...]:
    """Return the command line for a pack of the month before the one that a slot lies in."""
    first_of_month = due.astimezone(ZoneInfo(zone)).date().replace(day=1)
    last = first_of_month - timedelta(days=1)
    first_of_before = last.replace(day=1)
    span = ("--from", first_of_before.isoformat(), "--to", last.isoformat())
    pack = directory.absolute() / f"period-{first_of_before:%Y-%m}"
    return (
        "report",
        "period",
        *span,
        "-o",
        str(pack),
        "--slot",
        Slot(job="report", due=due).text,
        "--json",
    )


def _policy_sha256(settings: Settings, key: JobKey) -> str:
    """Tells whether two slots of a job were done by the same settings; holds no secret."""
    table = settings.databases.get(key.database)
    parts = [] if table is None else [table.model_dump_json(exclude={"dsn"})]
    parts += [settings.schedules.model_dump_json(), settings.retention.model_dump_json()]
    if key.job == "copy":
        parts += [copy.model_dump_json() for copy in settings.copies]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
