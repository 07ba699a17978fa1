"""What is judged good, a warning, critical or unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.facts import (
    Blindness,
    DatabaseRecord,
    DoubtedBackup,
    Facts,
    Failure,
    Promise,
    Proof,
    RestoreTestResult,
    StoredBackup,
)
from scheduler.health import assess
from scheduler.status import (
    DaemonState,
    Expiry,
    NotifierStatus,
    Running,
    Severity,
    Status,
    VerifyStatus,
)

NOW = datetime(2026, 1, 14, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
PROMISE = Promise(
    database="portal",
    backup_due=(NOW, NOW - HOUR),
    test_due=(NOW - DAY, NOW - 8 * DAY),
    next_due=NOW + HOUR,
    rpo_target=2 * HOUR,
    rto_target=HOUR,
)
NEWEST = StoredBackup(
    backup_id="20260114T020000Z-3f9c2a",
    started=NOW - HOUR,
    duration=timedelta(minutes=2),
    plain_bytes=4000,
    stored_bytes=1000,
    new_bytes=100,
)
PROOF = Proof(
    backup_id="20260113T020000Z-000001", started=NOW - 25 * HOUR, tested=NOW - timedelta(hours=23)
)
PASSED = RestoreTestResult(
    at=NOW - timedelta(hours=23),
    backup_id=PROOF.backup_id,
    verdict="PASS",
    rto=timedelta(minutes=4),
)
RECORD = DatabaseRecord(
    backups=30, newest=NEWEST, proof=PROOF, last_test=PASSED, measured_rto=timedelta(minutes=4)
)
DAEMON = DaemonState(is_running=True, is_ticking=True, pid=42, since=NOW - DAY, last_tick=NOW)
GOOD = Facts(
    host="backup1",
    version="strongroom test",
    repository="/srv/backups",
    promises=(PROMISE,),
    records={"portal": RECORD},
    daemon=DAEMON,
    is_daemon_wanted=True,
    verify=VerifyStatus(at=NOW - DAY, damages=0, unpinned=0, objects=10),
    verify_within=30 * DAY,
)


def status(facts: Facts = GOOD) -> Status:
    """The status at `NOW`."""
    return assess(facts, now=NOW)


def of(record: DatabaseRecord) -> Facts:
    """Facts with another record of the one database."""
    return replace(GOOD, records={"portal": record})


def codes(found: Status) -> Mapping[str, Severity]:
    """The codes of the problems, and how bad each is."""
    return {one.code: one.severity for one in found.problems}


def test_all_promises_kept_is_good() -> None:
    """Nothing is wrong: 0, and the line has the proven RPO, the RTO and the share of reuse."""
    found = status()
    assert found.severity is Severity.GOOD
    assert found.problems == ()
    (line,) = found.databases
    assert line.proven_rpo == timedelta(hours=25)
    assert (line.rto, line.rto_target) == (timedelta(minutes=4), HOUR)
    assert line.dedup_ratio == 0.9
    assert line.next_due == NOW + HOUR


BLIND = Blindness(code="repository", what="repository: not there", hint="mount it")
LATE = replace(NEWEST, started=NOW - timedelta(hours=4))
CASES: dict[str, tuple[Facts, str, Severity]] = {
    "no backup": (of(DatabaseRecord()), "no_backup", Severity.CRITICAL),
    "one slot missed": (
        replace(
            of(replace(RECORD, newest=replace(NEWEST, started=NOW - timedelta(minutes=90)))),
            promises=(replace(PROMISE, backup_due=(NOW - HOUR, NOW - 2 * HOUR)),),
        ),
        "backup_overdue",
        Severity.WARNING,
    ),
    "two slots missed": (
        replace(
            of(replace(RECORD, newest=LATE)),
            promises=(replace(PROMISE, backup_due=(NOW - HOUR, NOW - 2 * HOUR), rpo_target=DAY),),
        ),
        "backup_overdue",
        Severity.CRITICAL,
    ),
    "older than the RPO": (
        replace(of(replace(RECORD, newest=LATE)), promises=(replace(PROMISE, backup_due=()),)),
        "rpo_exceeded",
        Severity.CRITICAL,
    ),
    "an unpinned backup": (
        of(
            replace(
                RECORD,
                doubted=DoubtedBackup(backup_id="x", started=NOW, why="signed by a stranger"),
            )
        ),
        "backup_untrusted",
        Severity.CRITICAL,
    ),
    "a backup of tomorrow": (
        of(replace(RECORD, newest=replace(NEWEST, started=NOW + HOUR))),
        "backup_in_the_future",
        Severity.CRITICAL,
    ),
    "a failure in the log": (
        of(replace(RECORD, failed=Failure(job="backup", database="portal", at=NOW, error="x"))),
        "backup_failed",
        Severity.CRITICAL,
    ),
    "a failure that the daemon knows": (
        replace(GOOD, failures=(Failure(job="backup", database="portal", at=NOW, error="x"),)),
        "backup_failed",
        Severity.CRITICAL,
    ),
    "a failure that is retried": (
        replace(
            GOOD,
            failures=(
                Failure(job="backup", database="portal", at=NOW, error="x", retry_at=NOW + HOUR),
            ),
        ),
        "backup_failed",
        Severity.WARNING,
    ),
    "never proven": (
        of(replace(RECORD, proof=None, last_test=None)),
        "unproven",
        Severity.WARNING,
    ),
    "a restore test that failed": (
        of(replace(RECORD, last_test=replace(PASSED, verdict="FAIL"))),
        "restore_test_failed",
        Severity.CRITICAL,
    ),
    "a restore test that proved nothing": (
        of(replace(RECORD, last_test=replace(PASSED, verdict="INCONCLUSIVE"))),
        "restore_test_inconclusive",
        Severity.WARNING,
    ),
    "a restore test that was broken off": (
        of(replace(RECORD, last_test=replace(PASSED, verdict=None))),
        "restore_test_aborted",
        Severity.WARNING,
    ),
    "a restore test that could not start": (
        replace(
            GOOD, failures=(Failure(job="restore test", database="portal", at=NOW, error="x"),)
        ),
        "restore_test_not_run",
        Severity.CRITICAL,
    ),
    "a restore test that is overdue": (
        of(replace(RECORD, proof=replace(PROOF, tested=NOW - 2 * DAY))),
        "restore_test_overdue",
        Severity.WARNING,
    ),
    "two restore tests that are overdue": (
        of(replace(RECORD, proof=replace(PROOF, tested=NOW - 9 * DAY))),
        "restore_test_overdue",
        Severity.CRITICAL,
    ),
    "an old proof, with no schedule here": (
        replace(
            of(replace(RECORD, proof=replace(PROOF, tested=NOW - 36 * DAY))),
            promises=(replace(PROMISE, test_due=()),),
        ),
        "restore_test_overdue",
        Severity.WARNING,
    ),
    "a slow restore": (
        of(replace(RECORD, measured_rto=2 * HOUR)),
        "rto_exceeded",
        Severity.WARNING,
    ),
    "no daemon": (
        replace(GOOD, daemon=replace(DAEMON, is_running=False)),
        "daemon_stopped",
        Severity.CRITICAL,
    ),
    "a daemon whose loop stands": (
        replace(GOOD, daemon=replace(DAEMON, is_ticking=False)),
        "daemon_stuck",
        Severity.CRITICAL,
    ),
    "a log that was cut": (
        replace(GOOD, log_problems=("the log was cut short",)),
        "log_inconsistent",
        Severity.CRITICAL,
    ),
    "damage": (
        replace(GOOD, verify=replace(GOOD.verify, damages=1)),
        "stored_data_damaged",
        Severity.CRITICAL,
    ),
    "unknown signers": (
        replace(GOOD, verify=replace(GOOD.verify, unpinned=1)),
        "backups_unpinned",
        Severity.CRITICAL,
    ),
    "a verify that is overdue": (
        replace(GOOD, verify=replace(GOOD.verify, at=NOW - 31 * DAY)),
        "verify_overdue",
        Severity.WARNING,
    ),
    "a prune that was blocked": (
        replace(GOOD, prune_blocked=NOW - DAY),
        "prune_blocked",
        Severity.WARNING,
    ),
    "a prune that failed": (
        replace(GOOD, failures=(Failure(job="prune", database=None, at=NOW, error="x"),)),
        "prune_failed",
        Severity.CRITICAL,
    ),
    "a certificate that expires soon": (
        replace(GOOD, expiries=(Expiry(kind="certificate", name="c", at=NOW + 20 * DAY),)),
        "expiry",
        Severity.WARNING,
    ),
    "a key that has expired": (
        replace(GOOD, expiries=(Expiry(kind="key", name="k", at=NOW - DAY),)),
        "expiry",
        Severity.CRITICAL,
    ),
    "a notifier that fails": (
        replace(
            GOOD,
            notifier=NotifierStatus(configured=1, failing_since=NOW, error="refused"),
        ),
        "notifier_failing",
        Severity.WARNING,
    ),
    "a store that cannot be read": (
        replace(GOOD, blindnesses=(BLIND,)),
        "cannot_look_at_repository",
        Severity.UNKNOWN,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_problem_has_its_code_and_severity(case: str) -> None:
    """One thing wrong, one problem: its code, how bad it is, and a hint that names a command."""
    facts, code, severity = CASES[case]
    found = status(facts)
    assert codes(found) == {code: severity}
    assert found.severity is severity
    (problem,) = found.problems
    assert problem.hint
    assert found.summary.startswith(severity.word)


def test_what_is_known_to_be_bad_hides_what_is_unknown() -> None:
    """A damaged store that can't be looked at now is critical, not unknown."""
    blind = replace(
        GOOD,
        blindnesses=(BLIND,),
        verify=replace(GOOD.verify, damages=1),
    )
    assert status(blind).severity is Severity.CRITICAL


def test_a_failure_counts_until_a_backup_began_after_it() -> None:
    """Somebody took one by hand: the daemon's failure is over."""
    failure = Failure(job="backup", database="portal", at=NOW - 2 * HOUR, error="x")
    assert status(replace(GOOD, failures=(failure,))).problems == ()


def test_a_backup_at_work_is_not_overdue() -> None:
    """One slot late while it runs is no problem; two slots late is one, running or not."""
    late = replace(
        of(replace(RECORD, newest=replace(NEWEST, started=NOW - timedelta(minutes=90)))),
        promises=(replace(PROMISE, backup_due=(NOW - HOUR, NOW - 2 * HOUR)),),
    )
    running = (Running(job="backup", database="portal", since=NOW - HOUR),)
    assert codes(status(replace(late, running=running))) == {}
    very_late = replace(
        late,
        records={"portal": replace(RECORD, newest=LATE)},
        promises=(replace(late.promises[0], rpo_target=None),),
    )
    assert "backup_overdue" in codes(status(replace(very_late, running=running)))


def test_without_schedules_no_daemon_is_wanted() -> None:
    """Who backs up by a timer is not warned of a daemon that he does not run."""
    facts = replace(GOOD, daemon=replace(DAEMON, is_running=False), is_daemon_wanted=False)
    assert status(facts).severity is Severity.GOOD


def test_the_worst_comes_first() -> None:
    """The line of a Nagios check names the worst problem and counts the others."""
    found = status(
        replace(of(DatabaseRecord()), prune_blocked=NOW, verify=replace(GOOD.verify, at=None))
    )
    assert [one.code for one in found.problems] == ["no_backup", "prune_blocked"]
    assert found.summary == (
        "CRITICAL: portal backup: there is no backup at all (and 1 more problem)"
    )
