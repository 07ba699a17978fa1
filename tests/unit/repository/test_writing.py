"""Writing a backup: what is put in which order, and what there is when the store fails."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from backup.errors import StoreError
from backup.repository.access import Repository
from backup.repository.canonical import encode
from backup.repository.chunks import ChunkRef
from backup.repository.known import KnownChunks
from backup.repository.layout import REPOSITORY_KEY, BackupId, BackupKey, chunk_object_key
from backup.repository.manifest import encode_manifest, sha256_hex
from backup.repository.stores.base import Buffer
from backup.repository.stores.memory import MemoryStore
from tests.lab.effort import tries
from tests.samples import CHUNK_KEY, DESCRIPTION, IDENTITY, KEY, Writing, allowed, catalog

DATA = random.Random(1).randbytes(5000)
CONTENTS = {"schema": b"-- schema", "table-1": DATA, "rest": DATA[:1500] + b"!", "globals": b""}


class RecordingStore(MemoryStore):
    """Remembers what was asked of it, and fails the n-th time."""

    def __init__(self, fails_at: int = 0) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.fails_at = fails_at
        super().put(REPOSITORY_KEY, encode(DESCRIPTION))

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if len(self.calls) == self.fails_at:
            raise StoreError(f"{call} failed")

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Put it, unless this is the time to fail."""
        self._note(f"put {key} durable" if durable else f"put {key}")
        super().put(key, data, durable=durable)

    def sync(self) -> None:
        """Note it."""
        self._note("sync")


def write(writing: Writing) -> str:
    """A whole backup."""
    return writing.writer.finish(writing.store_all(CONTENTS))


def read(repository: Repository, key: BackupKey = KEY) -> dict[str, bytes]:
    """Everything in a backup, by part."""
    signed = repository.manifest(key, allowed())
    assert repository.catalog(signed.manifest, [IDENTITY]) == replace(catalog(), filed_as=key.place)
    return {
        part.name: b"".join(
            repository.chunk(ref, [IDENTITY], CHUNK_KEY)
            for ref in repository.refs(signed.manifest, part)
        )
        for part in signed.manifest.parts
    }


def test_what_was_written_is_read_back() -> None:
    """Every part, byte by byte, and the catalogue."""
    store = RecordingStore()
    sha256 = write(Writing(store))
    assert read(Repository(store)) == CONTENTS
    assert sha256 == sha256_hex(store.get(KEY.manifest))


def test_the_manifest_comes_last_and_after_the_barrier() -> None:
    """It exists exactly when the backup exists, and survives a power cut."""
    store = RecordingStore()
    write(Writing(store))
    assert store.calls[-3:] == [f"put {KEY.signature}", "sync", f"put {KEY.manifest} durable"]
    assert not any(call.endswith("durable") or call == "sync" for call in store.calls[:-3])
    objects = [call for call in store.calls if call.startswith("put chunks/")]
    assert store.calls[: len(objects)] == objects
    assert sorted(store.calls[len(objects) : -3]) == sorted(
        [
            f"put {KEY.catalog}",
            *(f"put {KEY.chunk_list(name)}" for name in ("schema", "table-1", "rest", "globals")),
        ]
    )


def test_a_store_that_fails_anywhere_leaves_no_backup_or_a_whole_one() -> None:
    """The n-th call fails, for every n; the next run succeeds on what is there."""
    last = 0
    for number in range(1, 200, tries(few=4, some=1, full=1)):
        store = RecordingStore(fails_at=number)
        try:
            write(Writing(store))
        except StoreError:
            assert Repository(store).backups() == []
        else:
            last = number
            break
        store.fails_at = 0
        again = BackupKey(KEY.database, BackupId("20260114T030000Z-000000"))
        write(Writing(store, key=again))
        assert read(Repository(store), again) == CONTENTS
    assert last > 15


def test_every_object_is_noted_before_it_is_put() -> None:
    """A kill between the two leaves a note of what is not there, never the reverse."""
    store = RecordingStore()
    noted: list[str] = []
    writing = Writing(store)

    class Notes(list[ChunkRef]):
        def append(self, ref: ChunkRef) -> None:
            noted.append(chunk_object_key(ref.sha256))
            assert f"put {noted[-1]}" not in store.calls

    writing = Writing(store, remembered=Notes())
    write(writing)
    assert [f"put {key}" for key in noted] == [
        call for call in store.calls if call.startswith("put chunks/")
    ]


def test_a_chunk_within_one_backup_is_stored_once() -> None:
    """The two parts share their beginning."""
    writing = Writing(RecordingStore())
    first, _ = writing.store_part("table-1", DATA)
    second, _ = writing.store_part("table-2", DATA)
    assert first.new_bytes == first.stored_bytes == second.stored_bytes > 0
    assert second.new_bytes == 0
    assert writing.writer.reused == frozenset()
    assert sum(plain for plain, _ in writing.advanced) == 2 * len(DATA)
    assert sum(new for _, new in writing.advanced) == first.stored_bytes


def test_a_known_chunk_is_referred_to_and_counted_as_reused() -> None:
    """What an earlier run stored is looked for again before the manifest."""
    store = RecordingStore()
    before = Writing(store)
    before.store_part("rest", DATA)
    known = KnownChunks()
    for ref in before.remembered:
        known.add(ref)
    store.calls.clear()
    after = Writing(store, known=known)
    part, lines = after.store_part("rest", DATA)
    assert store.calls == []
    assert part.new_bytes == 0
    assert part.chunks == len(lines.splitlines()) == len(before.remembered)
    assert after.writer.reused == {ref.sha256 for ref in before.remembered}
    assert after.writer.referred == after.writer.reused
    assert before.writer.referred == after.writer.reused


def test_a_known_chunk_of_another_size_is_stored_again() -> None:
    """A list that lies about a size is not believed."""
    store = RecordingStore()
    before = Writing(store)
    before.store_part("rest", b"short")
    known = KnownChunks()
    for ref in before.remembered:
        known.add(ChunkRef(ref.id, ref.sha256, ref.object_bytes, ref.plain_bytes + 1))
    after = Writing(store, known=known)
    part, _ = after.store_part("rest", b"short")
    assert part.new_bytes == part.stored_bytes > 0


def test_an_empty_part_has_no_chunks() -> None:
    """And its list is an empty object."""
    part, lines = Writing(RecordingStore()).store_part("globals", b"")
    assert (part.chunks, part.plain_bytes, part.stored_bytes, lines) == (0, 0, 0, b"")


def test_a_source_that_fails_ends_the_part() -> None:
    """A dump that breaks off is no part."""

    class Broken:
        def readinto(self, buffer: memoryview) -> int:
            raise StoreError("the dump ended")

    writing = Writing(RecordingStore())
    with pytest.raises(StoreError, match="the dump ended"):
        writing.writer.store_part("rest", "rest", Broken(), lambda *_: None)


def test_no_plaintext_and_no_name_of_a_table_is_in_the_store() -> None:
    """Only the manifest's own fields are public."""
    store = RecordingStore()
    write(Writing(store))
    everything = b"".join(_objects(store))
    for secret in (DATA[:32], b"-- schema", b"clients", CHUNK_KEY.text.encode()[-20:]):
        assert secret not in everything
    assert json.loads(store.get(KEY.manifest))["database"] == "portal"


def test_the_manifest_is_signed_as_it_is_stored() -> None:
    """The very bytes."""
    writing = Writing(RecordingStore())
    made = writing.store_all(CONTENTS)
    writing.writer.finish(made)
    assert writing.store.get(KEY.manifest) == encode_manifest(made)


def _objects(store: MemoryStore) -> Iterator[bytes]:
    for key in store.list(""):
        yield key.encode()
        yield store.get(key)
