"""Whether a signed backup is what it is filed as: an old one, or another database's, is not.

A signature says who wrote a manifest, not that what it lists was dumped then and there: whoever
has the keys of the backup host can put an old backup under a new id. He can open nothing of it,
though: the private half says itself whose it is (`Repository.catalog` refuses another's), and
archives say of which database they are, and when they were begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from backup.crypto.recipients import Identity
from backup.errors import StrongroomError
from backup.evidence.verdict import Code, Finding
from backup.repository.access import Repository
from backup.repository.archivehead import ArchiveHead, read_head
from backup.repository.layout import BackupId
from backup.repository.manifest import Manifest, StoredPart

# Clocks that are this far apart are right.
TOLERANCE: Final = timedelta(minutes=2)
# A clock that was set during the run; further apart, it is another run's archive.
CLOCK_WAS_SET: Final = timedelta(days=1)
# A pooler may know a database by another name; archives have the one that was asked for.
NAMED_OTHERWISE: Final = "the connection calls the database otherwise than its server does"


def filed_twice(repository: Repository, manifest: Manifest) -> Iterator[Finding]:
    """Yield each other backup, of this one's time, that has the very same private half.

    Each is encrypted with a key of its own, so no two backups can.
    """
    moments = (BackupId(manifest.backup_id).started, manifest.started)
    for key in repository.backups():
        is_near = any(abs(key.id.started - moment) <= TOLERANCE for moment in moments)
        if not is_near or key == manifest.key:
            continue
        try:
            other = repository.manifest(key, None).manifest
        except StrongroomError:  # it is another backup's finding
            continue
        if other.catalog_sha256 == manifest.catalog_sha256:
            yield Finding(
                code=Code.LOG_INCONSISTENT,
                what=f"backup {manifest.backup_id}",
                expected="a private half of its own",
                observed=f"that of backup {other.backup_id} of {other.database}",
            )


def foreign(
    repository: Repository,
    manifest: Manifest,
    identities: Sequence[Identity],
    *,
    has_clock: bool,
) -> Iterator[Finding]:
    """Yield the private half, and each archive, that is not of this database and this run.

    Every object was read before and is what was written. Without `has_clock` the times of the
    manifest contradict each other, and archives are not held against them. A private half that
    says whose it is leaves clocks to be doubted only: an archive of another time on the same day
    is CLOCK_SKEW then, since no clock has to be believed to know an old backup by.
    """
    catalog = repository.catalog(manifest, identities)
    name = catalog.database.name
    slack = CLOCK_WAS_SET if catalog.filed_as is not None else TOLERANCE
    if name != manifest.database_name:
        yield _of_database("private half", manifest, name)
    for part in manifest.parts:
        head = None if part.kind == "globals" else _head(repository, manifest, part, identities)
        if head is None:  # `pg_restore` will say so
            continue
        if head.database != manifest.database_name and NAMED_OTHERWISE not in manifest.warnings:
            yield _of_database(f"archive {part.name}", manifest, head.database)
        elif has_clock and not (
            manifest.started - TOLERANCE <= head.created <= manifest.finished + TOLERANCE
        ):
            is_near = manifest.started - slack <= head.created <= manifest.finished + slack
            yield Finding(
                code=Code.CLOCK_SKEW if is_near else Code.LOG_INCONSISTENT,
                what=f"archive {part.name}",
                expected=f"dumped between {manifest.started:%Y-%m-%dT%H:%M:%SZ} and"
                f" {manifest.finished:%Y-%m-%dT%H:%M:%SZ}",
                observed=f"dumped at {head.created:%Y-%m-%dT%H:%M:%SZ}",
            )


def _head(
    repository: Repository, manifest: Manifest, part: StoredPart, identities: Sequence[Identity]
) -> ArchiveHead | None:
    for ref in repository.refs(manifest, part):
        return read_head(repository.chunk(ref, identities, None))
    return None


def _of_database(what: str, manifest: Manifest, observed: str) -> Finding:
    return Finding(
        code=Code.LOG_INCONSISTENT,
        what=what,
        expected=f"of database {manifest.database_name}",
        observed=f"of database {observed}",
    )
