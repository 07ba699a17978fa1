"""Reading a repository: which backups there are, and what each is made of, every byte checked.

Works on any `Store`; nothing here writes. What comes out of a function here was verified by it:
there is no unchecked variant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backup.crypto import age
from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import Identity
from backup.crypto.sshsig import Signer
from backup.errors import IntegrityError, NotFoundError
from backup.repository.canonical import decode
from backup.repository.catalog import Catalog
from backup.repository.chunking import ChunkKey
from backup.repository.chunks import ChunkRef, decode_chunk, decode_list
from backup.repository.layout import (
    BACKUPS_PREFIX,
    CHUNK_KEY_KEY,
    REPOSITORY_KEY,
    BackupKey,
    chunk_object_key,
    database_prefix,
    parse_manifest_key,
)
from backup.repository.manifest import (
    Manifest,
    RepositoryDescription,
    RepositoryFile,
    StoredPart,
    decode_manifest,
    sha256_hex,
    verify_manifest,
)
from backup.repository.pieces import decode_pieces
from backup.repository.stores.base import Store

LATEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedManifest:
    """A manifest whose signature is whole; `signer.principal` is None if no pin vouches for it."""

    manifest: Manifest
    sha256: str
    signer: Signer


class Repository:
    """A repository that exists and follows a format that this version reads."""

    def __init__(self, store: Store) -> None:
        """Read the description. Raises `NotFoundError` if there is no repository."""
        self.store = store
        try:
            data = store.get(REPOSITORY_KEY)
        except NotFoundError:
            raise NotFoundError(
                f"there is no repository in {store.address}",
                hint="check the address, or make one with `strongroom init`",
            ) from None
        self.description = decode(RepositoryDescription, data, REPOSITORY_KEY)

    @property
    def id(self) -> str:
        """The repository's id, 32 hex digits."""
        return self.description.repository_id

    def backups(self, database: str | None = None) -> list[BackupKey]:
        """Return the backups there are, oldest first: all, or those of one database."""
        prefix = BACKUPS_PREFIX if database is None else database_prefix(database)
        keys = filter(None, map(parse_manifest_key, self.store.list(prefix)))
        return sorted(keys, key=lambda key: (key.id, key.database))

    def find(self, selector: str, database: str | None = None) -> BackupKey:
        """Return the backup named by `latest` or an id. Raises `NotFoundError`."""
        candidates = self.backups(database)
        of_database = "" if database is None else f" of database {database!r}"
        if not candidates:
            raise NotFoundError(
                f"{self.store.address} holds no backup{of_database}",
                hint="take one with `strongroom backup`",
            )
        if selector == LATEST:
            names = sorted({key.database for key in candidates})
            if len(names) > 1:
                raise NotFoundError(
                    f"latest of which database? There are backups of {', '.join(names)}",
                    hint="add --database NAME, or name a backup by its id",
                )
            return candidates[-1]
        found = [key for key in candidates if key.id.text == selector]
        if len(found) != 1:
            raise NotFoundError(
                f"{self.store.address} holds no backup {selector!r}{of_database}",
                hint="`strongroom list` shows the ids",
            )
        return found[0]

    def manifest(self, key: BackupKey, allowed: AllowedSigners | None) -> SignedManifest:
        """Return a backup's manifest, its signature verified against `allowed`.

        With `allowed` None any whole signature will do, and the signer comes back unpinned.
        """
        try:
            data = self.store.get(key.manifest)
        except NotFoundError:
            raise NotFoundError(
                f"backup {key.id} is gone: its manifest was deleted",
                hint="`strongroom list` shows what is left",
            ) from None
        try:
            signature = self.store.get(key.signature)
        except NotFoundError:
            raise IntegrityError(
                f"{key.signature} is missing: {key.id} is unsigned", flaw="unsigned"
            ) from None
        try:
            signer = verify_manifest(data, signature, allowed, at=key.id.started)
        except IntegrityError as error:
            raise IntegrityError(
                f"{key.signature}: {error.message}", hint=error.hint, flaw="unsigned"
            ) from error
        return SignedManifest(
            manifest=decode_manifest(data, key, self.id), sha256=sha256_hex(data), signer=signer
        )

    def refs(self, manifest: Manifest, part: StoredPart) -> Iterator[ChunkRef]:
        """Yield a part's chunks in order; the list's SHA-256 and totals agree with the manifest."""
        key = manifest.key.chunk_list(part.name)
        data = self._listed(key, part.list_sha256)
        count = plain_bytes = stored_bytes = 0
        for ref in decode_list(data, key):
            count += 1
            plain_bytes += ref.plain_bytes
            stored_bytes += ref.object_bytes
            yield ref
        if (count, plain_bytes, stored_bytes) != (
            part.chunks,
            part.plain_bytes,
            part.stored_bytes,
        ):
            raise IntegrityError(f"{key} does not add up to what the manifest says")

    def list_object(self, key: str, part: StoredPart) -> bytes:
        """Return the list of a part, which is the one that the signed manifest names."""
        return self._listed(key, part.list_sha256)

    def catalog(self, manifest: Manifest, identities: Sequence[Identity]) -> Catalog:
        """Return the private half of a backup, and of no other one."""
        key = manifest.key.catalog
        plain = _unseal(self._listed(key, manifest.catalog_sha256), key, identities)
        catalog = decode_pieces(Catalog, plain, key)
        if catalog.filed_as not in {None, manifest.key.place}:
            raise IntegrityError(
                f"{key} is the private half of backup {catalog.filed_as}: an old backup, or another"
                " database's, was filed as this one",
                hint="who has the signing key can do that; take the backup that it says, or the"
                " data alone, with `restore.sh` of the repository",
                flaw="misfiled",
            )
        return catalog

    def check_catalog(self, manifest: Manifest) -> None:
        """Raise `IntegrityError` unless the private half is there as written; needs no key."""
        self._listed(manifest.key.catalog, manifest.catalog_sha256)

    def check_file(self, file: RepositoryFile) -> None:
        """Raise `IntegrityError` unless an object of `init` is there as it was written."""
        if sha256_hex(self._present(file.name)) != file.sha256:
            raise IntegrityError(
                f"{file.name} in {self.store.address} is not the one that `init` wrote",
                hint="do not run or believe it; find out who can write to the store",
            )

    def chunk_key(self, identities: Sequence[Identity]) -> ChunkKey:
        """Return the chunk key from the copy that is sealed to the recipients."""
        data = self._present(CHUNK_KEY_KEY)
        return ChunkKey.from_text(
            _unseal(data, CHUNK_KEY_KEY, identities).decode("ascii", "replace")
        )

    def object(self, ref: ChunkRef) -> bytes:
        """Return a chunk's object as it lies in the store, not yet checked against `ref`."""
        return self._present(chunk_object_key(ref.sha256))

    def chunk(self, ref: ChunkRef, identities: Sequence[Identity], key: ChunkKey | None) -> bytes:
        """Return a chunk's plaintext, every check passed; its id is compared if `key` is known."""
        name = chunk_object_key(ref.sha256)
        return decode_chunk(self.object(ref), ref, name, identities=identities, key=key)

    def _present(self, key: str) -> bytes:
        try:
            return self.store.get(key)
        except NotFoundError:
            raise IntegrityError(
                f"{key} is missing from {self.store.address}",
                hint="`strongroom verify --all` finds everything that is missing",
                flaw="missing",
            ) from None

    def _listed(self, key: str, sha256: str) -> bytes:
        data = self._present(key)
        if sha256_hex(data) != sha256:
            raise IntegrityError(f"{key} is not what the signed manifest lists: SHA-256 differs")
        return data


def _unseal(data: bytes, name: str, identities: Sequence[Identity]) -> bytearray:
    try:
        return age.unseal(data, identities)
    except IntegrityError as error:
        raise IntegrityError(
            f"{name}: {error.message}", hint=error.hint, flaw="unauthentic"
        ) from error
