"""Restore tests by the real journey, and backups that are not what their reference says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup import keyring, logmemory
from backup.crypto.recipients import KeyPair
from backup.evidence.entry import EntryType
from backup.evidence.log import Claim, EvidenceLog
from backup.evidence.report import Report
from backup.evidence.selection import Choice
from backup.evidence.slot import Slot
from backup.journeys.create import Created
from backup.journeys.progress import Progress, Silent
from backup.journeys.restoretest import Concluded, Examiner, restore_test
from backup.journeys.scratchlook import Workshop
from backup.journeys.stored import Trust
from backup.postgres.dsn import Dsn
from backup.postgres.snapshot import hold_snapshot
from backup.repository.access import Repository
from backup.repository.catalog import Catalog
from backup.repository.chunking import DEFAULT_CHUNK_SIZES
from backup.repository.known import KnownChunks
from backup.repository.layout import BackupId, BackupKey
from backup.repository.manifest import Manifest, StoredPart
from backup.repository.stores.local import LocalStore
from backup.repository.writing import BackupWriter
from backup.testpolicy import RestoreTestPolicy
from tests.lab.repositories import LabRepository

SALT = bytes(range(32))
HOST = "lab"


def reference(dsn: Dsn) -> Catalog:
    """What a backup of the database would say of it now, its content digested."""

    async def read() -> Catalog:
        async with hold_snapshot(dsn, application_name="strongroom test") as snapshot:
            return await snapshot.catalog(jobs=2, digest_salt=SALT)

    return asyncio.run(read())


def open_log(repository: LabRepository) -> EvidenceLog:
    """The evidence log, as the host that writes the repository appends to it."""
    keys = keyring.load_writing_keys(repository.keys_directory, None)
    return logmemory.open_log(
        repository.opened.store,
        repository.opened.id,
        keys.signing_key,
        repository.state_directory,
    )


def filed_again(
    repository: LabRepository,
    made: Created,
    *,
    catalog: Catalog | None = None,
    change: Callable[[Manifest], Manifest] = lambda manifest: manifest,
    parts: dict[str, bytes] | None = None,
    lists: dict[str, tuple[StoredPart, bytes]] | None = None,
    is_logged: bool = True,
    is_copied: bool = False,
    database: str | None = None,
    later: timedelta = timedelta(),
) -> str:
    """File a backup under a new id, as a host would that holds the keys; return the id.

    With another private half, archives of other content (`parts`), other chunk lists, or
    another manifest: everything is signed, and logged, by the real keys. `is_copied`: by who
    can't open the private half, which stays as it is stored. Under another name, or an id of
    `later`, if asked.
    """
    keys = keyring.load_writing_keys(repository.keys_directory, None)
    log = open_log(repository)
    old = made.manifest
    id_ = BackupId.new(BackupId(old.backup_id).started + later, os.urandom(3))
    key = BackupKey(database or old.database, id_)
    writer = BackupWriter(
        repository.opened.store,
        key,
        keys,
        sizes=DEFAULT_CHUNK_SIZES,
        level=1,
        known=KnownChunks(),
        remember=lambda ref: None,
    )
    details = {"backup": id_.text, "database": key.database}
    begun = log.append(EntryType.BACKUP_STARTED, details, now=datetime.now(UTC))
    stored = []
    for part in old.parts:
        lines = repository.opened.store.get(old.key.chunk_list(part.name))
        if parts is not None and part.name in parts:
            content = _Bytes(parts[part.name])
            part, lines = writer.store_part(  # noqa: PLW2901 - the part as it is now
                part.name, part.kind, content, lambda moved, new: None
            )
        if lists is not None and part.name in lists:
            part, lines = lists[part.name]  # noqa: PLW2901 - the part as it is now
        writer.store_list(part, lines)
        stored.append(part)
    if is_copied:
        catalog_sha256 = old.catalog_sha256
        repository.opened.store.put(key.catalog, repository.opened.store.get(old.key.catalog))
    else:
        kept = repository.opened.catalog(old, [repository.identity])
        catalog_sha256 = writer.store_catalog(catalog or kept)
    manifest = change(
        replace(
            old,
            backup_id=id_.text,
            database=key.database,
            parts=tuple(stored),
            catalog_sha256=catalog_sha256,
            log=begun.head,
        )
    )
    sha256 = writer.finish(manifest)
    if is_logged:
        told = {**details, "manifest_sha256": sha256}
        log.append(EntryType.BACKUP_FINISHED, told, now=datetime.now(UTC))
    return id_.text


def examiner_of(
    repository: LabRepository,
    *,
    policy: RestoreTestPolicy | None = None,
    identities: tuple[KeyPair, ...] | None = None,
    is_pinned: bool = True,
    scratch: Path | None = None,
) -> Examiner:
    """A host that tests: the one that writes the repository, with its identity."""
    head = logmemory.LogMemory(repository.state_directory, repository.opened.id).head()
    return Examiner(
        # Opened anew: what is tested is what lies there now.
        repository=Repository(LocalStore(repository.directory)),
        trust=Trust(
            allowed=repository.allowed if is_pinned else None,
            claims=() if head is None else (Claim(who="this host", head=head),),
        ),
        identities=identities or (repository.identity,),
        key_source="identity of the lab",
        keys=keyring.load_writing_keys(repository.keys_directory, None),
        log=open_log(repository),
        policy=policy or RestoreTestPolicy(),
        workshop=Workshop(
            host=HOST,
            user="examiner",
            operating_system="test",
            jobs=2,
            stall_timeout=timedelta(minutes=2),
            directory=scratch,
        ),
        state_directory=repository.state_directory,
        reports_directory=repository.state_directory / "reports",
        version="strongroom test",
    )


def run_restore_test(
    repository: LabRepository,
    backup_id: str | None = None,
    *,
    policy: RestoreTestPolicy | None = None,
    identities: tuple[KeyPair, ...] | None = None,
    is_pinned: bool = True,
    database: str | None = None,
    scratch: Path | None = None,
    change: Callable[[Examiner], Examiner] = lambda examiner: examiner,
    slot: Slot | None = None,
    progress: Progress | None = None,
) -> Concluded:
    """Test a backup, or the newest, by the journey that the command line calls.

    By who is as `change` makes him of the host that tests; as the answer of a slot.
    """
    return asyncio.run(
        restore_test(
            change(
                examiner_of(
                    repository,
                    policy=policy,
                    identities=identities,
                    is_pinned=is_pinned,
                    scratch=scratch,
                )
            ),
            Choice(rule="named", backup_id=backup_id) if backup_id else Choice(rule="latest"),
            database=database,
            clock=lambda: datetime.now(UTC),
            random=os.urandom,
            progress=progress or Silent(),
            slot=slot,
        )
    )


def codes(report: Report) -> set[str]:
    """The codes of everything that was found."""
    return {finding.code.value for finding in report.verdict.findings}


class _Bytes:
    """Bytes as the source of a part."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
