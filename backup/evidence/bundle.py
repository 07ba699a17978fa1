"""The evidence bundle: a `.zip` that an auditor verifies offline, with tools of his own. Pure.

Every member but two is in `MANIFEST.sha256`; the two are that list and its signature. Nothing in
a bundle says whose key counts: that is what the auditor brings.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from backup.crypto.sshkey import SigningKey
from backup.crypto.sshsig import sign
from backup.errors import IntegrityError
from backup.evidence.proof import InclusionProof, encode_proof
from backup.evidence.render.html import render_report, text_page
from backup.evidence.render.tables import render_tables
from backup.evidence.report import REPORT_NAMESPACE, Report
from backup.repository.canonical import decode
from backup.repository.layout import BackupId
from backup.repository.manifest import MANIFEST_NAMESPACE, sha256_hex

REPORT = "report.json"
REPORT_SIGNATURE = "report.json.sig"
PAGE = "report.html"
TABLES = "tables.csv"
BACKUP_MANIFEST = "manifest.json"
BACKUP_SIGNATURE = "manifest.json.sig"
STARTED = "log-started.json"
FINISHED = "log-finished.json"
CHECKPOINT = "checkpoint.note"
CLAIMED = "claimed_signers"
VERIFIER = "verify.py"
READ_ME = "READ-ME-FIRST.txt"
SUMS = "MANIFEST.sha256"
SUMS_SIGNATURE = "MANIFEST.sha256.sig"

# In the order in which they lie in the file.
MEMBERS = (
    READ_ME, SUMS, SUMS_SIGNATURE, REPORT, REPORT_SIGNATURE, PAGE, TABLES, BACKUP_MANIFEST,
    BACKUP_SIGNATURE, STARTED, FINISHED, CHECKPOINT, CLAIMED, VERIFIER,
)  # fmt: skip
ALWAYS = frozenset(MEMBERS) - {
    BACKUP_MANIFEST, BACKUP_SIGNATURE, STARTED, FINISHED, CHECKPOINT,
}  # fmt: skip

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can tell
_MODE = 0o100644 << 16
_UNIX = 3
_MAXIMUM_BYTES = 512 * 1024 * 1024
_CLAIMED = (
    "# What the bundle claims of the keys that signed it. Not to be trusted: compare with the\n"
    "# allowed_signers that you got from the firm by another way.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedManifestBytes:
    """The manifest of the tested backup and its signature, as they are stored, and whose it is."""

    data: bytes
    signature: bytes
    principal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProofs:
    """That the test's beginning and its end are in the log, both under one checkpoint."""

    started: InclusionProof
    finished: InclusionProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The key that signs evidence, and the names under which the firm's pins know keys.

    `claimed_signers` are lines of an `allowed_signers` file, for a reader to compare with his own.
    """

    key: SigningKey
    principal: str
    claimed_signers: str


def encode_bundle(
    report: bytes,
    *,
    manifest: SignedManifestBytes | None,
    log: LogProofs | None,
    seal: Seal,
) -> bytes:
    """Return the bundle of a report; the same values give the same bytes.

    Without a manifest or a log the bundle says so, and can't be evidence of a PASS.
    """
    value = decode(Report, report, REPORT)
    members = {
        REPORT: report,
        REPORT_SIGNATURE: sign_evidence(report, seal.key),
        PAGE: render_report(report),
        TABLES: render_tables(value),
        CLAIMED: claimed(seal),
        VERIFIER: stock_verifier(),
    }
    if manifest is not None:
        members |= {BACKUP_MANIFEST: manifest.data, BACKUP_SIGNATURE: manifest.signature}
    if log is not None:
        members |= {
            STARTED: encode_proof(log.started),
            FINISHED: encode_proof(log.finished),
            CHECKPOINT: log.finished.checkpoint.encode(),
        }
    members[READ_ME] = text_page(
        "read-me-first.txt",
        report=value,
        principal=seal.principal,
        key_text=seal.key.public_key.key_text.split()[1],
        manifest=manifest,
        time=f"{value.finished:%Y%m%d%H%M%SZ}",
        backup_time=f"{BackupId(value.backup.backup_id).started:%Y%m%d%H%M%SZ}",
        has_log=log is not None,
        namespace=REPORT_NAMESPACE,
        manifest_namespace=MANIFEST_NAMESPACE,
    )
    return encode_zip(seal_members(members, seal.key), MEMBERS)


def seal_members(members: Mapping[str, bytes], key: SigningKey) -> dict[str, bytes]:
    """Return the members, the list of their sums as `sha256sum` writes it, and its signature."""
    sums = "".join(f"{sha256_hex(members[name])}  {name}\n" for name in sorted(members)).encode()
    return {**members, SUMS: sums, SUMS_SIGNATURE: sign_evidence(sums, key)}


def claimed(seal: Seal) -> bytes:
    """Return `claimed_signers`, which begins by saying what it is worth."""
    return (_CLAIMED + seal.claimed_signers).encode()


def sign_evidence(data: bytes, key: SigningKey) -> bytes:
    """Return the signature that `ssh-keygen -Y verify -n strongroom-evidence@v1` checks."""
    return sign(data, key, REPORT_NAMESPACE).encode("ascii")


def stock_verifier(name: str = VERIFIER) -> bytes:
    """Return `verify.py`: the standard library, `ssh-keygen` and `openssl`, nothing of ours."""
    return (files("backup.evidence.render") / "templates" / f"{name}.txt").read_bytes()


def encode_zip(members: Mapping[str, bytes], order: Sequence[str]) -> bytes:
    """Return a zip file of the members in this order, without a time or a name of this host."""
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in order:
            if name not in members:
                continue
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = _UNIX
            info.external_attr = _MODE
            archive.writestr(info, members[name])
    return text.getvalue()


def decode_zip(data: bytes) -> dict[str, bytes]:
    """Return the members of a bundle by name. Raises `IntegrityError`.

    Only what a bundle may hold is read: no other name, none twice, nothing that unpacks beyond
    reason.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos]
            strange = sorted(set(names) - set(MEMBERS))
            if strange or len(set(names)) != len(names):
                what = f"{strange[0]!r}" if strange else "a name twice"
                raise IntegrityError(f"the bundle holds {what}")
            if sum(info.file_size for info in infos) > _MAXIMUM_BYTES:
                raise IntegrityError("the bundle unpacks to more than a report can be")
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OSError) as error:
        raise IntegrityError(f"the bundle is no whole zip file: {error}") from error
    except (NotImplementedError, RuntimeError) as error:
        raise IntegrityError(f"the bundle is packed in another way: {error}") from error
