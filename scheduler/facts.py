"""What is known before it is judged: settings, repository, evidence log, journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from scheduler.status import DaemonState, Due, Expiry, NotifierStatus, Running, VerifyStatus

JobKind: TypeAlias = Literal["backup", "restore test", "verify", "prune", "report", "copy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What the settings say of a database: its two newest slots, and what it may lose and take.

    `test_due` are the two newest slots at which a restore test of it was due, newest first.
    """

    database: str
    backup_due: tuple[datetime, ...] = ()
    test_due: tuple[datetime, ...] = ()
    next_due: datetime | None = None
    rpo_target: timedelta | None = None
    rto_target: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBackup:
    """The newest backup of a database whose signer is pinned, as its manifest tells."""

    backup_id: str
    started: datetime
    duration: timedelta | None = None
    plain_bytes: int | None = None
    stored_bytes: int | None = None
    new_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtedBackup:
    """A backup newer than that one which can't be believed, and why."""

    backup_id: str
    started: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTestResult:
    """How the last restore test ended: its verdict as printed, or None if it was broken off."""

    at: datetime
    backup_id: str | None
    verdict: str | None
    rto: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The newest backup that passed a restore test and is still there."""

    backup_id: str
    started: datetime
    tested: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRecord:
    """What repository and log hold of a database. `failed`: a run that failed after `newest`."""

    backups: int = 0
    newest: StoredBackup | None = None
    doubted: DoubtedBackup | None = None
    proof: Proof | None = None
    last_test: RestoreTestResult | None = None
    measured_rto: timedelta | None = None
    failed: Failure | None = None
    missed_slots: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A job whose last run failed. `retry_at`: when it is tried again; None: it is not."""

    job: JobKind
    database: str | None
    at: datetime
    error: str
    hint: str | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """Something that could not be looked at (`code`: repository, journal, certificate), and why."""

    code: str
    what: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it. Records are by database."""

    host: str
    version: str
    repository: str
    promises: tuple[Promise, ...]
    records: Mapping[str, DatabaseRecord]
    daemon: DaemonState
    is_daemon_wanted: bool
    failures: tuple[Failure, ...] = ()
    running: tuple[Running, ...] = ()
    due: tuple[Due, ...] = ()
    expiries: tuple[Expiry, ...] = ()
    verify: VerifyStatus = field(
        default_factory=lambda: VerifyStatus(at=None, damages=0, unpinned=0, objects=0)
    )
    verify_within: timedelta | None = None
    prune_blocked: datetime | None = None
    notifier: NotifierStatus = field(
        default_factory=lambda: NotifierStatus(configured=0, failing_since=None, error=None)
    )
    log_problems: tuple[str, ...] = ()
    log_entries: int = 0
    log_checkpoint_entries: int = 0
    repository_free_bytes: int | None = None
    blindnesses: tuple[Blindness, ...] = ()
