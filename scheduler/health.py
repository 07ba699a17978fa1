"""From what is known to what it means: problems, their severity, what to do. Pure.

Every rule errs towards alarm: what is not proven is never good, and what nobody could look at is
unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from scheduler.databasehealth import JOURNAL, failed, problems_of, shown
from scheduler.facts import DatabaseRecord, Facts, Promise
from scheduler.status import Concern, Problem, Severity, Status, rank_of, span, utc, worst

EXPIRY_WARNING = timedelta(days=30)
EXPIRY_CRITICAL = timedelta(days=7)


def assess(facts: Facts, *, now: datetime) -> Status:
    """Return the status at `now`."""
    problems = tuple(
        sorted(
            [
                *_of_the_host(facts, now),
                *(
                    problem
                    for promise in facts.promises
                    for problem in problems_of(promise, _record(facts, promise), facts, now)
                ),
            ],
            key=lambda one: (-rank_of(one.severity), one.database or "", one.code),
        )
    )
    return Status(
        at=now,
        severity=worst([one.severity for one in problems]),
        is_complete=not facts.blindnesses,
        host=facts.host,
        version=facts.version,
        repository=facts.repository,
        daemon=facts.daemon,
        databases=tuple(
            shown(promise, _record(facts, promise), problems, now) for promise in facts.promises
        ),
        problems=problems,
        running=facts.running,
        due=tuple(sorted(facts.due, key=lambda one: (one.at, one.job, one.database or ""))),
        expiries=tuple(sorted(facts.expiries, key=lambda one: one.at)),
        verify=facts.verify,
        notifier=facts.notifier,
        log_entries=facts.log_entries,
        log_checkpoint_entries=facts.log_checkpoint_entries,
        repository_free_bytes=facts.repository_free_bytes,
    )


def _record(facts: Facts, promise: Promise) -> DatabaseRecord:
    return facts.records.get(promise.database, DatabaseRecord())


def _of_the_host(facts: Facts, now: datetime) -> Iterator[Problem]:
    for blindness in facts.blindnesses:
        yield Problem(
            code=f"cannot_look_at_{blindness.code}",
            concern=Concern.REPOSITORY,
            severity=Severity.UNKNOWN,
            database=None,
            what=f"cannot be told: {blindness.what}",
            since=None,
            hint=blindness.hint,
        )
    yield from _of_the_daemon(facts)
    for wrong in facts.log_problems[:3]:
        yield Problem(
            code="log_inconsistent",
            concern=Concern.LOG,
            severity=Severity.CRITICAL,
            database=None,
            what=wrong,
            since=None,
            hint="strongroom log verify; delete nothing, find out who wrote to the store",
        )
    yield from _of_verify(facts, now)
    if facts.prune_blocked is not None:
        yield Problem(
            code="prune_blocked",
            concern=Concern.PRUNE,
            severity=Severity.WARNING,
            database=None,
            what="the last prune was blocked by its brakes, so nothing is deleted",
            since=facts.prune_blocked,
            hint="strongroom prune",
        )
    yield from (failed(one) for one in facts.failures if one.database is None)
    yield from _of_expiries(facts, now)
    if facts.notifier.failing_since is not None:
        yield Problem(
            code="notifier_failing",
            concern=Concern.NOTIFIER,
            severity=Severity.WARNING,
            database=None,
            what=f"messages cannot be delivered: {facts.notifier.error or 'no reason given'}",
            since=facts.notifier.failing_since,
            hint="strongroom config check; the credential notify-urls",
            # Whom it could not be told will not hear of this either.
            is_settled=facts.notifier.is_partial,
        )


def _of_the_daemon(facts: Facts) -> Iterator[Problem]:
    daemon = facts.daemon
    if not facts.is_daemon_wanted or (daemon.is_running and daemon.is_ticking):
        return
    what = (
        "the daemon runs, but its loop has not moved lately"
        if daemon.is_running
        else "the daemon is not running: nothing happens by itself"
    )
    yield Problem(
        code="daemon_stuck" if daemon.is_running else "daemon_stopped",
        concern=Concern.DAEMON,
        severity=Severity.CRITICAL,
        database=None,
        what=what,
        since=daemon.last_tick,
        hint=f"systemctl status strongroom-daemon; {JOURNAL}",
    )


def _of_verify(facts: Facts, now: datetime) -> Iterator[Problem]:
    verify = facts.verify
    if verify.damages or verify.unpinned:
        yield Problem(
            code="stored_data_damaged" if verify.damages else "backups_unpinned",
            concern=Concern.VERIFY,
            severity=Severity.CRITICAL,
            database=None,
            what=f"the last verify found {verify.damages} damages"
            f" and {verify.unpinned} backups of unknown signers",
            since=verify.at,
            hint="strongroom verify --all; docs/runbooks/damaged-repository.md",
        )
    within = facts.verify_within
    if within is not None and verify.at is not None and now - verify.at > within:
        yield Problem(
            code="verify_overdue",
            concern=Concern.VERIFY,
            severity=Severity.WARNING,
            database=None,
            what=f"stored chunks were last read at {utc(verify.at)}",
            since=verify.at + within,
            hint="strongroom verify --all",
        )


def _of_expiries(facts: Facts, now: datetime) -> Iterator[Problem]:
    for expiry in facts.expiries:
        left = expiry.at - now
        if left < EXPIRY_WARNING:
            when = f"expires in {span(left)}" if left > timedelta() else "has expired"
            yield Problem(
                code="expiry",
                concern=Concern.KEYS,
                severity=Severity.CRITICAL if left < EXPIRY_CRITICAL else Severity.WARNING,
                database=None,
                what=f"{expiry.kind} {expiry.name} {when} ({utc(expiry.at)})",
                since=expiry.at - EXPIRY_WARNING,
                hint="replace it: strongroom doctor names what is in use",
            )
