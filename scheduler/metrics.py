"""A status in Prometheus' text format. Names and units follow Prometheus' conventions.

`docs/monitoring.md` lists every metric; a test holds the two, the alert rules and the dashboard
together. Times are timestamps, so that a status that is a minute old gives no stale age.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from scheduler.status import DatabaseStatus, Status

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_Value = float | int | None
# Of each database: name, help, value. A value that nobody knows gives no sample.
_DATABASE: Final[tuple[tuple[str, str, Callable[[DatabaseStatus], _Value]], ...]] = (
    ("database_state", "0 good, 1 warning, 2 critical, 3 unknown", lambda one: one.severity),
    ("backups", "Backups that exist", lambda one: one.backups),
    (
        "backup_last_success_timestamp_seconds",
        "When the newest backup began that exists and is signed by a pinned key",
        lambda one: _stamp(one.last_success),
    ),
    (
        "backup_last_duration_seconds",
        "How long the newest backup took",
        lambda one: _seconds(one.duration),
    ),
    (
        "backup_last_plain_bytes",
        "Size of the newest backup's archives as they were dumped",
        lambda one: one.plain_bytes,
    ),
    (
        "backup_last_stored_bytes",
        "Size of all objects that the newest backup refers to",
        lambda one: one.stored_bytes,
    ),
    (
        "backup_last_new_bytes",
        "Size of the objects that the newest backup added",
        lambda one: one.new_bytes,
    ),
    (
        "backup_dedup_ratio",
        "Share of the newest backup's objects that were stored before it, 0 to 1",
        lambda one: one.dedup_ratio,
    ),
    (
        "backup_next_due_timestamp_seconds",
        "When the next backup is due",
        lambda one: _stamp(one.next_due),
    ),
    ("backup_slots_missed", "Slots missed in the last 7 days", lambda one: one.missed_slots),
    (
        "rpo_target_seconds",
        "How old the newest backup may be",
        lambda one: _seconds(one.rpo_target),
    ),
    (
        "proven_backup_timestamp_seconds",
        "When the newest backup began that passed a restore test; its age is the proven RPO",
        lambda one: _stamp(one.proven_backup_at),
    ),
    (
        "restore_test_last_pass_timestamp_seconds",
        "When a restore test last passed",
        lambda one: _stamp(one.proven_at),
    ),
    (
        "restore_test_last_timestamp_seconds",
        "When a restore test last ended",
        lambda one: _stamp(one.last_test_at),
    ),
    (
        "restore_test_last_result",
        "How it ended: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 broken off",
        lambda one: None if one.last_test_at is None else _result(one.last_verdict),
    ),
    (
        "restore_test_last_rto_seconds",
        "How long the last measured restore took",
        lambda one: _seconds(one.rto),
    ),
    (
        "rto_target_seconds",
        "How long a restore may take",
        lambda one: _seconds(one.rto_target),
    ),
)
# Of the host: the same, of the whole status.
_HOST: Final[tuple[tuple[str, str, Callable[[Status], _Value]], ...]] = (
    ("state", "0 good, 1 warning, 2 critical, 3 unknown", lambda one: one.severity),
    (
        "status_timestamp_seconds",
        "When everything was last looked at",
        lambda one: _stamp(one.at),
    ),
    (
        "status_complete",
        "1 if everything could be looked at, else 0",
        lambda one: int(one.is_complete),
    ),
    (
        "daemon_last_tick_timestamp_seconds",
        "When the loop that runs jobs last moved",
        lambda one: _stamp(one.daemon.last_tick),
    ),
    (
        "verify_last_timestamp_seconds",
        "When stored chunks were last read and checked",
        lambda one: _stamp(one.verify.at),
    ),
    (
        "verify_last_damages",
        "Damages that the last verify found",
        lambda one: one.verify.damages,
    ),
    (
        "verify_last_unpinned",
        "Backups of signers that nobody pinned, found by the last verify",
        lambda one: one.verify.unpinned,
    ),
    ("evidence_log_entries", "Entries of the evidence log", lambda one: one.log_entries),
    (
        "evidence_log_checkpoint_entries",
        "Entries that the newest checkpoint vouches for",
        lambda one: one.log_checkpoint_entries,
    ),
    (
        "repository_free_bytes",
        "Free space where the repository is, if it is a directory",
        lambda one: one.repository_free_bytes,
    ),
    (
        "notifiers",
        "Places that people are told at",
        lambda one: one.notifier.configured,
    ),
    (
        "notifier_failing",
        "1 if a message could not be delivered, else 0",
        lambda one: int(one.notifier.failing_since is not None),
    ),
)
_PREFIX: Final = "strongroom_"


def exposition(status: Status) -> bytes:
    """Return all metrics as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(status))
    return generate_latest(registry)


class _Once(Collector):
    """Hands out the families of one status."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        yield from families(self._status)


def families(status: Status) -> Iterator[Metric]:
    """Yield every metric, also those of which there is no sample now."""
    build = GaugeMetricFamily(f"{_PREFIX}build_info", "Which version runs", labels=["version"])
    build.add_metric([status.version], 1)
    yield build
    for name, text, value in _HOST:
        family = GaugeMetricFamily(_PREFIX + name, text)
        _add(family, [], value(status))
        yield family
    for name, text, of_database in _DATABASE:
        family = GaugeMetricFamily(_PREFIX + name, text, labels=["database"])
        for one in status.databases:
            _add(family, [one.database], of_database(one))
        yield family
    yield from _lists(status)


def _lists(status: Status) -> Iterator[Metric]:
    problems = GaugeMetricFamily(
        f"{_PREFIX}problem",
        "1 for each thing that is wrong; severity is warning, critical or unknown",
        labels=["code", "severity", "database"],
    )
    for key in sorted(
        {(p.code, p.severity.name.lower(), p.database or "") for p in status.problems}
    ):
        problems.add_metric(key, 1)
    yield problems
    running = GaugeMetricFamily(
        f"{_PREFIX}job_running_since_timestamp_seconds",
        "When a job that is at work began",
        labels=["kind", "database"],
    )
    begun: dict[tuple[str, str], float] = {}
    for one in status.running:
        at = one.since.timestamp()
        job = (one.job, one.database or "")
        begun[job] = min(at, begun.get(job, at))
    for labels, since in begun.items():
        running.add_metric(labels, since)
    yield running
    expiries = GaugeMetricFamily(
        f"{_PREFIX}expiry_timestamp_seconds",
        "Until when a key or a certificate is good",
        labels=["kind", "name"],
    )
    until: dict[tuple[str, str], float] = {}
    for expiry in status.expiries:
        at = expiry.at.timestamp()
        until[expiry.kind, expiry.name] = min(at, until.get((expiry.kind, expiry.name), at))
    for labels, at in until.items():
        expiries.add_metric(labels, at)
    yield expiries


def _add(family: GaugeMetricFamily, labels: list[str], value: _Value) -> None:
    if value is not None:
        family.add_metric(labels, float(value))


def _stamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _result(verdict: str | None) -> int:
    for number, word in enumerate(("PASS", "FAIL", "INCONCLUSIVE")):
        if verdict is not None and verdict.startswith(word):
            return number
    return 3
