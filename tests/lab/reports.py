"""A repository whose backup was tested, and the host that reports on it; no server is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from backup import keyring
from backup.evidence.entry import EntryType
from backup.evidence.log import EvidenceLog
from backup.evidence.report import Report
from backup.journeys.reports import Published, publish
from backup.logmemory import open_log
from backup.repository.layout import BackupId
from backup.repository.manifest import encode_manifest, sha256_hex, sign_manifest
from tests import samples_report
from tests.lab.repositories import Host, LabRepository, lab_repository
from tests.samples import KEY, manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class LabReports:
    """Reports of one backup in a lab repository."""

    lab: LabRepository
    manifest_sha256: str

    @property
    def directory(self) -> Path:
        """Where the host keeps them."""
        return self.lab.state_directory / "reports"

    @property
    def log(self) -> EvidenceLog:
        """The log as the host appends to it."""
        key = self._keys.signing_key
        opened = self.lab.opened
        return open_log(opened.store, opened.id, key, self.lab.state_directory)

    @property
    def host(self) -> Host:
        """The same host, for `strongroom` as a process."""
        return Host(
            home=self.lab.state_directory.parent,
            environment={
                "STRONGROOM_STATE_DIRECTORY": str(self.lab.state_directory),
                "STRONGROOM_REPOSITORY": str(self.lab.directory),
            },
            has_settings=False,
        )

    def report(self, report: Report | None = None, number: int = 1) -> Report:
        """A report of a test that has begun."""
        report = report or samples_report.passed()
        begun = self.log.append(
            EntryType.RESTORE_TEST_STARTED,
            {"database": report.backup.database, "backup": KEY.id.text},
            now=datetime.now(UTC),
        )
        backup = replace(
            report.backup,
            manifest_sha256=self.manifest_sha256,
            repository_id=self.lab.opened.id,
            repository=self.lab.opened.store.address,
        )
        return replace(
            report,
            report_id=BackupId.new(samples_report.ENDED, number.to_bytes(3)).text,
            backup=backup,
            log=begun.head,
            log_started_seq=begun.entry.seq,
            key_id=self._keys.signing_key.public_key.fingerprint,
        )

    def publish(
        self,
        report: Report,
        *,
        has_log: bool = True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Published:
        """Publish a report as the restore-test journey does."""
        return publish(
            report,
            repository=self.lab.opened,
            keys=self._keys,
            allowed=self.lab.allowed,
            log=self.log if has_log else None,
            directory=self.directory,
            clock=clock,
        )

    @property
    def _keys(self) -> keyring.WritingKeys:
        return keyring.load_writing_keys(self.lab.keys_directory, None)


@contextmanager
def lab_reports() -> Iterator[LabReports]:
    """Yield a repository with the manifest of one backup, which nothing but reports refers to."""
    with lab_repository() as lab:
        keys = keyring.load_writing_keys(lab.keys_directory, None)
        data = encode_manifest(manifest(repository_id=lab.opened.id))
        lab.opened.store.put(KEY.manifest, data)
        lab.opened.store.put(KEY.signature, sign_manifest(data, keys.signing_key))
        yield LabReports(lab=lab, manifest_sha256=sha256_hex(data))
