"""Writing one backup: chunks first, lists and catalogue next, the signed manifest last.

Killed anywhere before the last put there is no backup, only objects that nothing refers to; the
list of an unfinished run lets the next run use them again.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from backup.crypto import age
from backup.crypto.recipients import Recipient
from backup.crypto.source import PieceSource
from backup.crypto.sshkey import SigningKey
from backup.repository.catalog import Catalog
from backup.repository.chunking import ChunkKey, ChunkSizes, Source, cut
from backup.repository.chunks import ChunkRef, encode_chunk, encode_list
from backup.repository.known import KnownChunks
from backup.repository.layout import BackupKey, chunk_object_key
from backup.repository.manifest import (
    Manifest,
    PartKind,
    RepositoryFile,
    StoredPart,
    encode_manifest,
    sha256_hex,
    sign_manifest,
)
from backup.repository.pieces import encode_pieces
from backup.repository.stores.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingKeys:
    """What writing a backup takes: public keys and the chunk key. No identity fits in here.

    `files` are the objects that `init` wrote, as this host remembers them.
    """

    recipients: tuple[Recipient, ...]
    chunk_key: ChunkKey
    signing_key: SigningKey
    files: tuple[RepositoryFile, ...]


class BackupWriter:
    """The objects of one backup on their way into a store. Parts may be stored in parallel."""

    def __init__(
        self,
        store: Store,
        key: BackupKey,
        keys: WritingKeys,
        *,
        sizes: ChunkSizes,
        level: int,
        known: KnownChunks,
        remember: Callable[[ChunkRef], None],
    ) -> None:
        """`remember` is told of each new object before it is put: the unfinished run's list."""
        self._store = store
        self._key = key
        self._keys = keys
        self._sizes = sizes
        self._level = level
        self._known = known
        self._remember = remember
        self._lock = threading.Lock()
        self._reused: set[bytes] = set()
        self._written: set[bytes] = set()

    @property
    def reused(self) -> frozenset[bytes]:
        """The SHA-256 of each object that an earlier run had stored and this backup refers to."""
        return frozenset(self._reused)

    @property
    def referred(self) -> frozenset[bytes]:
        """The SHA-256 of each object that this backup refers to, whoever stored it."""
        with self._lock:
            return frozenset(self._reused | self._written)

    def store_part(
        self, name: str, kind: PartKind, source: Source, advance: Callable[[int, int], None]
    ) -> tuple[StoredPart, bytes]:
        """Store a stream to its end; return how the manifest lists it, and its chunk list.

        `advance` is told of each chunk's plain bytes and newly stored bytes.
        """
        lines = bytearray()
        chunks = plain_bytes = stored_bytes = new_bytes = 0
        for plaintext in cut(source, self._sizes, self._keys.chunk_key.cut_seed):
            ref, is_new = self._store_chunk(plaintext)
            lines += encode_list([ref])
            chunks += 1
            plain_bytes += ref.plain_bytes
            stored_bytes += ref.object_bytes
            new_bytes += ref.object_bytes if is_new else 0
            advance(ref.plain_bytes, ref.object_bytes if is_new else 0)
        part = StoredPart(
            name=name,
            kind=kind,
            list_sha256=hashlib.sha256(lines).hexdigest(),
            chunks=chunks,
            plain_bytes=plain_bytes,
            stored_bytes=stored_bytes,
            new_bytes=new_bytes,
        )
        return part, bytes(lines)

    def store_catalog(self, catalog: Catalog) -> str:
        """Store the private half; return the SHA-256 of its object.

        It says itself whose it is: who cannot open it cannot use it for another backup.
        """
        bound = replace(catalog, filed_as=self._key.place)
        sealed = io.BytesIO()
        age.seal_stream(PieceSource(encode_pieces(bound)), sealed, self._keys.recipients)
        self._store.put(self._key.catalog, sealed.getvalue(), durable=False)
        return sha256_hex(sealed.getvalue())

    def store_list(self, part: StoredPart, lines: bytes) -> None:
        """Store a part's chunk list."""
        self._store.put(self._key.chunk_list(part.name), lines, durable=False)

    def finish(self, manifest: Manifest) -> str:
        """Make the backup exist; return the manifest's SHA-256.

        Everything before is durable first. On return the backup survives a power cut.
        """
        data = encode_manifest(manifest)
        self._store.put(
            self._key.signature, sign_manifest(data, self._keys.signing_key), durable=False
        )
        self._store.sync()
        self._store.put(self._key.manifest, data)
        return sha256_hex(data)

    def _store_chunk(self, plaintext: memoryview) -> tuple[ChunkRef, bool]:
        id_ = self._keys.chunk_key.id_of(plaintext)
        known = self._known.get(id_)
        if known is not None and known.plain_bytes == len(plaintext):
            with self._lock:
                if known.sha256 not in self._written:
                    self._reused.add(known.sha256)
            return known, False
        ref, sealed = encode_chunk(plaintext, id_, self._keys.recipients, level=self._level)
        self._remember(ref)
        self._store.put(chunk_object_key(ref.sha256), sealed, durable=False)
        with self._lock:
            self._written.add(ref.sha256)
            self._known.add(ref)
        return ref, True
