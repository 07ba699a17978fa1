"""The vectors of docs/format.md, for whoever reads the format with other code."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup.crypto import merkle
from backup.crypto.note import Checkpoint, sign_checkpoint
from backup.crypto.sshkey import SigningKey
from backup.evidence.entry import EntryType, encode_entry
from backup.evidence.log import origin
from backup.repository.chunking import ChunkKey, ChunkSizes, cut
from backup.repository.chunks import ChunkRef, encode_list
from backup.repository.layout import chunk_object_key, encode_name

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors/format/vectors.json").read_text(encoding="utf-8")
)


def test_chunk_key() -> None:
    """Text, seed and ids."""
    vector = VECTORS["chunk_key"]
    key = ChunkKey.from_text(vector["text"])
    assert key == ChunkKey(bytes.fromhex(vector["key"]))
    assert key.text == vector["text"]
    assert key.cut_seed == vector["cut_seed"]
    assert {text: key.id_of(text.encode()).hex() for text in vector["ids"]} == vector["ids"]


def test_cutting() -> None:
    """A change here is another format: nothing that is stored would be recognised."""
    vector = VECTORS["cutting"]
    sizes = ChunkSizes(
        minimum=vector["minimum"], average=vector["average"], maximum=vector["maximum"]
    )
    seed = VECTORS["chunk_key"]["cut_seed"]
    stream = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(1024))
    for data, expected in ((stream, "sizes"), (bytes(vector["zeros"]), "sizes_of_zeros")):
        assert [len(chunk) for chunk in cut(io.BytesIO(data), sizes, seed)] == vector[expected]


def test_names() -> None:
    """As segments of keys."""
    assert {name: encode_name(name) for name in VECTORS["names"]} == VECTORS["names"]


def test_list_line() -> None:
    """And where the object lies."""
    vector = VECTORS["list_line"]
    ref = ChunkRef(
        bytes.fromhex(vector["id"]),
        bytes.fromhex(vector["sha256"]),
        vector["object_bytes"],
        vector["plain_bytes"],
    )
    assert encode_list([ref]).decode() == vector["line"]
    assert chunk_object_key(ref.sha256) == vector["object_key"]


def test_evidence_log() -> None:
    """Two entries, their tree, and the checkpoint over both."""
    vector = VECTORS["log"]
    first, second = (line.encode() for line in vector["lines"])
    start = datetime(2026, 1, 14, 2, tzinfo=UTC)
    later = start + timedelta(hours=1)
    details = {"repository": "0" * 32}
    assert encode_entry(0, EntryType.GENESIS, details, now=start, before=b"") == first
    assert encode_entry(1, EntryType.HEARTBEAT, {}, now=later, before=first) == second
    leaves = [merkle.leaf_hash(first), merkle.leaf_hash(second)]
    assert leaves[0].hex() == vector["first_leaf"]
    assert merkle.root(leaves).hex() == vector["root"]
    key = SigningKey.generate("vector", lambda size: bytes(range(size)))
    assert key.public_key.key_text == vector["public_key"]
    checkpoint = Checkpoint(origin=origin("0" * 32), size=2, root=merkle.root(leaves))
    assert sign_checkpoint(checkpoint, key).decode() == vector["checkpoint"]
