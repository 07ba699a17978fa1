"""The contract of `backup.repository.stores.base`: what every store does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup.errors import NotFoundError, ObjectExistsError, StoreError
from backup.repository.stores.base import Store

Reopen = Callable[[], Store]


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000])
def test_an_object_comes_back_as_it_was_put(store: Store, reopen: Reopen, data: bytes) -> None:
    """Whole, also to another process, as soon as `put` returned."""
    store.put("chunks/3f/object", data)
    assert store.get("chunks/3f/object") == data
    assert reopen().get("chunks/3f/object") == data


def test_any_buffer_can_be_put(store: Store) -> None:
    """What is put is the buffer's content at that moment."""
    buffer = bytearray(b"sealed")
    store.put("a", buffer, durable=False)
    buffer[:] = b"reused"
    store.put("b", memoryview(buffer)[1:3])
    store.sync()
    assert store.get("a") == b"sealed"
    assert store.get("b") == b"eu"


def test_what_is_not_durable_yet_is_whole_after_sync(store: Store, reopen: Reopen) -> None:
    """The barrier before a manifest."""
    for number in range(50):
        store.put(f"chunks/{number:02}", bytes([number]) * 1000, durable=False)
    store.sync()
    other = reopen()
    assert [other.get(key) for key in other.list("chunks/")] == [
        bytes([number]) * 1000 for number in range(50)
    ]
    store.sync()


def test_a_batch_that_is_larger_than_memory_should_hold_goes_on_its_way(store: Store) -> None:
    """Long before `sync`."""
    data = bytes(5 * 2**20)
    for number in range(8):
        store.put(f"large/{number}", data, durable=False)
    store.sync()
    assert [store.get(f"large/{number}") == data for number in range(8)] == [True] * 8


def test_a_durable_object_does_not_wait_for_others(store: Store, reopen: Reopen) -> None:
    """A manifest of one backup while another backup is being written."""
    store.put("a", b"later", durable=False)
    store.put("b", b"now")
    assert reopen().get("b") == b"now"
    store.sync()
    assert reopen().get("a") == b"later"


@pytest.mark.parametrize("durable", [True, False])
def test_an_object_is_never_replaced(store: Store, durable: bool) -> None:
    """Neither by another process nor by the same one."""
    store.put("key", b"first")
    with pytest.raises(ObjectExistsError):
        store.put("key", b"second", durable=durable)
        store.sync()
    assert store.get("key") == b"first"


def test_two_objects_of_one_key_in_one_batch_are_an_error(store: Store) -> None:
    """At once or from `sync`; the first one stays."""
    store.put("key", b"first", durable=False)
    with pytest.raises(ObjectExistsError):
        store.put("key", b"second", durable=False)
        store.sync()
    with contextlib.suppress(ObjectExistsError):
        store.sync()
    assert store.get("key") == b"first"


def test_of_many_threads_one_puts_an_object(store: Store) -> None:
    """The others are told, and the object is whole."""
    barrier = threading.Barrier(8)

    def put(number: int) -> bool:
        barrier.wait(60)
        try:
            store.put("manifest.json", bytes([number]) * 10_000)
        except ObjectExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert store.get("manifest.json") == bytes([won.index(True)]) * 10_000


def test_threads_may_put_and_sync_at_once(store: Store) -> None:
    """After its own `sync` each finds what it put."""

    def work(number: int) -> bool:
        for item in range(10):
            store.put(f"t{number}/{item}", b"x" * item, durable=item % 3 == 0)
        store.sync()
        return [len(store.get(f"t{number}/{item}")) for item in range(10)] == list(range(10))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(12)))
    assert len(list(store.list("t"))) == 120


def test_what_is_not_there_is_not_found(store: Store) -> None:
    """Also in a place that is no object, or below one."""
    store.put("a/b", b"")
    for key in ("x", "a/x", "a", "a/b/c", "x/y/z"):
        with pytest.raises(NotFoundError):
            store.get(key)


def test_keys_are_listed_in_the_order_of_the_whole_key(store: Store) -> None:
    """`-` sorts before `/` and `0` after it, whatever is a directory."""
    keys = ["a-b", "a/b", "a/b-/c", "a/b0", "a/bc/d", "a0", "ab", "b/a/a/a", "b/a/b", "%2E", "B"]
    for key in keys:
        if key != "a/b":
            store.put(key, b"", durable=False)
    store.put("a/b/x", b"", durable=False)
    store.sync()
    present = sorted([*keys[:1], *keys[2:], "a/b/x"])
    assert list(store.list("")) == present


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "a",
        "a/",
        "a-",
        "a/b",
        "a/b/",
        "a/b/c",
        "ab",
        "backups/app",
        "backups/app/",
        "z",
        "a/b/x/",
    ],
)
def test_a_prefix_is_that_of_the_text(store: Store, prefix: str) -> None:
    """Not of path segments: `backups/app` is also that of `backups/app-test/…`."""
    keys = sorted(
        ["a-x", "a/b/c/d", "a/b/x", "a/bb", "ab/c", "backups/app-test/1", "backups/app/1", "c"]
    )
    for key in keys:
        store.put(key, b"", durable=False)
    store.sync()
    assert list(store.list(prefix)) == [key for key in keys if key.startswith(prefix)]


def test_a_store_that_was_never_written_lists_nothing(store: Store) -> None:
    """It is no error: `init` begins there."""
    assert list(store.list("")) == []
    assert list(store.list("backups/")) == []


@pytest.mark.parametrize(
    "prefix", ["../", "/", "/etc/", "a/../", "./", "a//", ".incoming/", "\0/", "é/"]
)
def test_a_prefix_that_is_none_lists_nothing(store: Store, prefix: str) -> None:
    """Nothing outside is ever read."""
    store.put("a/b", b"")
    assert list(store.list(prefix)) == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "a/",
        ".incoming/x",
        ".hidden",
        "a/.hidden",
        "a\0b",
        "a b",
        "a\\b",
        "é",
        "a\nb",
        "a\n",
    ],
)
def test_what_is_no_key_is_refused(store: Store, key: str) -> None:
    """No key leads out of the store, whatever a name in a manifest says."""
    for work in (lambda: store.put(key, b""), lambda: store.get(key), lambda: store.delete(key)):
        with pytest.raises(StoreError, match="is not a key"):
            work()


def test_a_deleted_object_is_gone(store: Store, reopen: Reopen) -> None:
    """Deleting it again is no error: a sweep that died is run again."""
    store.put("a/b", b"x")
    store.put("a/c", b"y")
    store.delete("a/b")
    with pytest.raises(NotFoundError):
        reopen().get("a/b")
    assert list(store.list("")) == ["a/c"]
    for key in ("a/b", "never/was", "a/c/d"):
        store.delete(key)
    assert list(reopen().list("")) == ["a/c"]


def test_a_deleted_key_can_be_put_again(store: Store) -> None:
    """An `init` that died is begun again."""
    store.put("chunk-key.age", b"1")
    store.delete("chunk-key.age")
    store.put("chunk-key.age", b"2")
    assert store.get("chunk-key.age") == b"2"


def test_deleting_while_listing_is_safe(store: Store) -> None:
    """A sweep goes through its list and deletes."""
    keys = [f"chunks/{number:02x}/x" for number in range(64)]
    for key in keys:
        store.put(key, b"", durable=False)
    store.sync()
    seen = []
    for key in store.list("chunks/"):
        store.delete(key)
        seen.append(key)
    assert seen == keys
    assert list(store.list("")) == []


def test_an_address_says_where_the_store_is(store: Store) -> None:
    """For messages and reports."""
    assert store.address
