"""The first part of a restore test: what is stored, before anything is restored. Levels 0 to 2.

One damaged thing never hides the next, but nothing that was found damaged is restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import Identity
from backup.damaged import DamagedObjects
from backup.errors import (
    Flaw,
    IntegrityError,
    KeyUnavailableError,
    NotFoundError,
    StrongroomError,
)
from backup.evidence.log import TELLS_OF_A_BACKUP, Claim, StoredLog, check_log
from backup.evidence.verdict import Code, Finding, Word
from backup.journeys.origin import TOLERANCE, filed_twice, foreign
from backup.journeys.progress import Progress
from backup.journeys.testrecord import Record
from backup.journeys.threads import Running
from backup.journeys.verify import Verified, verify
from backup.repository.access import Repository, SignedManifest
from backup.repository.layout import BackupId, BackupKey
from backup.repository.manifest import Manifest

_OF_FLAW: dict[Flaw, tuple[str, Code]] = {
    "missing": ("objects", Code.OBJECT_MISSING),
    "truncated": ("ciphertext", Code.STREAM_TRUNCATED),
    "altered": ("ciphertext", Code.CIPHERTEXT_MISMATCH),
    "unauthentic": ("decryption", Code.AUTH_FAILED),
    "unsigned": ("signature", Code.SIGNATURE_INVALID),
    "misfiled": ("decryption", Code.LOG_INCONSISTENT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What this host believes: pinned signers, and what it has seen of the log before.

    `refusal` says why the log takes no more entries. `is_log_lost`: because it is gone with its
    repository, and what is read in its place is a copy that may be older.
    """

    allowed: AllowedSigners | None
    claims: tuple[Claim, ...] = ()
    refusal: str | None = None
    is_log_lost: bool = False


def read_manifest(
    repository: Repository,
    key: BackupKey,
    trust: Trust,
    log: StoredLog,
    record: Record,
    *,
    now: datetime,
) -> SignedManifest | None:
    """Ask what needs the manifest alone; None: it cannot be believed, and nothing else either."""
    try:
        signed = repository.manifest(key, trust.allowed)
    except (IntegrityError, NotFoundError) as error:
        record.is_stopped = True
        flaw = error.flaw if isinstance(error, IntegrityError) else "missing"
        # A manifest in no known form was not signed as one.
        id_, code = _OF_FLAW["unsigned" if flaw == "altered" else flaw]
        record.ran(id_, compared=1, findings=[Finding(code=code, what=error.message)])
        return None
    unpinned = Finding(code=Code.UNPINNED, what=f"signer {signed.signer.public_key.fingerprint}")
    is_pinned = signed.signer.principal is not None
    record.ran("signature", compared=1, findings=[] if is_pinned else [unpinned])
    twice = list(filed_twice(repository, signed.manifest))
    heard = list(_log(repository, signed, trust, log))
    record.ran("log", compared=len(log.lines), findings=heard + twice)
    # The times of a backup that was filed again are those of the other one.
    times = [] if twice else list(clock_findings(signed.manifest, now))
    record.ran("clock", compared=4, findings=times)
    return signed


def read_objects(
    repository: Repository,
    key: BackupKey,
    trust: Trust,
    identities: Sequence[Identity],
    record: Record,
    *,
    damaged: DamagedObjects | None,
    jobs: int,
    progress: Progress,
    running: Running,
) -> None:
    """Ask of every object whether it is there, is what was written, and opens."""
    try:
        found = verify(
            repository,
            [key],
            trust.allowed,
            identities=identities,
            damaged=damaged,
            jobs=jobs,
            progress=progress,
            running=running,
        )
    except KeyUnavailableError as error:
        record.is_stopped = True
        finding = Finding(code=Code.KEY_UNAVAILABLE, what="identity", observed=error.message)
        record.ran("decryption", compared=0, findings=[finding])
        return
    if found.damages:
        record.is_stopped = True
    by_check: dict[str, list[Finding]] = {"objects": [], "ciphertext": [], "decryption": []}
    for damage in found.damages:
        id_, code = (
            ("objects", Code.ENVIRONMENT_FAILURE) if damage.flaw is None else _OF_FLAW[damage.flaw]
        )
        by_check.setdefault(id_, []).append(Finding(code=code, what=damage.what))
    if any(damage.flaw == "misfiled" for damage in found.damages):
        record.not_run("clock", "the times are those of the backup that was filed again")
    if not found.damages:
        by_check["decryption"] += _foreign(repository, key, trust, identities, record)
    for id_, findings in by_check.items():
        record.ran(id_, compared=_looked_at(found, id_, by_check), findings=findings)


def _foreign(
    repository: Repository,
    key: BackupKey,
    trust: Trust,
    identities: Sequence[Identity],
    record: Record,
) -> list[Finding]:
    """Return what the archives say against what the manifest says; nothing of it is restored."""
    is_doubted = any(check.findings for check in record.checks if check.id == "clock")
    try:
        manifest = repository.manifest(key, trust.allowed).manifest
        findings = list(foreign(repository, manifest, identities, has_clock=not is_doubted))
    except StrongroomError as error:  # it was whole a moment ago
        findings = [finding_of(error, "backup")]
    is_wrong = any(finding.code.word is Word.FAIL for finding in findings)
    record.is_stopped = record.is_stopped or is_wrong
    return findings


def finding_of(error: StrongroomError, what: str) -> Finding:
    """Return what an error of reading says about the backup."""
    if isinstance(error, IntegrityError):
        return Finding(code=_OF_FLAW[error.flaw][1], what=what, observed=error.message)
    code = (
        Code.KEY_UNAVAILABLE if isinstance(error, KeyUnavailableError) else Code.ENVIRONMENT_FAILURE
    )
    return Finding(code=code, what=what, observed=error.message)


def clock_findings(manifest: Manifest, now: datetime) -> Iterator[Finding]:
    """Yield each two times that contradict each other."""
    times = [
        ("begun", BackupId(manifest.backup_id).started),
        ("started", manifest.started),
        ("snapshot", manifest.snapshot_time),
        ("finished", manifest.finished),
        ("tested", now),
    ]
    for (name, earlier), (other, later) in pairwise(times):
        if earlier > later + TOLERANCE:
            yield Finding(
                code=Code.CLOCK_SKEW,
                what=f"{other} before {name}",
                expected=f"{name} {earlier:%Y-%m-%dT%H:%M:%SZ} or later",
                observed=f"{other} {later:%Y-%m-%dT%H:%M:%SZ}",
            )


def _log(
    repository: Repository, signed: SignedManifest, trust: Trust, log: StoredLog
) -> Iterator[Finding]:
    """Yield what the evidence log, and the chain of manifests, say against this backup."""
    manifest = signed.manifest
    if trust.allowed is None:
        yield Finding(code=Code.UNPINNED, what="evidence log")
        return
    if trust.is_log_lost:
        yield Finding(code=Code.ENVIRONMENT_FAILURE, what="evidence log", observed=trust.refusal)
        if not log.lines:
            return
    claims = [] if trust.is_log_lost else list(trust.claims)
    if manifest.log is not None:
        claims.append(Claim(who=f"backup {manifest.backup_id}", head=manifest.log))
    wrong = check_log(
        log,
        repository_id=repository.id,
        keys=[signer.public_key for signer in trust.allowed.signers],
        claims=claims,
        is_at_rest=not trust.is_log_lost,
    )
    if trust.refusal is not None and not wrong and not trust.is_log_lost:
        wrong = (trust.refusal,)
    for sentence in wrong:
        yield Finding(code=Code.LOG_INCONSISTENT, what="evidence log", observed=sentence)
    if wrong:
        return
    told = {
        str(entry.details.get("manifest_sha256"))
        for entry in log.entries()
        if entry.type in TELLS_OF_A_BACKUP and entry.details.get("backup") == manifest.backup_id
    }
    if told != {signed.sha256} and (told or manifest.log is not None):
        yield Finding(
            code=Code.LOG_INCONSISTENT,
            what=f"backup {manifest.backup_id}",
            expected=", ".join(sorted(told)) or "an entry that says it was finished",
            observed=f"manifest SHA-256 {signed.sha256}",
        )
    yield from _previous(repository, manifest, trust)


def _previous(repository: Repository, manifest: Manifest, trust: Trust) -> Iterator[Finding]:
    """Yield the backup before this one, if it is there and not the one that the manifest names."""
    previous = manifest.previous
    if previous is None:
        return
    try:
        key = BackupKey(manifest.database, BackupId(previous.backup_id))
        found = repository.manifest(key, trust.allowed).sha256
    except NotFoundError:  # pruned
        return
    except StrongroomError as error:
        found = error.message
    if found != previous.manifest_sha256:
        yield Finding(
            code=Code.LOG_INCONSISTENT,
            what=f"backup {previous.backup_id}, the one before",
            expected=f"manifest SHA-256 {previous.manifest_sha256}",
            observed=found,
        )


def _looked_at(found: Verified, id_: str, by_check: dict[str, list[Finding]]) -> int:
    """Return how many objects a check looked at: those that the checks before it let through."""
    before = {"objects": (), "ciphertext": ("objects",), "decryption": ("objects", "ciphertext")}
    return max(0, found.objects - sum(len(by_check[one]) for one in before.get(id_, ())))
