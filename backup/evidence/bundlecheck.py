"""Is an evidence bundle what a pinned key signed, and does all that is in it agree? Pure.

The second reader of a bundle beside its own `verify.py`; the two share nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.sshkey import PublicKey
from backup.crypto.sshsig import Signer, verify
from backup.errors import IntegrityError, SettingsError
from backup.evidence.bundle import (
    ALWAYS,
    BACKUP_MANIFEST,
    BACKUP_SIGNATURE,
    CHECKPOINT,
    FINISHED,
    PAGE,
    REPORT,
    STARTED,
    SUMS,
    SUMS_SIGNATURE,
    TABLES,
    decode_zip,
)
from backup.evidence.entry import Entry, EntryType
from backup.evidence.proof import decode_proof, verify_proof
from backup.evidence.render.html import render_report
from backup.evidence.render.tables import render_tables
from backup.evidence.report import REPORT_NAMESPACE, Report
from backup.evidence.verdict import Word
from backup.repository.canonical import decode
from backup.repository.layout import BackupId, BackupKey
from backup.repository.manifest import decode_manifest, sha256_hex, verify_manifest

_PAIRS = ({BACKUP_MANIFEST, BACKUP_SIGNATURE}, {STARTED, FINISHED, CHECKPOINT})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBundle:
    """Everything that is wrong with a bundle, a sentence each, and what it holds.

    `signer` is None if the signature is not whole; its principal is None if nothing was pinned.
    """

    report: Report
    signer: Signer | None
    wrong: tuple[str, ...]

    @property
    def is_pinned(self) -> bool:
        """Whether somebody that the reader knows signed it."""
        return self.signer is not None and self.signer.principal is not None


def check_bundle(data: bytes, allowed: AllowedSigners | None) -> CheckedBundle:
    """Return what a bundle holds and everything that is wrong with it.

    `allowed` None: signatures only have to be whole, and the signer comes back unpinned. Raises
    `IntegrityError` for what is no bundle at all: there would be nothing to return.
    """
    members = decode_zip(data)
    if REPORT not in members:
        raise IntegrityError(f"the bundle holds no {REPORT}")
    report = decode(Report, members[REPORT], REPORT)
    wrong: list[str] = [*wrong_sums(members, ALWAYS)]
    wrong += [
        f"some of {', '.join(sorted(pair))} are missing"
        for pair in _PAIRS
        if pair & members.keys() and not pair <= members.keys()
    ]
    signer = None
    for name in (REPORT, SUMS):
        with _noting(wrong):
            signer = _signer(members, name, allowed, at=report.finished)
    if signer is not None and report.key_id not in {None, signer.public_key.fingerprint}:
        wrong.append("report.json names another key than the one that signed")
    keys = [one.public_key for one in (allowed.signers if allowed else ())]
    if allowed is None and signer is not None:
        keys = [signer.public_key]
    with _noting(wrong):
        _check_backup(members, report, allowed)
    with _noting(wrong):
        _check_log(members, report, keys)
    if members.get(TABLES) != render_tables(report):
        wrong.append("tables.csv does not say what report.json says")
    return CheckedBundle(report=report, signer=signer, wrong=tuple(wrong))


@contextmanager
def _noting(wrong: list[str]) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        wrong.append(error.message)


def is_rendering(data: bytes) -> bool:
    """Whether page and table of a bundle are what this version makes of its `report.json`."""
    members = decode_zip(data)
    if REPORT not in members:
        raise IntegrityError(f"the bundle holds no {REPORT}")
    report = decode(Report, members[REPORT], REPORT)
    return members.get(PAGE) == render_report(members[REPORT]) and members.get(
        TABLES
    ) == render_tables(report)


def wrong_sums(members: Mapping[str, bytes], always: Collection[str]) -> Iterator[str]:
    """Yield where the files are not those of the list of sums; `always` are those that must be."""
    listed: dict[str, str] = {}
    for line in members.get(SUMS, b"").decode("ascii", "replace").splitlines():
        digest, _, name = line.partition("  ")
        if name in listed:
            yield f"{SUMS} lists {name} twice"
        listed[name] = digest
    for name in sorted(listed.keys() | set(always) - {SUMS, SUMS_SIGNATURE}):
        if name not in members:
            yield f"{name} is missing"
        elif name in listed and sha256_hex(members[name]) != listed[name]:
            yield f"{name} is not the file that was listed"
    for name in sorted(members.keys() - listed.keys() - {SUMS, SUMS_SIGNATURE}):
        yield f"{name} is not listed in {SUMS}"


def _signer(
    members: Mapping[str, bytes], name: str, allowed: AllowedSigners | None, *, at: datetime
) -> Signer:
    signature = members.get(f"{name}.sig")
    if signature is None or name not in members:
        raise IntegrityError(f"{name} is not signed")
    text = signature.decode("ascii", "replace")
    try:
        return verify(members[name], text, REPORT_NAMESPACE, allowed, now=at)
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error.message}") from error


def _check_backup(
    members: Mapping[str, bytes], report: Report, allowed: AllowedSigners | None
) -> None:
    """Raise `IntegrityError` unless the manifest is the one of the backup that was tested."""
    if not {BACKUP_MANIFEST, BACKUP_SIGNATURE} <= members.keys():
        if report.verdict.word is Word.PASS:
            raise IntegrityError("a PASS needs the manifest of its backup, and it is not there")
        return
    data, tested = members[BACKUP_MANIFEST], report.backup
    if sha256_hex(data) != tested.manifest_sha256:
        raise IntegrityError(f"{BACKUP_MANIFEST} is not the one that the report names")
    try:
        key = BackupKey(tested.database, BackupId(tested.backup_id))
    except SettingsError as error:
        raise IntegrityError(error.message) from error
    verify_manifest(data, members[BACKUP_SIGNATURE], allowed, at=key.id.started)
    decode_manifest(data, key, tested.repository_id)


def _check_log(members: Mapping[str, bytes], report: Report, keys: list[PublicKey]) -> None:
    """Raise `IntegrityError` unless the log has the test, and names this very report."""
    if not {STARTED, FINISHED, CHECKPOINT} <= members.keys():
        if report.verdict.word is Word.PASS:
            raise IntegrityError("a PASS must be in the evidence log, and the proof is not there")
        return
    started = _entry(members, STARTED, report, keys)
    finished = _entry(members, FINISHED, report, keys)
    if started.type is not EntryType.RESTORE_TEST_STARTED or started.seq != report.log_started_seq:
        raise IntegrityError(f"{STARTED} is not the entry that the report names")
    if finished.type is not EntryType.RESTORE_TEST_FINISHED or finished.seq <= started.seq:
        raise IntegrityError(f"{FINISHED} is not the entry of a test that ended")
    if finished.details.get("report_sha256") != sha256_hex(members[REPORT]):
        raise IntegrityError("the evidence log names another report.json")


def _entry(members: Mapping[str, bytes], name: str, report: Report, keys: list[PublicKey]) -> Entry:
    proof = decode_proof(members[name], name)
    if proof.repository_id != report.backup.repository_id:
        raise IntegrityError(f"{name} is of the log of another repository")
    if proof.checkpoint.encode() != members[CHECKPOINT]:
        raise IntegrityError(f"{name} was proven under another checkpoint")
    entry, _ = verify_proof(proof, keys)
    return entry
