"""The last part of a restore test: from what was written down to a report. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from backup.evidence.checks import completed, required
from backup.evidence.comparison import compared, sequence_results, table_results
from backup.evidence.controls import Framework, evidenced
from backup.evidence.entry import Entry, EntryType
from backup.evidence.report import (
    Coverage,
    Exclusion,
    Objectives,
    PastRun,
    Report,
    Selection,
    TestedBackup,
    Trigger,
)
from backup.evidence.slot import Slot
from backup.evidence.verdict import Check, Code, Finding, Word, judge
from backup.journeys.scratchlook import Seen
from backup.journeys.testrecord import Record, milliseconds
from backup.repository.access import SignedManifest
from backup.repository.catalog import SUBSCRIPTIONS, Catalog
from backup.repository.layout import BackupKey
from backup.repository.manifest import LogHead
from backup.testpolicy import RestoreTestPolicy

_PAST_RUNS = 10
_STOPPED = "the test ended before it"
_LIMITS = (
    "That the source was right: what was wrong in it is wrong in the backup, and equal.",
    "That the backup can be had when this site is lost: it was read where the report says,"
    " with the identity of the test, on a host that may reach the source.",
    "What a materialised view held that was not up to date: a restore computes it anew.",
    "That security labels of roles and of the database itself are as they were, and what an owner"
    " took from himself on an extension's objects: neither is compared.",
)
_NO_SUBSCRIPTIONS = (
    "That subscriptions are as they were: the backup was taken by a role that may not read them,"
    " and pg_dump leaves them out for it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a report tells of a test beside what was found."""

    report_id: str
    version: str
    started: datetime
    slot: Slot | None
    selection: Selection
    backup: TestedBackup
    policy: RestoreTestPolicy
    frameworks: tuple[Framework, ...]
    entries: tuple[Entry, ...]
    log: LogHead | None
    log_started_seq: int | None
    key_id: str
    demanded: tuple[str, ...] = ()
    doubts: tuple[Finding, ...] = ()


def compose(around: Circumstances, record: Record, seen: Seen | None, now: datetime) -> Report:
    """Return the report, its verdict judged."""
    policy = around.policy
    exclusions = in_force(policy.exclusions, around.started)
    objectives = _objectives(around, record, seen)
    _judge_objectives(record, objectives, around.selection)
    checks = completed(record.checks, _STOPPED)
    scope, held = _tables(seen)
    judged = partial(
        judge,
        checks,
        required=required(*_asked(policy, around.selection, seen), *around.demanded),
        tables_in_scope=scope,
        tables_compared=held,
        waivers=policy.waivers,
        seal=1 if around.log is None else 2,
        at=around.started,
        is_stopped=record.is_stopped or _is_empty(checks),
    )
    verdict = judged(doubts=around.doubts)
    if verdict.word is Word.PASS:
        verdict = judged(doubts=(*around.doubts, *_failed_before(around)))
    both = None if seen is None or seen.observed is None else (seen.expected, seen.observed)
    return Report(
        format=1,
        report_id=around.report_id,
        generated_by=around.version,
        started=around.started,
        finished=now,
        trigger=Trigger(
            kind="manual" if around.slot is None else "schedule",
            scheduled_for=None if around.slot is None else around.slot.due,
            attempt=1 + _times_begun(around),
            policy_sha256=policy.sha256,
        ),
        selection=around.selection,
        exclusions=exclusions,
        backup=around.backup,
        environment=None if seen is None else seen.environment,
        destruction=record.destruction,
        phases=tuple(record.phases),
        objectives=objectives,
        commands=tuple(record.commands),
        messages=tuple(record.messages),
        tables=() if both is None else table_results(*both),
        sequences=() if both is None else sequence_results(*both),
        checks=checks,
        operator_checks=() if seen is None else seen.operator_checks,
        coverage=_coverage(both, scope, checks),
        verdict=verdict,
        history=tuple(past_runs(around.entries, around.backup.database)),
        controls=evidenced(around.frameworks, checks),
        limits=tuple(_limits(policy, exclusions, seen)),
        log=around.log,
        log_started_seq=around.log_started_seq,
        key_id=around.key_id,
    )


def tested_backup(
    key: BackupKey,
    signed: SignedManifest | None,
    *,
    repository_id: str,
    repository: str,
    key_source: str,
) -> TestedBackup:
    """Return what the signed manifest tells; of one that cannot be believed, only its place."""
    if signed is None:
        return TestedBackup(
            repository_id=repository_id,
            repository=repository,
            database=key.database,
            database_name="",
            backup_id=key.id.text,
            manifest_sha256="",
            signer="",
            cluster_id="",
            snapshot_id="",
            snapshot_time=key.id.started,
            lsn="",
            server_version="",
            tool_version="",
            started=key.id.started,
            finished=key.id.started,
            plain_bytes=0,
            stored_bytes=0,
            chunks=0,
            recipients=(),
            key_source=key_source,
        )
    manifest = signed.manifest
    return TestedBackup(
        repository_id=repository_id,
        repository=repository,
        database=manifest.database,
        database_name=manifest.database_name,
        backup_id=manifest.backup_id,
        manifest_sha256=signed.sha256,
        signer=signed.signer.principal or f"unpinned: {signed.signer.public_key.fingerprint}",
        cluster_id=manifest.cluster_id,
        snapshot_id=manifest.snapshot_id,
        snapshot_time=manifest.snapshot_time,
        lsn=manifest.lsn,
        server_version=manifest.server_version,
        tool_version=manifest.tool_version,
        started=manifest.started,
        finished=manifest.finished,
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        chunks=sum(part.chunks for part in manifest.parts),
        recipients=manifest.recipients,
        key_source=key_source,
    )


def without(catalog: Catalog, exclusions: Sequence[Exclusion]) -> Catalog:
    """Return the catalogue without the rows and digests of the tables that are excluded."""
    names = {exclusion.what for exclusion in exclusions}
    digests = catalog.digests
    if digests is not None:
        kept = tuple(one for one in digests.tables if f"{one.schema}.{one.name}" not in names)
        digests = replace(digests, tables=kept)
    relations = tuple(one for one in catalog.relations if f"{one.schema}.{one.name}" not in names)
    return replace(catalog, relations=relations, digests=digests)


def in_force(exclusions: Sequence[Exclusion], at: datetime) -> tuple[Exclusion, ...]:
    """Return the exclusions that have not expired."""
    return tuple(one for one in exclusions if at < one.expires)


def past_runs(entries: Sequence[Entry], database: str) -> list[PastRun]:
    """Return the newest earlier tests of a database, oldest first, as the log tells of them."""
    ended = {EntryType.RESTORE_TEST_FINISHED, EntryType.RESTORE_TEST_ABORTED}
    runs = [
        PastRun(
            report_id=str(entry.details.get("report")),
            backup_id=str(entry.details.get("backup")),
            finished=entry.ts,
            verdict=str(entry.details.get("verdict")),
            level=-1 if (level := _integer(entry, "level")) is None else level,
            rto_ms=_integer(entry, "rto_ms"),
        )
        for entry in entries
        if entry.type in ended and entry.details.get("database") == database
    ]
    return runs[-_PAST_RUNS:]


def _objectives(around: Circumstances, record: Record, seen: Seen | None) -> Objectives:
    is_restored = seen is not None and seen.observed is not None
    return Objectives(
        rto_ms=record.rto_ms if is_restored else None,
        rto_target_ms=around.policy.rto_target_ms,
        rpo_ms=milliseconds(around.started - around.backup.snapshot_time),
        rpo_target_ms=around.policy.rpo_target_ms,
    )


def _judge_objectives(record: Record, times: Objectives, selection: Selection) -> None:
    if times.rto_target_ms is None:
        record.not_run("rto", "no rto_target is set")
    elif times.rto_ms is not None:
        _within(record, "rto", Code.RTO_EXCEEDED, times.rto_ms, times.rto_target_ms)
    if times.rpo_target_ms is None:
        record.not_run("rpo", "no rpo_target is set")
    elif selection.rule != "latest":
        record.not_run("rpo", "asked of the newest backup only")
    else:
        _within(record, "rpo", Code.RPO_EXCEEDED, times.rpo_ms, times.rpo_target_ms)


def _within(record: Record, id_: str, code: Code, found_ms: int, target_ms: int) -> None:
    finding = Finding(
        code=code, what=id_, expected=f"at most {target_ms} ms", observed=f"{found_ms} ms"
    )
    record.ran(id_, compared=1, findings=[finding] if found_ms > target_ms else [])


def _asked(policy: RestoreTestPolicy, selection: Selection, seen: Seen | None) -> Iterator[str]:
    """Yield the optional checks that this test has to have run."""
    if seen is not None and seen.expected.digests is not None:
        yield "digests"
    if policy.questions:
        yield "invariants"
    if policy.smoke_command:
        yield "smoke"
    if policy.rto_target_ms is not None:
        yield "rto"
    if policy.rpo_target_ms is not None and selection.rule == "latest":
        yield "rpo"


def _tables(seen: Seen | None) -> tuple[int, int]:
    """Return how many tables are in scope, and of how many it is known whether they are right.

    One that is not there at all is known to be wrong.
    """
    if seen is None:
        return 0, 0
    scope = sum(one.is_dumped and one.rows is not None for one in seen.expected.relations)
    if seen.observed is None:
        return scope, 0
    there = {(one.schema, one.name) for one in seen.observed.relations}
    tables = table_results(seen.expected, seen.observed)
    return scope, sum(one.is_compared or (one.schema, one.name) not in there for one in tables)


def _coverage(
    both: tuple[Catalog, Catalog] | None, scope: int, checks: Sequence[Check]
) -> Coverage:
    run = sum(check.status != "not_run" for check in checks)
    held = None if both is None else compared(*both)
    return Coverage(
        tables_in_scope=scope,
        tables_counted=held.tables_counted if held else 0,
        tables_digested=held.tables_digested if held else 0,
        rows_compared=held.rows_compared if held else 0,
        large_objects=held.large_objects if held else 0,
        schema_objects=held.schema_objects if held else 0,
        checks_run=run,
        checks_not_run=len(checks) - run,
    )


def _limits(
    policy: RestoreTestPolicy, exclusions: Sequence[Exclusion], seen: Seen | None
) -> Iterator[str]:
    yield from _LIMITS
    if seen is not None and seen.expected.digests is None:
        yield (
            "That values are equal: the source was not digested when this backup was taken, so"
            " rows were counted and their content was not compared."
        )
    if seen is not None and SUBSCRIPTIONS not in seen.expected.covers:
        yield _NO_SUBSCRIPTIONS
    if not policy.smoke_command:
        yield "That the application works on the restored data: it was not started."
    if exclusions:
        names = ", ".join(exclusion.what for exclusion in exclusions)
        yield f"Anything about the excluded tables: {names}."
    yield "That the clock of this host is right: it was not compared with another one."


def _is_empty(checks: Sequence[Check]) -> bool:
    return any(finding.code is Code.EMPTY_RESTORE for check in checks for finding in check.findings)


def _failed_before(around: Circumstances) -> Iterator[Finding]:
    """Yield the tests that answered this slot with FAIL: a second try does not undo a first."""
    if around.slot is None:
        return
    for entry in around.entries:
        if (
            entry.type is EntryType.RESTORE_TEST_FINISHED
            and entry.details.get("verdict") == Word.FAIL.value
            and entry.details.get("database") == around.backup.database
            and around.slot.details.items() <= entry.details.items()
        ):
            yield Finding(
                code=Code.RETRY_AFTER_FAIL,
                what=f"slot {around.slot.text}",
                expected="one test that passes",
                observed=f"report {entry.details.get('report')} says FAIL",
            )


def _times_begun(around: Circumstances) -> int:
    return sum(
        entry.type is EntryType.RESTORE_TEST_STARTED
        and entry.details.get("backup") == around.backup.backup_id
        for entry in around.entries
    )


def _integer(entry: Entry, name: str) -> int | None:
    value = entry.details.get(name)
    return value if isinstance(value, int) else None
