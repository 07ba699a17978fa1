"""What the operator sees at 03:00, as a value; `status`, `/metrics` and alerts show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, IntEnum


class Severity(IntEnum):
    """How bad; the numbers are the exit codes of a Nagios check."""

    GOOD = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3

    @property
    def word(self) -> str:
        """As people read it: only what is bad is in capitals."""
        return "good" if self is Severity.GOOD else self.name

    @property
    def glyph(self) -> str:
        """A sign beside the word, for whoever glances."""
        return "✔▲✖?"[self.value]


# What counts as worse: something that is known to be bad hides what nobody could look at.
_ORDER = (Severity.GOOD, Severity.WARNING, Severity.UNKNOWN, Severity.CRITICAL)


def rank_of(severity: Severity) -> int:
    """Return a number that is higher for what is worse; unknown lies below critical."""
    return _ORDER.index(severity)


def worst(severities: Iterable[Severity]) -> Severity:
    """Return the worst, or `GOOD` if there is none."""
    return max(severities, key=rank_of, default=Severity.GOOD)


class Concern(Enum):
    """What a problem is about. Alerts are told once for a concern of a database, not for each."""

    BACKUP = "backup"
    RESTORE_TEST = "restore test"
    VERIFY = "verify"
    PRUNE = "prune"
    REPORT = "report"
    COPY = "copy"
    KEYS = "keys"
    LOG = "evidence log"
    DAEMON = "daemon"
    REPOSITORY = "repository"
    NOTIFIER = "notifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong: `code` never changes its meaning, `hint` names a command.

    `is_settled` False: it is being retried, so nobody is told yet.
    """

    code: str
    concern: Concern
    severity: Severity
    database: str | None
    what: str
    since: datetime | None
    hint: str
    is_settled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A job at work."""

    job: str
    database: str | None
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A job that comes next."""

    job: str
    database: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """Until when a key or a certificate is good."""

    kind: str
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonState:
    """The daemon on this host; `is_ticking`: the loop that runs jobs moved within its limit."""

    is_running: bool
    is_ticking: bool
    pid: int | None
    since: datetime | None
    last_tick: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStatus:
    """One database. `proven_rpo` is the age of the newest backup that passed a restore test."""

    database: str
    severity: Severity
    backups: int
    last_success: datetime | None
    last_backup_id: str | None
    age: timedelta | None
    rpo_target: timedelta | None
    duration: timedelta | None
    plain_bytes: int | None
    stored_bytes: int | None
    new_bytes: int | None
    dedup_ratio: float | None
    proven_backup_id: str | None
    proven_backup_at: datetime | None
    proven_at: datetime | None
    proven_rpo: timedelta | None
    last_test_at: datetime | None
    last_verdict: str | None
    rto: timedelta | None
    rto_target: timedelta | None
    missed_slots: int
    next_due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyStatus:
    """The last time that stored chunks were read and checked; None: never."""

    at: datetime | None
    damages: int
    unpinned: int
    objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierStatus:
    """Whether people can be told. `failing_since`: since when a message could not be delivered.

    `is_partial`: it was delivered somewhere else.
    """

    configured: int
    failing_since: datetime | None
    error: str | None
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything at one moment. `is_complete` False: something could not be looked at."""

    at: datetime
    severity: Severity
    is_complete: bool
    host: str
    version: str
    repository: str
    daemon: DaemonState
    databases: tuple[DatabaseStatus, ...]
    problems: tuple[Problem, ...]
    running: tuple[Running, ...]
    due: tuple[Due, ...]
    expiries: tuple[Expiry, ...]
    verify: VerifyStatus
    notifier: NotifierStatus
    log_entries: int
    log_checkpoint_entries: int
    repository_free_bytes: int | None

    @property
    def summary(self) -> str:
        """One line, as a Nagios check prints it first."""
        word = self.severity.word
        if not self.problems:
            return f"{word}: {_count(len(self.databases), 'database')}, every promise kept"
        first = max(self.problems, key=lambda one: rank_of(one.severity))
        about = f"{first.database} " if first.database else ""
        others = len(self.problems) - 1
        more = f" (and {_count(others, 'more problem')})" if others else ""
        return f"{word}: {about}{first.concern.value}: {first.what}{more}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def utc(moment: datetime) -> str:
    """Return a time as messages have it: `2026-01-14 02:00 UTC`."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def span(length: timedelta) -> str:
    """Return a span in the two largest units: `2 d 4 h`, `3 h 05 min`, `4 min`."""
    minutes = max(0, round(length.total_seconds() / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
