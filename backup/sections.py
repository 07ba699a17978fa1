"""The tables of the settings file: databases, schedules, daemon, signals. Fields are documented.

`docs/settings.md` is the operator's page. Durations are seconds, or ISO 8601 (`PT10M`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from backup.errors import SettingsError
from backup.retentionpolicy import DatabaseRetention
from backup.schedule import Schedule, load_zone
from backup.testpolicy import GivenExclusion, GivenQuestion, GivenWaiver, Text

TABLE = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _seconds(value: object) -> object:
    """A number of seconds comes as text from the environment and the command line."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _crontab(text: str) -> str:
    try:
        return Schedule.parse(text).text
    except SettingsError as error:
        raise ValueError(error.message) from error


def _zone(name: str) -> str:
    try:
        load_zone(name)
    except SettingsError as error:
        raise ValueError(error.message) from error
    return name


def _listen(text: str) -> str:
    if text:
        parse_listen(text)
    return text


def _with_different_ids(checks: tuple[GivenQuestion, ...]) -> tuple[GivenQuestion, ...]:
    ids = [check.id for check in checks]
    if len(set(ids)) != len(ids):
        raise ValueError("two checks have the same id")
    return checks


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta())]
Crontab: TypeAlias = Annotated[str, AfterValidator(_crontab)]
ZoneName: TypeAlias = Annotated[str, AfterValidator(_zone)]
Name: TypeAlias = Annotated[str, Field(min_length=1)]
Checks: TypeAlias = Annotated[tuple[GivenQuestion, ...], AfterValidator(_with_different_ids)]
Digests: TypeAlias = Literal["never", "weekly", "always"]
LogFormat: TypeAlias = Literal["text", "json"]


class DatabaseSettings(BaseModel):
    """`[databases.<name>]`: one database; what it leaves out is as at the top of the file.

    `dsn` is better given as the credential `dsn-<name>`. A database without a schedule of its own
    follows the one at the top; without either the daemon leaves it to others.
    """

    model_config = TABLE

    dsn: Annotated[SecretStr, Field(min_length=1)] | None = None
    schedule: Crontab | None = None
    zone: ZoneName | None = None
    priority: Annotated[int, Field(ge=0, le=100)] = 50
    digests: Digests | None = None
    rto_target: Duration | None = None
    rpo_target: Duration | None = None
    checks: Checks | None = None
    check_timeout: Duration | None = None
    smoke_command: tuple[Text, ...] | None = None
    waivers: tuple[GivenWaiver, ...] | None = None
    exclusions: tuple[GivenExclusion, ...] | None = None
    retention: DatabaseRetention | None = None


class SchedulesSettings(BaseModel):
    """`[schedules]`: when the daemon does what is no backup. What is left out is never done."""

    model_config = TABLE

    zone: ZoneName | None = None
    prune: Crontab | None = None
    verify: Crontab | None = None
    verify_within: Duration = timedelta(days=30)
    restore_test_first: bool = False
    restore_test_latest: Crontab | None = None
    restore_test_oldest: Crontab | None = None
    restore_test_random: Crontab | None = None
    report: Crontab | None = None
    copies: Crontab | None = None


class DaemonSettings(BaseModel):
    """`[daemon]`: how much at once, how long, how often again."""

    model_config = TABLE

    concurrency: Annotated[int, Field(ge=1, le=16)] = 1
    attempts: Annotated[int, Field(ge=1, le=20)] = 4
    retry_after: Duration = timedelta(minutes=1)
    retry_after_at_most: Duration = timedelta(hours=1)
    deadline: Duration = timedelta(hours=12)
    silence_timeout: Duration = timedelta(minutes=30)
    drain_timeout: Duration = timedelta(minutes=5)


class NotifySettings(BaseModel):
    """`[notify]`: how people are told. Who, is the credential `notify-urls`: it holds secrets."""

    model_config = TABLE

    repeat_after: Duration = timedelta(days=1)
    timeout: Duration = timedelta(seconds=30)


class MonitoringSettings(BaseModel):
    """`[monitoring]`: where `/metrics`, `/healthz` and `/status` are served; empty: nowhere."""

    model_config = TABLE

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:9188"


def parse_listen(text: str) -> tuple[str, int]:
    """Return the host and the port of `127.0.0.1:9188` or `[::1]:9188`. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{text!r} is no address and port, such as 127.0.0.1:9188")
    return host, int(port)
