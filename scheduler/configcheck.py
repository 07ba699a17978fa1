"""`config check`: everything that can be known to be wrong without connecting to anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from backup import app
from backup.errors import StrongroomError
from backup.journeys.check import Check
from backup.postgres.dsn import Dsn
from backup.settings import Settings
from scheduler.jobs import jobs_of
from scheduler.promises import database_names
from scheduler.watch import Outlets


def check_settings(
    settings: Settings, environment: Mapping[str, str], *, now: datetime
) -> list[Check]:
    """Return what was looked at; settings that do not load at all are not seen here."""
    return [
        Check(name="settings", status="good", observed="every key and value is known"),
        *_databases(settings, environment),
        *_schedules(settings, now),
        _tried("repository and keys", lambda: _repository(settings)),
        _tried("notify-urls, dead-man-url", lambda: _outlets(settings)),
        *_tests(settings),
        *_modes(settings),
    ]


def _databases(settings: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
    names = database_names(settings, ())
    if not names:
        yield _check(
            "databases", "bad", "none is named", "set DATABASE_URL, or add [databases.<name>]"
        )
    for name in names:
        own = settings.for_database(name) if name in settings.databases else settings
        if own.dsn is None:
            hint = f"add the credential dsn-{name}, or dsn in [databases.{name}]"
            yield _check(f"database {name}", "bad", "there is no connection string", hint)
            continue
        yield _tried(f"database {name}", partial(_connection, own.dsn, environment))


def _connection(secret: SecretStr, environment: Mapping[str, str]) -> str:
    return str(Dsn.parse(secret.get_secret_value(), environment))


def _schedules(settings: Settings, now: datetime) -> Iterator[Check]:
    jobs = jobs_of(settings)
    if not jobs:
        yield _check(
            "schedules", "warning", "none: the daemon has nothing to do", 'schedule = "0 * * * *"'
        )
    for job in jobs:
        yield _check(
            f"schedule of {job.key.text}",
            "good",
            f"{job.schedule.text} ({job.schedule.zone}), next at"
            f" {job.schedule.next_slot(now):%Y-%m-%d %H:%M} UTC",
        )
    scheduled = {job.key.database for job in jobs if job.key.job == "backup"}
    for name in database_names(settings, ()):
        if jobs and name not in scheduled:
            yield _check(
                f"schedule of backup {name}",
                "warning",
                "none: nothing backs it up by itself",
                f"schedule in [databases.{name}]",
            )


def _repository(settings: Settings) -> str:
    repository = app.open_repository(settings)
    keys = app.load_writing_keys(settings, repository)
    return f"{settings.repository}, encrypts to {len(keys.recipients)} recipients"


def _outlets(settings: Settings) -> str:
    outlets = Outlets.of(settings)
    names = ", ".join(outlets.notifiers.names) or "nobody"
    ping = "nowhere" if outlets.dead_man is None else "after good runs"
    return f"tells {names}; pings {ping}"


def _tests(settings: Settings) -> Iterator[Check]:
    given = settings.schedules
    if not (given.restore_test_latest or given.restore_test_oldest or given.restore_test_random):
        hint = "schedule them here, or on a host of their own"
        yield _check("restore tests", "warning", "none is scheduled here", hint)
        return
    yield _tried(
        "identity of restore tests",
        lambda: f"{len(app.load_identities(settings.identity))} in {settings.identity}",
    )


def _modes(settings: Settings) -> Iterator[Check]:
    directory = settings.credentials_directory
    for path in sorted(directory.iterdir()) if directory and directory.is_dir() else ():
        if path.is_file() and path.stat().st_mode & 0o007:
            yield _check(
                f"credential {path.name}", "bad", "everybody may read it", f"chmod 600 {path}"
            )
    if settings.identity is not None and _is_open(settings.identity):
        yield _check("identity", "bad", "everybody may read it", f"chmod 600 {settings.identity}")


def _is_open(path: Path) -> bool:
    return path.is_file() and bool(path.stat().st_mode & 0o007)


def _tried(name: str, look: Callable[[], str]) -> Check:
    try:
        return _check(name, "good", look())
    except StrongroomError as error:
        return _check(name, "bad", error.message, error.hint)


def _check(
    name: str, status: Literal["good", "warning", "bad"], observed: str, hint: str | None = None
) -> Check:
    return Check(name=name, status=status, observed=observed, hint=hint)
