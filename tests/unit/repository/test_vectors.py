"""The vectors of docs/format.md, for whoever reads the format with other code."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

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
