"""A part of a backup as the archive that pg_dump wrote: every chunk checked before it is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import Identity
from backup.crypto.sshsig import Signer
from backup.errors import IntegrityError, KeyUnavailableError
from backup.holders import Holders
from backup.leases import Clock, reading
from backup.repository.access import Repository
from backup.repository.catalog import Catalog
from backup.repository.chunking import ChunkKey
from backup.repository.layout import BackupKey
from backup.repository.lease import LeaseKind
from backup.repository.manifest import Manifest, StoredPart


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBackup:
    """A backup with the keys that read it; its manifest's signature is whole.

    `problem` is damage that does not keep the backup from being read.
    """

    manifest: Manifest
    signer: Signer
    catalog: Catalog
    problem: str | None
    _repository: Repository
    _identities: Sequence[Identity]
    _chunk_key: ChunkKey | None

    def kept(self, kind: LeaseKind, clock: Clock, holders: Holders) -> AbstractContextManager[None]:
        """Keep every prune from deleting this backup while the block reads it."""
        return reading(
            self._repository.store, kind, [self.manifest.key], clock=clock, holders=holders
        )

    def part(self, name: str) -> StoredPart:
        """Return the part of this name."""
        for part in self.manifest.parts:
            if part.name == name:
                return part
        raise IntegrityError(f"backup {self.manifest.backup_id} has no part {name}")

    def chunks(self, part: StoredPart) -> Iterator[bytes]:
        """Yield an archive's plaintext in order; raises `IntegrityError` before a doubtful byte."""
        for ref in self._repository.refs(self.manifest, part):
            yield self._repository.chunk(ref, self._identities, self._chunk_key)


def open_backup(
    repository: Repository,
    key: BackupKey,
    allowed: AllowedSigners | None,
    identities: Sequence[Identity],
) -> OpenBackup:
    """Return a backup that these identities open; no chunk has been read yet."""
    signed = repository.manifest(key, allowed)
    # Read first: an identity that does not open the backup itself is the wrong one.
    catalog = repository.catalog(signed.manifest, identities)
    chunk_key, problem = find_chunk_key(repository, identities)
    return OpenBackup(
        manifest=signed.manifest,
        signer=signed.signer,
        catalog=catalog,
        problem=problem,
        _repository=repository,
        _identities=identities,
        _chunk_key=chunk_key,
    )


def find_chunk_key(
    repository: Repository, identities: Sequence[Identity]
) -> tuple[ChunkKey | None, str | None]:
    """Return the chunk key, or None with what is wrong with its copy in the repository.

    Chunk ids are one check more on what SHA-256 and age have shown already: a copy that was lost
    or replaced must not keep anybody from his data.
    """
    try:
        return repository.chunk_key(identities), None
    except (IntegrityError, KeyUnavailableError) as error:
        return None, f"chunk ids cannot be compared: {error.message}"
