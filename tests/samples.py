"""Small values of everything that is stored, for tests: change what matters with `replace`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from backup.crypto.allowed_signers import AllowedSigner, AllowedSigners
from backup.crypto.recipients import X25519Identity
from backup.crypto.sshkey import SigningKey
from backup.repository.access import Repository
from backup.repository.canonical import encode
from backup.repository.catalog import (
    Catalog,
    Collation,
    DatabaseProperties,
    DatabaseSetting,
    DefaultPrivileges,
    Digests,
    Extension,
    Grant,
    LargeObjectDigest,
    LargeObjectRights,
    ObjectGrant,
    Relation,
    Role,
    SchemaObject,
    Sequence,
    TableDigest,
)
from backup.repository.chunking import ChunkKey, ChunkSizes
from backup.repository.chunks import ChunkRef
from backup.repository.known import KnownChunks
from backup.repository.layout import REPOSITORY_KEY, BackupId, BackupKey
from backup.repository.manifest import (
    MANIFEST_NAMESPACE,
    LogHead,
    Manifest,
    PartKind,
    Previous,
    RepositoryDescription,
    RepositoryFile,
    StoredPart,
)
from backup.repository.stores.base import Store
from backup.repository.stores.memory import MemoryStore
from backup.repository.writing import BackupWriter, WritingKeys

MOMENT = datetime(2026, 1, 14, 2, 0, 0, tzinfo=UTC)
REPOSITORY_ID = "5a" * 16
KEY = BackupKey("portal", BackupId("20260114T020000Z-3f9c2a"))
SIZES = ChunkSizes(minimum=64, average=256, maximum=1024)
CHUNK_KEY = ChunkKey(bytes(range(32)))
IDENTITY = X25519Identity.generate()
SIGNING_KEY = SigningKey.generate("backup@host")
STRANGER = SigningKey.generate("stranger@elsewhere")

DESCRIPTION = RepositoryDescription(
    format=1,
    repository_id=REPOSITORY_ID,
    chunk_sizes=SIZES,
    created=MOMENT,
    created_by="strongroom test",
)


FILES = (RepositoryFile(name="restore.sh", sha256="4" * 64),)


def allowed(key: SigningKey = SIGNING_KEY, namespace: str = MANIFEST_NAMESPACE) -> AllowedSigners:
    """Pins for one key."""
    signer = AllowedSigner(
        principals=("backup@host",), public_key=key.public_key, namespaces=(namespace,)
    )
    return AllowedSigners(signers=(signer,))


def writing_keys(signing_key: SigningKey = SIGNING_KEY) -> WritingKeys:
    """What a backup host holds."""
    return WritingKeys(
        recipients=(IDENTITY.recipient,), chunk_key=CHUNK_KEY, signing_key=signing_key, files=FILES
    )


def part(name: str = "rest", **changes: object) -> StoredPart:
    """A part of nothing."""
    kind: PartKind = "table" if name.startswith("table") else name  # type: ignore[assignment] # a kind
    values: dict[str, object] = {
        "name": name,
        "kind": kind,
        "list_sha256": "0" * 64,
        "chunks": 0,
        "plain_bytes": 0,
        "stored_bytes": 0,
        "new_bytes": 0,
    }
    return StoredPart(**{**values, **changes})  # type: ignore[arg-type] # a test passes what it means


def manifest(**changes: object) -> Manifest:
    """A manifest that fits `KEY`, with every optional field filled in."""
    values: dict[str, object] = {
        "format": 1,
        "repository_id": REPOSITORY_ID,
        "backup_id": KEY.id.text,
        "database": KEY.database,
        "database_name": "portal",
        "cluster_id": "7420042004200420042",
        "cluster_name": "main",
        "server_version": "15.14",
        "tool_version": "pg_dump 15.14",
        "written_by": "strongroom test",
        "snapshot_id": "00000003-0000001B-1",
        "snapshot_time": MOMENT.replace(microsecond=120500),
        "lsn": "0/1A2B3C4",
        "started": MOMENT,
        "finished": MOMENT.replace(minute=3),
        "parts": (part("schema"), part("table-1"), part("rest"), part("globals")),
        "recipients": (IDENTITY.recipient.fingerprint,),
        "files": FILES,
        "catalog_sha256": "1" * 64,
        "has_digests": True,
        "previous": Previous(backup_id="20260113T020000Z-000000", manifest_sha256="2" * 64),
        "log": LogHead(size=3, root="3" * 64),
        "warnings": ("roles are stored without passwords",),
    }
    return Manifest(**{**values, **changes})  # type: ignore[arg-type] # a test passes what it means


def catalog() -> Catalog:
    """A catalogue with one of everything."""
    return Catalog(
        database=DatabaseProperties(
            name='por"tal',
            owner="owner",
            encoding="UTF8",
            collate="C",
            ctype="C",
            locale_provider="c",
            locale=None,
            icu_rules=None,
            collation_version=None,
            connection_limit=-1,
            tablespace="pg_default",
            comment="naïve 💾\n",
            grants=(Grant(grantee=None, privilege="CONNECT", is_grantable=False),),
            settings=(DatabaseSetting(role=None, name="work_mem", value="64MB"),),
        ),
        bootstrap_superuser="postgres",
        relations=(
            Relation(schema="public", name="clients", kind="table", size_bytes=8192, rows=3),
            Relation(schema="public", name="parent", kind="partitioned", size_bytes=0, rows=None),
        ),
        sequences=(
            Sequence(schema="public", name="ids", last_value=-(2**63), is_called=True),
            Sequence(schema="public", name="more", last_value=2**63 - 1, is_called=False),
        ),
        roles=(
            Role(
                name="owner",
                is_superuser=False,
                can_login=True,
                bypasses_row_security=False,
                member_of=("staff",),
            ),
        ),
        extensions=(Extension(name="plpgsql", version="1.0", schema="pg_catalog"),),
        large_objects=2,
        subscriptions=(),
        server_settings=(("TimeZone", "UTC"), ("server_version", "15.14")),
        objects=(
            SchemaObject(
                kind="table",
                name="public.clients",
                definition_sha256=b"\x55" * 32,
                owner="owner",
                grants=(ObjectGrant(grantee=None, column="id", privileges=("SELECT*",)),),
                table=None,
                is_validated=None,
            ),
        ),
        large_object_rights=(
            LargeObjectRights(owner="owner", grants=None, count=2, oids_sha256="9" * 64),
        ),
        default_privileges=(DefaultPrivileges(role="owner", schema=None, objects="r", grants=()),),
        collations=(Collation(name=None, version="2.36"),),
        digests=Digests(
            salt="6" * 64,
            tables=(TableDigest(schema="public", name="clients", rows=3, sha256="7" * 64),),
            large_objects=(LargeObjectDigest(oid=2**32 - 1, size_bytes=9, sha256="8" * 64),),
        ),
        filed_as=KEY.place,
    )


def repository(store: Store | None = None) -> Repository:
    """A repository in `store`, or in memory, that `DESCRIPTION` describes."""
    store = store or MemoryStore()
    store.put(REPOSITORY_KEY, encode(DESCRIPTION))
    return Repository(store)


@dataclass
class Writing:
    """A backup on its way: the writer, and what it was to remember."""

    store: Store
    key: BackupKey = KEY
    keys: WritingKeys = field(default_factory=writing_keys)
    known: KnownChunks = field(default_factory=KnownChunks)
    remembered: list[ChunkRef] = field(default_factory=list)
    advanced: list[tuple[int, int]] = field(default_factory=list)
    writer: BackupWriter = field(init=False)

    def __post_init__(self) -> None:
        self.writer = BackupWriter(
            self.store,
            self.key,
            self.keys,
            sizes=SIZES,
            level=1,
            known=self.known,
            remember=self.remembered.append,
        )

    def store_part(self, name: str, content: bytes) -> tuple[StoredPart, bytes]:
        """Store a part without its list."""
        kind = part(name).kind
        return self.writer.store_part(
            name, kind, io.BytesIO(content), lambda plain, new: self.advanced.append((plain, new))
        )

    def store_all(self, contents: Mapping[str, bytes]) -> Manifest:
        """Store parts, lists and catalogue; return the manifest that `finish` would make true."""
        stored = [self.store_part(name, content) for name, content in contents.items()]
        for one, lines in stored:
            self.writer.store_list(one, lines)
        return manifest(
            backup_id=self.key.id.text,
            database=self.key.database,
            parts=tuple(one for one, _ in stored),
            catalog_sha256=self.writer.store_catalog(catalog()),
        )
