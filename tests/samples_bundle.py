"""A small world of evidence in memory: a backup, a log, a bundle, a period; for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from backup.crypto.allowed_signers import AllowedSigner, AllowedSigners
from backup.crypto.sshkey import SigningKey
from backup.evidence.bundle import (
    MEMBERS,
    SUMS,
    SUMS_SIGNATURE,
    LogProofs,
    Seal,
    SignedManifestBytes,
    decode_zip,
    encode_bundle,
    encode_zip,
    seal_members,
)
from backup.evidence.entry import Detail, EntryType
from backup.evidence.log import Appended, EvidenceLog, StoredLog, read_log
from backup.evidence.proof import prove
from backup.evidence.report import REPORT_NAMESPACE, Report
from backup.repository.canonical import encode
from backup.repository.manifest import (
    MANIFEST_NAMESPACE,
    encode_manifest,
    sha256_hex,
    sign_manifest,
)
from backup.repository.stores.base import Store
from backup.repository.stores.memory import MemoryStore
from tests import samples_report
from tests.samples import KEY, MOMENT, REPOSITORY_ID, SIGNING_KEY, manifest

PRINCIPAL = "backup@host"
MANIFEST_BYTES = encode_manifest(manifest())


@dataclass
class Leaves:
    """What a host remembers of a log."""

    hashes: list[bytes] = field(default_factory=list)

    def add(self, leaf: bytes) -> None:
        """Remember one more."""
        self.hashes.append(leaf)

    @contextmanager
    def held(self) -> Iterator[Leaves]:
        """Nobody else is there."""
        yield self


@dataclass
class World:
    """A repository's log, and the key that signs everything in it."""

    store: Store = field(default_factory=MemoryStore)
    key: SigningKey = SIGNING_KEY
    log: EvidenceLog = field(init=False)
    now: datetime = MOMENT

    def __post_init__(self) -> None:
        self.log = EvidenceLog(self.store, REPOSITORY_ID, self.key, Leaves())
        self.append(EntryType.GENESIS, {})

    def append(self, type_: EntryType, details: dict[str, Detail]) -> Appended:
        """Append an entry, a minute after the one before."""
        self.now += timedelta(minutes=1)
        return self.log.append(type_, details, now=self.now)

    @property
    def stored(self) -> StoredLog:
        """The log as it lies there."""
        return read_log(self.store)

    def report(self, report: Report | None = None) -> Report:
        """A report of a test that has begun, about the backup whose manifest is here."""
        report = report or samples_report.passed()
        begun = self.append(EntryType.RESTORE_TEST_STARTED, {"backup": KEY.id.text})
        return replace(
            report,
            backup=replace(report.backup, manifest_sha256=sha256_hex(MANIFEST_BYTES)),
            log=begun.head,
            log_started_seq=begun.entry.seq,
            key_id=self.key.public_key.fingerprint,
        )

    def bundle(
        self, report: Report | None = None, *, has_log: bool = True, has_manifest: bool = True
    ) -> bytes:
        """The bundle of a report."""
        report = self.report() if report is None else report
        data = encode(report)
        proofs = None
        if has_log:
            ended = self.append(
                EntryType.RESTORE_TEST_FINISHED, {"report_sha256": sha256_hex(data)}
            )
            assert report.log_started_seq is not None
            proofs = LogProofs(
                started=prove(self.stored, REPOSITORY_ID, report.log_started_seq),
                finished=prove(self.stored, REPOSITORY_ID, ended.entry.seq),
            )
        signature = sign_manifest(MANIFEST_BYTES, self.key)
        backup = SignedManifestBytes(data=MANIFEST_BYTES, signature=signature, principal=PRINCIPAL)
        return encode_bundle(
            data, manifest=backup if has_manifest else None, log=proofs, seal=seal(self.key)
        )


def pins(key: SigningKey = SIGNING_KEY, namespaces: Sequence[str] = ()) -> AllowedSigners:
    """What an auditor has pinned."""
    return AllowedSigners(
        signers=(
            AllowedSigner(
                principals=(PRINCIPAL,),
                public_key=key.public_key,
                namespaces=tuple(namespaces) or (MANIFEST_NAMESPACE, REPORT_NAMESPACE),
            ),
        )
    )


def seal(key: SigningKey = SIGNING_KEY) -> Seal:
    """How a host signs."""
    return Seal(key=key, principal=PRINCIPAL, claimed_signers=pins(key).text)


def changed(bundle: bytes, members: dict[str, bytes | None]) -> bytes:
    """A bundle with other members, or without some; nothing is signed anew."""
    merged = {**decode_zip(bundle), **members}
    return encode_zip({name: data for name, data in merged.items() if data is not None}, MEMBERS)


def resealed(
    bundle: bytes, members: dict[str, bytes | None], key: SigningKey = SIGNING_KEY
) -> bytes:
    """A bundle with other members whose list is signed anew: somebody who holds a key did it."""
    merged = {**decode_zip(bundle), **members, SUMS: None, SUMS_SIGNATURE: None}
    left = {name: data for name, data in merged.items() if data is not None}
    return encode_zip(seal_members(left, key), MEMBERS)


def at(text: str) -> datetime:
    """A moment."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
