"""The public half of a backup, and the repository's own description: values and their bytes.

`docs/format.md`, "manifest.json" and "repository.json". The manifest names everything else by
SHA-256 and is signed as stored; it holds nothing that would tell a stranger what is in the tables.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.sshkey import SigningKey
from backup.crypto.sshsig import Signer, is_as_written, sign, verify
from backup.errors import IntegrityError
from backup.repository.canonical import STRICT, UtcTime, decode, encode
from backup.repository.chunking import ChunkSizes
from backup.repository.layout import BackupId, BackupKey, require_repository_id

MANIFEST_NAMESPACE = "strongroom-manifest@v1"
FORMAT = 1


def _require_integer(value: object) -> object:
    if type(value) is not int:
        raise ValueError("a format is a number")
    return value


# Checked as it is read: who can write to the store must not choose paths on this host.
RepositoryId: TypeAlias = Annotated[str, AfterValidator(require_repository_id)]
FormatNumber: TypeAlias = Annotated[Literal[1], BeforeValidator(_require_integer)]
PartKind = Literal["schema", "rest", "table", "globals"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART_NAME = re.compile(r"schema|rest|globals|table-[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryDescription:
    """`repository.json`: written once by `init`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    format: FormatNumber
    repository_id: RepositoryId
    chunk_sizes: ChunkSizes
    created: UtcTime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """One archive of a backup.

    Bytes: `plain` as dumped, `stored` all its objects, `new` those that this backup wrote itself.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    kind: PartKind
    list_sha256: str
    chunks: int
    plain_bytes: int
    stored_bytes: int
    new_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """The backup of the same database before this one: a chain that shows what was removed."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    backup_id: str
    manifest_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFile:
    """An object that `init` wrote for all backups, such as `restore.sh`, and its SHA-256 then."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """The evidence log when the manifest was written: how many entries, and the root over them."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    size: int
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`manifest.json`.

    `snapshot_time` is the server's clock when the snapshot was taken, `lsn` its write position
    then. `cluster_id` is PostgreSQL's system identifier as text, or
    empty if the role was not allowed to read it. `log` None: the repository keeps no log yet.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    format: FormatNumber
    repository_id: RepositoryId
    backup_id: str
    database: str
    database_name: str
    cluster_id: str
    cluster_name: str
    server_version: str
    tool_version: str
    written_by: str
    snapshot_id: str
    snapshot_time: UtcTime
    lsn: str
    started: UtcTime
    finished: UtcTime
    parts: tuple[StoredPart, ...]
    recipients: tuple[str, ...]
    files: tuple[RepositoryFile, ...]
    catalog_sha256: str
    has_digests: bool
    previous: Previous | None
    log: LogHead | None
    warnings: tuple[str, ...]

    @property
    def key(self) -> BackupKey:
        """Which backup this is."""
        return BackupKey(self.database, BackupId(self.backup_id))

    @property
    def plain_bytes(self) -> int:
        """The size of all archives as pg_dump wrote them."""
        return sum(part.plain_bytes for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        """The size of all objects that the backup refers to, shared ones included."""
        return sum(part.stored_bytes for part in self.parts)

    @property
    def new_bytes(self) -> int:
        """The size of the objects that this backup added to the repository."""
        return sum(part.new_bytes for part in self.parts)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes to store and to sign."""
    return encode(manifest)


def decode_manifest(data: bytes, key: BackupKey, repository_id: str) -> Manifest:
    """Return the manifest stored under `key`, or raise `IntegrityError`.

    It must say itself that it belongs there: one moved from another place is refused.
    """
    manifest = decode(Manifest, data, key.manifest)
    if manifest.repository_id != repository_id:
        raise IntegrityError(
            f"{key.manifest} belongs to repository {manifest.repository_id}", flaw="unsigned"
        )
    if (manifest.database, manifest.backup_id) != (key.database, key.id.text):
        raise IntegrityError(
            f"{key.manifest} is the manifest of {manifest.database} {manifest.backup_id}",
            flaw="unsigned",
        )
    names = [part.name for part in manifest.parts]
    if len(set(names)) != len(names) or not {"schema", "rest", "globals"} <= set(names):
        raise IntegrityError(f"{key.manifest} does not list the parts of a whole backup")
    digests = [
        manifest.catalog_sha256,
        *(part.list_sha256 for part in manifest.parts),
        *(file.sha256 for file in manifest.files),
    ]
    if not all(map(_SHA256.fullmatch, digests)) or not all(map(_PART_NAME.fullmatch, names)):
        raise IntegrityError(f"{key.manifest} names a part or a digest in no known form")
    if any(part.kind != part.name.partition("-")[0] for part in manifest.parts):
        raise IntegrityError(f"{key.manifest} lists a part as another kind than its name says")
    return manifest


def sign_manifest(data: bytes, key: SigningKey) -> bytes:
    """Return the detached SSH signature over the manifest's bytes."""
    return sign(data, key, MANIFEST_NAMESPACE).encode("ascii")


def verify_manifest(
    data: bytes, signature: bytes, allowed: AllowedSigners | None, *, at: datetime
) -> Signer:
    """Return who signed; with `allowed` None the signer is unpinned. Raises `IntegrityError`.

    `at` is held against the time limits of allowed signers: when the backup was begun, so that
    backups outlive the key that signed them.
    """
    text = signature.decode("ascii", "replace")
    signer = verify(data, text, MANIFEST_NAMESPACE, allowed, now=at)
    if not is_as_written(text):
        raise IntegrityError("the signature is whole, but its file is not as it was written")
    return signer


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of stored bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()
