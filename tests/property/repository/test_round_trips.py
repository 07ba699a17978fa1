"""Every pair of the repository undoes itself, for whatever goes in."""

from __future__ import annotations

import dataclasses
import io
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.errors import IntegrityError
from backup.repository.canonical import decode, encode
from backup.repository.catalog import Catalog, Relation, Sequence
from backup.repository.chunking import ChunkKey, ChunkSizes, cut
from backup.repository.chunks import ChunkRef, decode_chunk, decode_list, encode_chunk, encode_list
from backup.repository.known import KnownChunks
from backup.repository.layout import (
    BackupId,
    BackupKey,
    chunk_object_key,
    database_prefix,
    decode_name,
    encode_name,
    parse_chunk_object_key,
    parse_manifest_key,
)
from backup.repository.manifest import (
    LogHead,
    Manifest,
    Previous,
    StoredPart,
    decode_manifest,
    encode_manifest,
)
from backup.repository.pieces import decode_pieces
from backup.repository.stores.base import is_key
from tests.samples import CHUNK_KEY, IDENTITY, REPOSITORY_ID, SIZES, catalog, manifest

names = st.text(st.characters(codec="utf-8", min_codepoint=1), min_size=1, max_size=20)
moments = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=datetime(9999, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
digests = st.binary(min_size=32, max_size=32)
suffixes = st.binary(min_size=3, max_size=3)
counts = st.integers(0, 2**53)
refs = st.builds(
    ChunkRef, digests, digests, st.integers(1, 999_999_999), st.integers(1, 16 * 2**20)
)
parts = st.builds(
    StoredPart,
    name=st.integers(1, 999_999).map("table-{}".format),
    kind=st.just("table"),
    list_sha256=digests.map(bytes.hex),
    chunks=counts,
    plain_bytes=counts,
    stored_bytes=counts,
    new_bytes=counts,
)


@given(names)
def test_names(name: str) -> None:
    """A name is one segment of a key, and comes back."""
    segment = encode_name(name)
    assert decode_name(segment) == name
    assert is_key(segment)
    assert "/" not in segment


@given(names, names)
def test_two_names_never_share_a_prefix(one: str, other: str) -> None:
    """Not even when one begins with the other, nor where case is not told apart by accident."""
    if one != other:
        assert not database_prefix(one).startswith(database_prefix(other))


@given(names, moments, suffixes)
def test_backup_keys(name: str, moment: datetime, suffix: bytes) -> None:
    """A manifest's key says which backup it is of."""
    key = BackupKey(name, BackupId.new(moment, suffix))
    assert parse_manifest_key(key.manifest) == key
    assert key.id.started == moment.replace(microsecond=0)


@given(moments, moments, suffixes)
def test_ids_sort_by_time(one: datetime, other: datetime, suffix: bytes) -> None:
    """As text too: that is how a directory lists them."""
    ids = [BackupId.new(moment, suffix) for moment in (one, other)]
    assert sorted(ids, key=lambda id_: id_.started) == sorted(ids)


@given(st.text(max_size=40))
def test_arbitrary_text_is_an_id_or_refused(text: str) -> None:
    """And never anything else."""
    assert parse_manifest_key(f"backups/app/{text}/manifest.json") is None
    assert parse_chunk_object_key(f"chunks/{text}") is None


@given(digests)
def test_chunk_object_keys(digest: bytes) -> None:
    """Named by what they hold."""
    assert parse_chunk_object_key(chunk_object_key(digest)) == digest


@given(digests)
def test_chunk_keys(digest: bytes) -> None:
    """Kept as text."""
    assert ChunkKey.from_text(ChunkKey(digest).text) == ChunkKey(digest)


@given(st.lists(refs, max_size=5))
def test_lists(listed: list[ChunkRef]) -> None:
    """Line by line, in order."""
    assert list(decode_list(encode_list(listed), "list")) == listed


@given(st.lists(refs, min_size=1, max_size=2), st.data())
def test_a_list_in_any_other_spelling_is_another_list(
    listed: list[ChunkRef], data: st.DataObject
) -> None:
    """What decodes encodes to the same bytes, whatever happened to them."""
    text = bytearray(encode_list(listed))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = list(decode_list(bytes(text), "list"))
    except IntegrityError:
        return
    assert encode_list(found) == text


CATALOG = encode(catalog())


@given(st.integers(0, len(CATALOG) - 1), st.integers(0, 255), st.integers(1, len(CATALOG)))
def test_a_catalogue_in_pieces_is_read_as_it_is_whole(at: int, byte: int, window: int) -> None:
    """Or is refused in the same words, whatever happened to it."""
    text = bytearray(CATALOG)
    text[at] = byte
    try:
        expected = decode(Catalog, bytes(text), "catalog")
    except IntegrityError as error:
        with pytest.raises(IntegrityError) as caught:
            decode_pieces(Catalog, text, "catalog", window_bytes=window)
        assert caught.value.message == error.message
        return
    assert decode_pieces(Catalog, text, "catalog", window_bytes=window) == expected


@given(st.lists(refs, max_size=5, unique_by=lambda ref: ref.id))
def test_known_chunks(listed: list[ChunkRef]) -> None:
    """Packed and unpacked."""
    known = KnownChunks()
    known.add_present(listed, {ref.sha256 for ref in listed})
    assert [known.get(ref.id) for ref in listed] == listed


@given(st.binary(min_size=1, max_size=3000), st.integers(1, 4))
def test_chunks(plaintext: bytes, level: int) -> None:
    """Compressed, sealed, and back."""
    ref, data = encode_chunk(
        plaintext, CHUNK_KEY.id_of(plaintext), [IDENTITY.recipient], level=level
    )
    assert decode_chunk(bytes(data), ref, "x", identities=[IDENTITY], key=CHUNK_KEY) == plaintext


@given(
    names,
    moments,
    st.lists(parts, max_size=3, unique_by=lambda part: part.name),
    st.none() | st.builds(Previous, backup_id=st.text(), manifest_sha256=st.text()),
    st.none() | st.builds(LogHead, size=counts, root=st.text()),
)
def test_manifests(
    name: str,
    moment: datetime,
    tables: list[StoredPart],
    previous: Previous | None,
    log: LogHead | None,
) -> None:
    """One text for one manifest."""
    key = BackupKey(name, BackupId.new(moment, b"abc"))
    made: Manifest = manifest(
        database=name,
        backup_id=key.id.text,
        started=moment,
        parts=(*(part for part in manifest().parts if part.kind != "table"), *tables),
        previous=previous,
        log=log,
        warnings=(name,),
    )
    data = encode_manifest(made)
    assert decode_manifest(data, key, REPOSITORY_ID) == made
    assert encode_manifest(decode_manifest(data, key, REPOSITORY_ID)) == data


@given(
    st.lists(
        st.builds(
            Relation,
            schema=names,
            name=names,
            kind=st.sampled_from(["table", "partitioned", "matview", "foreign"]),
            size_bytes=counts,
            rows=st.none() | counts,
            is_populated=st.booleans(),
            extension=st.none() | names,
        ),
        max_size=3,
    ),
    st.lists(
        st.builds(
            Sequence,
            schema=names,
            name=names,
            last_value=st.integers(-(2**63), 2**63 - 1),
            is_called=st.booleans(),
        ),
        max_size=3,
    ),
)
def test_catalogues(relations: list[Relation], sequences: list[Sequence]) -> None:
    """Names of tables may be anything."""
    made = dataclasses.replace(catalog(), relations=tuple(relations), sequences=tuple(sequences))
    assert decode(Catalog, encode(made), "catalog.json.age") == made


@given(st.data())
def test_a_damaged_manifest_never_reads_as_another_text(data: st.DataObject) -> None:
    """Whatever still decodes has exactly the bytes that it encodes to."""
    made = manifest()
    text = bytearray(encode_manifest(made))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(32, 126))
    try:
        found = decode(Manifest, bytes(text), "manifest.json")
    except IntegrityError:
        return
    assert encode(found) == text


def cuts(data: bytes, sizes: ChunkSizes = SIZES, key: ChunkKey = CHUNK_KEY) -> list[bytes]:
    """The chunks of `data`, copied."""
    return [bytes(chunk) for chunk in cut(io.BytesIO(data), sizes, key.cut_seed)]


class Trickle:
    """A pipe that gives as little as it likes."""

    def __init__(self, data: bytes, steps: random.Random) -> None:
        self._data, self._steps = data, steps

    def readinto(self, buffer: memoryview) -> int:
        """A few bytes."""
        size = min(len(buffer), len(self._data), self._steps.randint(1, 700))
        buffer[:size], self._data = self._data[:size], self._data[size:]
        return size


blobs = st.builds(
    lambda seed, size: random.Random(seed).randbytes(size), st.integers(), st.integers(0, 20_000)
)


@given(blobs | st.binary(max_size=3000) | st.integers(0, 9000).map(bytes))
def test_chunks_put_together_are_the_stream(data: bytes) -> None:
    """And each but the last has a size within the bounds."""
    chunks = cuts(data)
    assert b"".join(chunks) == data
    assert all(SIZES.minimum <= len(chunk) <= SIZES.maximum for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= SIZES.maximum for chunk in chunks)


@given(blobs, st.randoms(use_true_random=False))
def test_cuts_depend_on_content_alone(data: bytes, steps: random.Random) -> None:
    """Not on how the pipe hands it over."""
    trickled = [bytes(chunk) for chunk in cut(Trickle(data, steps), SIZES, CHUNK_KEY.cut_seed)]
    assert trickled == cuts(data)


@given(st.integers(0, 29_999), st.binary(min_size=1, max_size=50), st.integers(0, 100))
def test_an_insertion_changes_few_chunks(where: int, inserted: bytes, removed: int) -> None:
    """Those beside it; the rest is recognised again."""
    data = random.Random(5).randbytes(30_000)
    changed = data[:where] + inserted + data[where + removed :]
    new = set(cuts(changed)) - set(cuts(data))
    assert len(new) <= 12
    assert len(cuts(data)) > 60


def test_another_key_cuts_elsewhere() -> None:
    """Sizes of chunks say little to who lacks the key."""
    data = random.Random(6).randbytes(30_000)
    ends = []
    for key in (CHUNK_KEY, ChunkKey(bytes(32))):
        position, found = 0, set()
        for chunk in cuts(data, key=key):
            found.add(position := position + len(chunk))
        ends.append(found - {len(data)})
    assert len(ends[0] & ends[1]) < len(ends[0]) / 4


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025])
def test_streams_around_the_bounds(size: int) -> None:
    """A short stream is one chunk, an empty one is none."""
    chunks = cuts(bytes(size))
    assert sum(map(len, chunks)) == size
    assert len(chunks) == (0 if size == 0 else 1 if size <= 1024 else 2)
