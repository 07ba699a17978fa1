"""Reports of restore tests: published where people read them, and sealed where backups are.

    <reports directory>/<database>/<report id>.zip       plain: the firm, its auditors
    <repository>/reports/<database>/<report id>.zip.age  sealed: names of tables are in it

Evidence is never overwritten, and never pruned with the backups that it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup import files
from backup.crypto import age
from backup.crypto.allowed_signers import AllowedSigner, AllowedSigners
from backup.errors import (
    FULL_DISK_HINTS,
    IntegrityError,
    NotFoundError,
    ObjectExistsError,
    StoreError,
    StrongroomError,
)
from backup.evidence.bundle import (
    REPORT,
    LogProofs,
    Seal,
    SignedManifestBytes,
    decode_zip,
    encode_bundle,
)
from backup.evidence.entry import Detail, EntryType
from backup.evidence.log import Appended, EvidenceLog, StoredLog, read_log
from backup.evidence.proof import prove
from backup.evidence.render.index import Listed, render_index
from backup.evidence.report import REPORT_NAMESPACE, Report
from backup.evidence.slot import Slot, answering
from backup.repository.access import Repository
from backup.repository.canonical import decode, encode
from backup.repository.layout import BackupId, BackupKey, decode_name, encode_name
from backup.repository.manifest import sha256_hex, verify_manifest
from backup.repository.writing import WritingKeys

SEALED_PREFIX = "reports/"
_SUFFIX = ".zip"
_INDEX = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where a report lies now. `refusal`: the log could not be told; the report is kept anyway.

    `unsealed`: a sealed copy, of this report or an earlier one, could not be put where the backups
    are; the next report's publication tries again.
    """

    path: Path
    object_key: str
    report_sha256: str
    bundle_sha256: str
    refusal: StrongroomError | None
    unsealed: StrongroomError | None = None


def publish(
    report: Report,
    *,
    repository: Repository,
    keys: WritingKeys,
    allowed: AllowedSigners | None,
    log: EvidenceLog | None,
    directory: Path,
    clock: Callable[[], datetime],
    slot: Slot | None = None,
    known: StoredLog | None = None,
) -> Published:
    """Sign a report, enter it in the log, bundle it, and put the bundle in both places.

    Appends `restore_test.finished`, which names the report by its SHA-256, and, when everything is
    durable, `report.published`: the caller has appended `restore_test.started` under the number
    `report.log_started_seq` and appends nothing more. A log that refuses, or `log` None, leaves a
    bundle that says so, which can't be evidence of a PASS. `known` is what was read of the log
    before. Raises `StoreError` if the report can't be kept on this host; never overwrites.
    """
    data = encode(report)
    sha256 = sha256_hex(data)
    refusal: StrongroomError | None = None
    proofs = None
    if log is not None and report.log_started_seq is not None:
        try:
            ended = log.append(
                EntryType.RESTORE_TEST_FINISHED,
                {**finished_details(report, sha256), **answering(slot)},
                now=clock(),
            )
            proofs = _proofs(repository, report.log_started_seq, ended, known)
        except StrongroomError as error:
            refusal = error
    bundle = encode_bundle(
        data,
        manifest=_manifest(repository, report, allowed),
        log=proofs,
        seal=evidence_seal(keys, allowed, report.finished),
    )
    path = bundle_path(directory, report.backup.database, report.report_id)
    write_new(path, bundle)
    unsealed: StrongroomError | None = None
    heard = log if refusal is None else None
    for one, waiting in _unsealed(directory, repository):
        try:
            repository.store.put(one.object_key, age.seal(waiting, keys.recipients))
        except StrongroomError as error:
            unsealed = error
            break
        try:
            if heard is not None:
                heard.append(EntryType.REPORT_PUBLISHED, one.details, now=clock())
        except StrongroomError as error:
            heard, refusal = None, error
    write_index(directory)
    return Published(
        path=path,
        object_key=sealed_key(report.backup.database, report.report_id),
        report_sha256=sha256,
        bundle_sha256=sha256_hex(bundle),
        refusal=refusal,
        unsealed=unsealed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A report whose sealed copy is not where the backups are; what the log is told of it."""

    object_key: str
    details: dict[str, Detail]


def _unsealed(directory: Path, repository: Repository) -> Iterator[tuple[_Waiting, bytes]]:
    """Yield each report of a test here without a sealed copy here, oldest first.

    That of a test of a copy goes to that copy.
    """
    here = (repository.id, repository.store.address)
    try:
        sealed = set(repository.store.list(SEALED_PREFIX))
    except StrongroomError:  # putting one says so
        sealed = set()
    for path, name, report_id in sorted(_bundles(directory), key=lambda one: one[2]):
        object_key = sealed_key(name, report_id)
        if object_key in sealed:
            continue
        report = _read_stored(path, name, report_id).report
        if report is None or (report.backup.repository_id, report.backup.repository) != here:
            continue
        bundle = path.read_bytes()
        details: dict[str, Detail] = {
            "report": report_id,
            "database": report.backup.database,
            "backup": report.backup.backup_id,
            "report_sha256": sha256_hex(encode(report)),
            "bundle_sha256": sha256_hex(bundle),
        }
        yield _Waiting(object_key=object_key, details=details), bundle


def finished_details(report: Report, report_sha256: str) -> dict[str, Detail]:
    """Return the details of `restore_test.finished`: what a later report's history tells of it."""
    return {
        "report": report.report_id,
        "database": report.backup.database,
        "backup": report.backup.backup_id,
        "report_sha256": report_sha256,
        "verdict": report.verdict.sentence,
        "level": report.verdict.level,
        "seal": report.verdict.seal,
        "rto_ms": report.objectives.rto_ms,
        "started": report.log_started_seq,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """A bundle in the reports directory; `problem` says why it can't be read."""

    path: Path
    database: str
    report_id: str
    report: Report | None
    problem: str | None


def stored_reports(directory: Path, database: str | None = None) -> list[StoredReport]:
    """Return the reports there are, oldest first. They are read, not verified."""
    return sorted(
        (
            _read_stored(path, name, report_id)
            for path, name, report_id in _bundles(directory)
            if database in {None, name}
        ),
        key=lambda one: (one.report_id, one.database),
    )


def find_bundle(directory: Path, selector: str) -> bytes:
    """Return the bundle in a file, or under a report id. Raises `NotFoundError`."""
    path = Path(selector)
    if not path.is_file():
        found = [one for one, _, report_id in _bundles(directory) if report_id == selector]
        if len(found) != 1:
            raise NotFoundError(
                f"there is no report {selector!r} in {directory}, and no such file",
                hint="`strongroom report list` shows the ids",
            )
        path = found[0]
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"reading {path}: {error.strerror or error}") from error


def bundle_path(directory: Path, database: str, report_id: str) -> Path:
    """Return where a bundle lies; neither part can lead anywhere else."""
    return directory / encode_name(database) / f"{BackupId(report_id)}{_SUFFIX}"


def sealed_key(database: str, report_id: str) -> str:
    """Return the key of the sealed copy in the repository."""
    return f"{SEALED_PREFIX}{encode_name(database)}/{BackupId(report_id)}{_SUFFIX}.age"


def write_index(directory: Path) -> Path:
    """Write `index.html` anew from the reports there are; it is no evidence, only a way to it."""
    rows = [
        Listed(
            address=str(one.path.relative_to(directory)),
            database=one.database,
            report_id=one.report_id,
            report=one.report,
            problem=one.problem,
        )
        for one in stored_reports(directory)
    ]
    path = directory / _INDEX
    with _writing(path):
        files.write_over(path, render_index(rows))
    return path


def write_new(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; durable on return. Raises `ObjectExistsError`."""
    with _writing(path):
        files.write_new(path, data)


def put_in_place(unfinished: Path, directory: Path) -> None:
    """Give a whole directory its name, which none that holds anything has; durable on return."""
    try:
        files.move_over(unfinished, directory)
    except OSError as error:
        raise StoreError(f"writing {directory}: {error.strerror or error}") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise ObjectExistsError(f"{path} exists already and was left as it is") from error
    except OSError as error:
        raise StoreError(
            f"writing {path}: {error.strerror or error}",
            hint=FULL_DISK_HINTS.get(error.errno or 0, "choose it with --reports-directory"),
        ) from error


def _bundles(directory: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield each bundle, the name that it is filed under, and its report id."""
    for path in sorted(directory.glob(f"*/*{_SUFFIX}")):
        try:
            yield path, decode_name(path.parent.name), BackupId(path.stem).text
        except (ValueError, StrongroomError):
            continue


def _read_stored(path: Path, database: str, report_id: str) -> StoredReport:
    report, problem = None, None
    try:
        report = decode(Report, decode_zip(path.read_bytes()).get(REPORT, b""), REPORT)
        if (report.backup.database, report.report_id) != (database, report_id):
            raise IntegrityError("it is the report of another test than its name says")
    except IntegrityError as error:
        report, problem = None, error.message
    except OSError as error:
        problem = error.strerror or str(error)
    return StoredReport(
        path=path, database=database, report_id=report_id, report=report, problem=problem
    )


def _manifest(
    repository: Repository, report: Report, allowed: AllowedSigners | None
) -> SignedManifestBytes | None:
    """Return the tested backup's manifest as stored; None unless it is the one, and signed."""
    key = BackupKey(report.backup.database, BackupId(report.backup.backup_id))
    try:
        data = repository.store.get(key.manifest)
        signature = repository.store.get(key.signature)
        signer = verify_manifest(data, signature, allowed, at=key.id.started)
    except (NotFoundError, IntegrityError):
        return None
    if sha256_hex(data) != report.backup.manifest_sha256:
        return None
    principal = (signer.principal or "unpinned").split(",")[0]
    return SignedManifestBytes(data=data, signature=signature, principal=principal)


def _proofs(
    repository: Repository, started: int, ended: Appended, known: StoredLog | None
) -> LogProofs:
    stored = read_log(repository.store, known)
    return LogProofs(
        started=prove(stored, repository.id, started),
        finished=prove(stored, repository.id, ended.entry.seq),
    )


def evidence_seal(keys: WritingKeys, allowed: AllowedSigners | None, at: datetime) -> Seal:
    """Return how this host signs evidence: under the name that its own pins have for the key."""
    public_key = keys.signing_key.public_key
    claim = AllowedSigner(
        principals=(public_key.comment.split(" ")[0] or "strongroom",),
        public_key=public_key,
        namespaces=(REPORT_NAMESPACE,),
    )
    pins = allowed or AllowedSigners(signers=(claim,))
    known = pins.principal_of(public_key, namespace=REPORT_NAMESPACE, now=at)
    return Seal(
        key=keys.signing_key,
        principal=(known or claim.principal).split(",")[0],
        claimed_signers=pins.text,
    )
