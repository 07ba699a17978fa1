"""`restore-test`: is this backup a backup? Restored, compared, judged, and written down for good.

gather: the backup by a rule that is logged before anything runs; its manifest, objects, log
act:    restored into a scratch cluster by the function that people use, compared, asked, destroyed
report: a verdict, signed, in the evidence log, published

Whatever is found, there is a report. Interrupted, the log says that the test was aborted; killed,
the next test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from backup.crypto.recipients import KeyPair
from backup.damaged import DamagedObjects
from backup.errors import IntegrityError, NotFoundError, StrongroomError
from backup.evidence.controls import load_framework
from backup.evidence.entry import Detail, Entry, EntryType
from backup.evidence.log import EvidenceLog, StoredLog, read_log
from backup.evidence.report import Report, Selection, TestedBackup
from backup.evidence.selection import Choice, choose
from backup.evidence.slot import Slot, answering
from backup.evidence.verdict import Code, Finding, Word
from backup.holders import Holders
from backup.journeys.archives import open_backup
from backup.journeys.demand import NO_DEMAND, Demand, hold_against
from backup.journeys.progress import Progress
from backup.journeys.reports import Published, publish
from backup.journeys.scratchlook import Seen, Workshop
from backup.journeys.scratchtest import restore_and_look
from backup.journeys.stored import Trust, finding_of, read_manifest, read_objects
from backup.journeys.testrecord import Record
from backup.journeys.testreport import Circumstances, compose, in_force, tested_backup, without
from backup.journeys.threads import Running, to_end
from backup.leases import reading
from backup.lock import exclusive
from backup.repository.access import Repository, SignedManifest
from backup.repository.layout import BackupId, BackupKey
from backup.repository.writing import WritingKeys
from backup.testpolicy import RestoreTestPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Who tests: what it reads with, what it signs with, what it asks, where it works.

    `log` None: it is lost, with the repository whose copy is tested. `escrow` is the fingerprint
    of the recipient whose identity has to do it alone. `policy_now` is asked at the end what the
    settings say then; None: they can't be read.
    """

    repository: Repository
    trust: Trust
    identities: tuple[KeyPair, ...]
    key_source: str
    keys: WritingKeys
    log: EvidenceLog | None
    policy: RestoreTestPolicy
    workshop: Workshop
    state_directory: Path
    reports_directory: Path
    version: str
    demand: Demand = NO_DEMAND
    escrow: str | None = None
    policy_now: Callable[[], RestoreTestPolicy | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """A test that came to its end, whatever it found; its report is published."""

    report: Report
    published: Published


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A test that is under way, and the log as it was before."""

    key: BackupKey
    around: Circumstances
    trust: Trust
    log: StoredLog
    is_logged: bool


async def restore_test(
    examiner: Examiner,
    choice: Choice,
    *,
    database: str | None = None,
    clock: Callable[[], datetime],
    random: Callable[[int], bytes],
    progress: Progress,
    slot: Slot | None = None,
) -> Concluded:
    """Test one backup. Raises only what keeps a test from starting, or a report from lasting.

    `slot` is what the run answers; None: a person started it.
    On any exception nothing is left but what the log says of it.
    """
    lock = examiner.state_directory / "locks" / f"restore-test-{examiner.repository.id}.lock"
    with exclusive(lock, "testing a restore"):
        made: list[_Begun] = []  # also if the run is cancelled while this is logged
        try:
            await to_end(
                lambda: made.append(_begin(examiner, choice, database, clock, random, slot=slot))
            )
            begun = made[0]
            record = Record(clock)
            with reading(
                examiner.repository.store,
                "restore-test",
                [begun.key],
                clock=clock,
                holders=Holders(examiner.state_directory),
            ):
                signed, seen = await _examine(examiner, begun, record, clock, progress)
            around = replace(
                begun.around,
                backup=_tested(examiner, begun.key, signed),
                doubts=tuple(doubts(examiner)),
            )
            report = compose(around, record, seen, clock())
            published = await to_end(partial(_publish, examiner, begun, report, clock))
        except BaseException as error:
            for one in made:
                await to_end(partial(_abort, examiner, one, error, clock))
            raise
    return Concluded(report=report, published=published)


async def _examine(
    examiner: Examiner,
    begun: _Begun,
    record: Record,
    clock: Callable[[], datetime],
    progress: Progress,
) -> tuple[SignedManifest | None, Seen | None]:
    """Look at what is stored; if nothing is wrong with that, restore it and look again."""
    repository, started = examiner.repository, begun.around.started
    reading_objects = Running()
    with record.phase("verify"):
        signed = await to_end(
            partial(
                read_manifest,
                repository,
                begun.key,
                begun.trust,
                begun.log,
                record,
                now=started,
            )
        )
        if signed is None:
            return None, None
        await to_end(
            partial(
                hold_against,
                repository,
                signed,
                examiner.demand,
                record,
                now=started,
                jobs=examiner.workshop.jobs,
            )
        )
        # Backups refer to what is in the repository itself, not to what is in a copy of it.
        is_copy = examiner.demand.copy is not None
        damaged = None if is_copy else DamagedObjects(examiner.state_directory, repository.id)
        await to_end(
            partial(
                read_objects,
                repository,
                begun.key,
                begun.trust,
                examiner.identities,
                record,
                damaged=damaged,
                jobs=examiner.workshop.jobs,
                progress=progress,
                running=reading_objects,
            ),
            stop=reading_objects.end,
        )
    if record.is_stopped:
        return signed, None
    try:
        backup = await to_end(
            partial(open_backup, repository, begun.key, begun.trust.allowed, examiner.identities)
        )
    except StrongroomError as error:  # it was whole a moment ago
        record.is_stopped = True
        record.ran("objects", compared=0, findings=[finding_of(error, "backup")])
        return signed, None
    expected = without(backup.catalog, in_force(examiner.policy.exclusions, started))
    seen = await restore_and_look(
        backup,
        expected,
        examiner.policy,
        examiner.workshop,
        record,
        clock=clock,
        progress=progress,
    )
    return signed, seen


def doubts(examiner: Examiner) -> Iterator[Finding]:
    """Yield what makes a test prove less than it was to prove, whatever it found."""
    held = {one.recipient.fingerprint for one in examiner.identities}
    if examiner.escrow is not None and held != {examiner.escrow}:
        yield Finding(
            code=Code.HOT_KEY_ONLY,
            what="identity",
            expected=f"that of recipient {examiner.escrow} alone",
            observed=", ".join(sorted(held)),
        )
    if examiner.policy_now is not None:
        now = examiner.policy_now()
        if now is None or now.sha256 != examiner.policy.sha256:
            yield Finding(
                code=Code.POLICY_CHANGED_MID_RUN,
                what="settings",
                expected=f"policy {examiner.policy.sha256}",
                observed="settings that can't be read" if now is None else f"policy {now.sha256}",
            )


def _begin(
    examiner: Examiner,
    choice: Choice,
    database: str | None,
    clock: Callable[[], datetime],
    random: Callable[[int], bytes],
    *,
    slot: Slot | None,
) -> _Begun:
    """Choose, and log the choice before anything is read of it."""
    repository = examiner.repository
    started = clock()
    key, selection = chosen(repository, choice, database)
    report_id = BackupId.new(started, random(3)).text
    before = read_log(repository.store)
    trust, begun = examiner.trust, None
    details: dict[str, Detail] = {
        "report": report_id,
        "database": key.database,
        "backup": key.id.text,
        "rule": selection.rule,
        "seed": selection.seed,
        "population": selection.population,
        "position": selection.position,
        "policy_sha256": examiner.policy.sha256,
        "host": examiner.workshop.host,
        **answering(slot),
    }
    try:
        if examiner.log is not None:
            _bury(examiner, examiner.log, before, clock)
            begun = examiner.log.append(EntryType.RESTORE_TEST_STARTED, details, now=started)
    except IntegrityError as error:
        # It is a finding, and the backup is worth knowing about all the same.
        trust = replace(trust, refusal=error.message)
    return _Begun(
        key=key,
        around=Circumstances(
            report_id=report_id,
            version=examiner.version,
            started=started,
            slot=slot,
            selection=selection,
            backup=_tested(examiner, key, None),
            policy=examiner.policy,
            frameworks=tuple(map(load_framework, examiner.policy.frameworks)),
            entries=_entries(before),
            log=None if begun is None else begun.head,
            log_started_seq=None if begun is None else begun.entry.seq,
            key_id=examiner.keys.signing_key.public_key.fingerprint,
            demanded=examiner.demand.asked,
        ),
        trust=trust,
        log=before if begun is None else read_log(repository.store, before),
        is_logged=begun is not None,
    )


def chosen(
    repository: Repository, choice: Choice, database: str | None
) -> tuple[BackupKey, Selection]:
    """Return the backup that a test would take now. Raises `NotFoundError`."""
    return choose(_population(repository, database, choice), choice)


def _population(
    repository: Repository, database: str | None, choice: Choice
) -> Sequence[BackupKey]:
    """Return the backups of one database: the one that is meant, if none is named."""
    backups = repository.backups(database)
    names = {key.database for key in backups if choice.backup_id in {None, key.id.text}}
    if len(names) > 1:
        raise NotFoundError(
            f"a backup of which database? There are those of {', '.join(sorted(names))}",
            hint="add --database NAME",
        )
    return [key for key in backups if key.database in names]


def _bury(
    examiner: Examiner, log: EvidenceLog, before: StoredLog, clock: Callable[[], datetime]
) -> None:
    """Log the end of tests of this host that have none: who holds the lock knows of no other."""
    entries = _entries(before)
    ended = {
        entry.details.get("report")
        for entry in entries
        if entry.type in {EntryType.RESTORE_TEST_FINISHED, EntryType.RESTORE_TEST_ABORTED}
    }
    for entry in entries:
        if (
            entry.type is EntryType.RESTORE_TEST_STARTED
            and entry.details.get("host") == examiner.workshop.host
            and entry.details.get("report") not in ended
        ):
            log.append(
                EntryType.RESTORE_TEST_ABORTED,
                _ending(entry.details, Word.FAIL, Code.ABANDONED, entry.seq),
                now=clock(),
            )


def _abort(
    examiner: Examiner, begun: _Begun, error: BaseException, clock: Callable[[], datetime]
) -> None:
    """Log that there is no result, if it can be logged."""
    around = begun.around
    details: dict[str, Detail] = {
        "report": around.report_id,
        "database": begun.key.database,
        "backup": begun.key.id.text,
        **answering(around.slot),
    }
    ending = _ending(details, Word.INCONCLUSIVE, Code.ENVIRONMENT_FAILURE, around.log_started_seq)
    try:
        if begun.is_logged and examiner.log is not None:
            examiner.log.append(
                EntryType.RESTORE_TEST_ABORTED,
                {**ending, "error": type(error).__name__},
                now=clock(),
            )
    except StrongroomError as unheard:
        error.add_note(f"and the evidence log could not be told: {unheard.message}")


def _ending(
    details: dict[str, Detail], word: Word, code: Code, started: int | None
) -> dict[str, Detail]:
    return {
        **{name: details.get(name) for name in ("report", "database", "backup")},
        **{name: details[name] for name in ("job", "slot") if name in details},
        "verdict": word.value,
        "codes": code.value,
        "level": -1,
        "started": started,
    }


def _publish(
    examiner: Examiner, begun: _Begun, report: Report, clock: Callable[[], datetime]
) -> Published:
    return publish(
        report,
        repository=examiner.repository,
        keys=examiner.keys,
        allowed=begun.trust.allowed,
        log=examiner.log if begun.is_logged else None,
        known=begun.log,
        slot=begun.around.slot,
        directory=examiner.reports_directory,
        clock=clock,
    )


def _tested(examiner: Examiner, key: BackupKey, signed: SignedManifest | None) -> TestedBackup:
    return tested_backup(
        key,
        signed,
        repository_id=examiner.repository.id,
        repository=examiner.repository.store.address,
        key_source=examiner.key_source,
    )


def _entries(log: StoredLog) -> tuple[Entry, ...]:
    """Return the entries that can be read; what cannot is the business of the check `log`."""
    try:
        return tuple(log.entries())
    except IntegrityError:
        return ()
