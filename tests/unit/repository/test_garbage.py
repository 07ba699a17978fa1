"""What nothing refers to: never one object too many, and nothing that may not be condemned."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from backup.errors import IntegrityError
from backup.repository import garbage
from backup.repository.chunks import ChunkRef, encode_list
from backup.repository.garbage import (
    References,
    condemned_chunks,
    decode_condemned,
    encode_condemned,
    left_over,
    may_be_condemned,
    read_condemned,
)
from backup.repository.layout import chunk_object_key, log_entry_key
from backup.repository.stores.memory import MemoryStore
from tests.samples import KEY, MOMENT


def digest(number: int) -> bytes:
    """The name of a chunk object."""
    return hashlib.sha256(b"%d" % number).digest()


def lines(*numbers: int) -> bytes:
    """A list of chunks."""
    return encode_list([ChunkRef(bytes(32), digest(n), 5, 5) for n in numbers])


def test_what_a_list_names_is_referred_to() -> None:
    """Whatever list came before it, and in whatever order the keys are asked for."""
    references = References()
    assert references.add_list(lines(*range(3000)), "one") == 3000
    assert references.add_list(lines(*range(2900, 3100)), "two") == 200
    assert references.add_list(b"", "empty") == 0
    keys = [chunk_object_key(digest(n)) for n in range(4000)]
    expected = {chunk_object_key(digest(n)) for n in range(3100, 4000)}
    assert set(references.unreferenced(keys)) == expected
    assert list(references.unreferenced(sorted(keys))) == sorted(expected)


def test_much_is_kept_in_little() -> None:
    """Compacting what was added twice loses nothing."""
    references = References()
    references._compact_at = 50
    for start in range(0, 200, 20):
        references.add_list(lines(*range(start, start + 40)), "list")
        references._before.clear()
    keys = [chunk_object_key(digest(n)) for n in range(250)]
    assert set(references.unreferenced(keys)) == set(keys[220:])


def test_names_that_begin_alike_are_taken_for_one() -> None:
    """One object too many is kept, never one too few."""
    references = References()
    references.add_list(encode_list([ChunkRef(bytes(32), bytes(32), 5, 5)]), "list")
    alike = chunk_object_key(bytes(8) + b"\1" * 24)
    assert list(references.unreferenced([alike])) == []


@pytest.mark.parametrize(
    "key",
    ["chunks/00/zz", "chunks/x", "other", f"chunks/01/{'0' * 64}", f"chunks/00/-{'f' * 63}", ""],
)
def test_what_is_no_chunk_object_is_never_garbage(key: str) -> None:
    """Keys that this version does not know are passed over."""
    assert list(References().unreferenced([key])) == []


@pytest.mark.parametrize(
    "data",
    [
        b"a b c\n",
        b"zz " * 3 + b"1\n",
        lines(1)[:-1],
        lines(1) + b"x",
        lines(1).replace(digest(1).hex().encode(), b"z" * 64),
    ],
)
def test_a_malformed_list_is_refused(data: bytes) -> None:
    """A reference that cannot be read may be to anything."""
    with pytest.raises(IntegrityError, match="malformed"):
        References().add_list(data, "list")


def test_condemned_keys_come_back_with_their_time() -> None:
    """A key a line, in order; so many to an object."""
    keys = [chunk_object_key(digest(n)) for n in range(5)] + [KEY.signature]
    store = MemoryStore()
    for name, data in encode_condemned(keys, MOMENT, [b"abc"]):
        store.put(name, data)
    (found,) = read_condemned(store)
    assert found.key == "condemned/20260114T020000Z-616263.keys"
    assert found.keys == tuple(sorted(keys))
    assert condemned_chunks(store) == {digest(n) for n in range(5)}
    assert not found.is_due(MOMENT + timedelta(hours=47), timedelta(days=2))
    assert found.is_due(MOMENT + timedelta(days=2), timedelta(days=2))


@pytest.mark.parametrize(
    "key",
    [
        KEY.manifest,
        log_entry_key(3),
        "repository.json",
        "pins/portal/x.json",
        "chunks/zz",
        "/etc",
        "",
    ],
)
def test_nothing_else_can_be_condemned(key: str) -> None:
    """Whoever can write to the store must not have a prune delete a manifest or the log."""
    assert not may_be_condemned(key)
    name = "condemned/20260114T020000Z-616263.keys"
    with pytest.raises(IntegrityError):
        decode_condemned(name, f"{KEY.catalog}\n{key}\n".encode())


def test_what_is_left_of_a_backup_that_is_gone() -> None:
    """Everything but a manifest, which makes a backup."""
    parts = [KEY.catalog, KEY.chunk_list("rest"), KEY.signature]
    assert list(left_over([*parts, KEY.manifest, "backups/x", "other"], [])) == parts
    assert list(left_over(parts, [KEY])) == []


def test_a_list_of_many_blocks_is_remembered_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next one, which is much like it, costs little."""
    monkeypatch.setattr(garbage, "_BLOCK_BYTES", 2**14)
    references, data = References(), lines(*range(1000))
    assert len(data) > 5 * 2**14
    for _ in range(2):
        assert references.add_list(data, "long") == 1000
    keys = [chunk_object_key(digest(n)) for n in range(1005)]
    assert set(references.unreferenced(keys)) == set(keys[1000:])


def test_of_a_long_list_only_the_beginning_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes later is counted once more than it had to be, and is referred to all the same."""
    monkeypatch.setattr(garbage, "_MANY", 10)
    monkeypatch.setattr(garbage, "_BLOCK_BYTES", 2**14)
    references = References()
    assert references.add_list(lines(*range(1000)), "long") == 1000
    keys = [chunk_object_key(digest(n)) for n in range(1005)]
    assert set(references.unreferenced(keys)) == set(keys[1000:])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("condemned/nonsense", b""),
        ("condemned/20260199T020000Z-616263.keys", b""),
        ("condemned/20260114T020000Z-616263.keys", "chünks".encode()),
    ],
)
def test_what_is_no_list_of_the_condemned_is_refused(name: str, data: bytes) -> None:
    """Nothing is deleted for it."""
    with pytest.raises(IntegrityError, match="no list of condemned objects"):
        decode_condemned(name, data)
