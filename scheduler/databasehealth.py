"""What is wrong with one database: its backups, their age, their proof. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from scheduler.facts import DatabaseRecord, Facts, Failure, Promise, StoredBackup
from scheduler.status import Concern, DatabaseStatus, Problem, Severity, span, utc, worst

# A slot may be this late before anybody is bothered: queue, retries, a long backup.
LATENESS = timedelta(minutes=30)
TEST_LATENESS = timedelta(hours=12)
# Where no restore test is scheduled here (another host tests), a proof counts this long.
PROOF_LASTS = timedelta(days=35)
_CLOCK_TOLERANCE = timedelta(minutes=5)
JOURNAL = "journalctl -u strongroom-daemon -n 100"

_CONCERN = {
    "backup": Concern.BACKUP,
    "restore test": Concern.RESTORE_TEST,
    "verify": Concern.VERIFY,
    "prune": Concern.PRUNE,
    "report": Concern.REPORT,
    "copy": Concern.COPY,
}


def problems_of(
    promise: Promise, record: DatabaseRecord, facts: Facts, now: datetime
) -> Iterator[Problem]:
    """Yield what is wrong with a database; of a repository that cannot be read, nothing is said."""
    if not any(one.code == "repository" for one in facts.blindnesses):
        yield from _of_backups(promise, record, facts, now)
        yield from _of_proof(promise, record, now)
    for failure in facts.failures:
        if failure.database == promise.database and not _is_overtaken(failure, record):
            yield failed(failure)


def _of_backups(
    promise: Promise, record: DatabaseRecord, facts: Facts, now: datetime
) -> Iterator[Problem]:
    name, newest, doubted = promise.database, record.newest, record.doubted
    take = f"strongroom backup --name {name}"
    if doubted is not None:
        yield _backup(
            "backup_untrusted",
            Severity.CRITICAL,
            name,
            f"{doubted.backup_id} cannot be believed: {doubted.why}",
            since=doubted.started,
            hint=f"strongroom show {doubted.backup_id}; find out who wrote to the store",
        )
    if newest is None:
        what = "there is no backup at all" if doubted is None else "no backup can be believed"
        yield _backup("no_backup", Severity.CRITICAL, name, what, since=None, hint=take)
        return
    if newest.started > now + _CLOCK_TOLERANCE:
        yield _backup(
            "backup_in_the_future",
            Severity.CRITICAL,
            name,
            f"the newest backup, {newest.backup_id}, is from the future: a clock is wrong",
            since=None,
            hint="timedatectl, here and on the host that took it",
        )
    yield from _of_lateness(promise, newest, facts, now)
    if promise.rpo_target is not None and now - newest.started > promise.rpo_target:
        yield _backup(
            "rpo_exceeded",
            Severity.CRITICAL,
            name,
            f"the newest backup is {span(now - newest.started)} old,"
            f" and {span(promise.rpo_target)} is promised",
            since=newest.started + promise.rpo_target,
            hint=take,
        )
    # The daemon's own word is better: it knows of retries. Without it the log has the last one.
    is_known = any(
        one.job == "backup" and one.database == name and not _is_overtaken(one, record)
        for one in facts.failures
    )
    if record.failed is not None and not is_known:
        yield failed(record.failed)


def _of_lateness(
    promise: Promise, newest: StoredBackup, facts: Facts, now: datetime
) -> Iterator[Problem]:
    allowed = max(LATENESS, 2 * (newest.duration or timedelta()))
    late = [slot for slot in promise.backup_due if newest.started < slot < now - allowed]
    is_running = any(
        one.job == "backup" and one.database == promise.database for one in facts.running
    )
    if not late or (is_running and len(late) == 1):
        return
    since = min(late)
    yield _backup(
        "backup_overdue",
        Severity.CRITICAL if len(late) > 1 else Severity.WARNING,
        promise.database,
        f"a backup was due at {utc(since)} and there is none",
        since=since,
        hint=f"{JOURNAL}; strongroom backup --name {promise.database}",
    )


def _of_proof(promise: Promise, record: DatabaseRecord, now: datetime) -> Iterator[Problem]:
    name, test, proof = promise.database, record.last_test, record.proof
    again = f"strongroom restore-test --database {name} --identity FILE"
    if test is not None:
        yield from _of_last_test(name, test.verdict, test.at, again)
    if record.newest is None:
        return
    if proof is None:
        yield _test(
            "unproven",
            Severity.WARNING,
            name,
            "no backup that is still there has passed a restore test",
            since=None,
            hint=again,
        )
    elif late := [slot for slot in promise.test_due if proof.tested < slot < now - TEST_LATENESS]:
        yield _test(
            "restore_test_overdue",
            Severity.CRITICAL if len(late) > 1 else Severity.WARNING,
            name,
            f"a restore test was due at {utc(min(late))}; the last that passed"
            f" was at {utc(proof.tested)}",
            since=min(late),
            hint=again,
        )
    elif not promise.test_due and now - proof.tested > PROOF_LASTS:
        yield _test(
            "restore_test_overdue",
            Severity.CRITICAL if now - proof.tested > 2 * PROOF_LASTS else Severity.WARNING,
            name,
            f"the last restore test that passed was at {utc(proof.tested)}",
            since=proof.tested + PROOF_LASTS,
            hint=again,
        )
    rto = record.measured_rto
    if promise.rto_target is not None and rto is not None and rto > promise.rto_target:
        yield _test(
            "rto_exceeded",
            Severity.WARNING,
            name,
            f"the last restore took {span(rto)}, and {span(promise.rto_target)} is promised",
            since=test.at if test is not None else None,
            hint=f"strongroom report list --database {name}",
        )


def _of_last_test(name: str, verdict: str | None, at: datetime, again: str) -> Iterator[Problem]:
    look = f"strongroom report list --database {name}; docs/runbooks/restore-test-failed.md"
    if verdict is None:
        what = "the last restore test was broken off"
        yield _test("restore_test_aborted", Severity.WARNING, name, what, since=at, hint=again)
    elif verdict.startswith("FAIL"):
        what = "the last restore test found that the backup is wrong: FAIL"
        yield _test("restore_test_failed", Severity.CRITICAL, name, what, since=at, hint=look)
    elif not verdict.startswith("PASS"):
        what = f"the last restore test proved nothing: {verdict}"
        yield _test("restore_test_inconclusive", Severity.WARNING, name, what, since=at, hint=look)


def _is_overtaken(failure: Failure, record: DatabaseRecord) -> bool:
    """Whether the same job has succeeded since, on whatever host."""
    if failure.job == "backup":
        return record.newest is not None and record.newest.started > failure.at
    if failure.job == "restore test":
        return record.last_test is not None and record.last_test.at > failure.at
    return False


def failed(failure: Failure) -> Problem:
    """A run that failed. While it is going to be retried it is a warning that nobody is sent."""
    is_settled = failure.retry_at is None
    later = "" if failure.retry_at is None else f"; tried again at {utc(failure.retry_at)}"
    return Problem(
        code=f"{failure.job.replace(' ', '_')}_failed"
        if failure.job != "restore test"
        else "restore_test_not_run",
        concern=_CONCERN[failure.job],
        severity=Severity.CRITICAL if is_settled else Severity.WARNING,
        database=failure.database,
        what=f"failed: {failure.error}{later}",
        since=failure.at,
        hint=failure.hint or JOURNAL,
        is_settled=is_settled,
    )


def shown(
    promise: Promise, record: DatabaseRecord, problems: Iterable[Problem], now: datetime
) -> DatabaseStatus:
    """Return the line of a database."""
    newest, proof, test = record.newest, record.proof, record.last_test
    return DatabaseStatus(
        database=promise.database,
        severity=worst([one.severity for one in problems if one.database == promise.database]),
        backups=record.backups,
        last_success=newest.started if newest else None,
        last_backup_id=newest.backup_id if newest else None,
        age=now - newest.started if newest else None,
        rpo_target=promise.rpo_target,
        duration=newest.duration if newest else None,
        plain_bytes=newest.plain_bytes if newest else None,
        stored_bytes=newest.stored_bytes if newest else None,
        new_bytes=newest.new_bytes if newest else None,
        dedup_ratio=_reused(newest),
        proven_backup_id=proof.backup_id if proof else None,
        proven_backup_at=proof.started if proof else None,
        proven_at=proof.tested if proof else None,
        proven_rpo=now - proof.started if proof else None,
        last_test_at=test.at if test else None,
        last_verdict=test.verdict if test else None,
        rto=record.measured_rto,
        rto_target=promise.rto_target,
        missed_slots=record.missed_slots,
        next_due=promise.next_due,
    )


def _reused(newest: StoredBackup | None) -> float | None:
    """Return which share of the newest backup's objects was stored before it, 0 to 1."""
    if newest is None or not newest.stored_bytes or newest.new_bytes is None:
        return None
    return round(1 - newest.new_bytes / newest.stored_bytes, 4)


def _backup(
    code: str, severity: Severity, database: str, what: str, *, since: datetime | None, hint: str
) -> Problem:
    return Problem(
        code=code,
        concern=Concern.BACKUP,
        severity=severity,
        database=database,
        what=what,
        since=since,
        hint=hint,
    )


def _test(
    code: str, severity: Severity, database: str, what: str, *, since: datetime | None, hint: str
) -> Problem:
    return Problem(
        code=code,
        concern=Concern.RESTORE_TEST,
        severity=severity,
        database=database,
        what=what,
        since=since,
        hint=hint,
    )
