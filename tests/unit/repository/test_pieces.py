"""A long list is written and read a piece at a time, and it is the same text."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from pydantic import ConfigDict

from backup.errors import IntegrityError
from backup.repository.canonical import STRICT, decode, encode
from backup.repository.catalog import Catalog, Relation, SchemaObject
from backup.repository.chunking import ChunkSizes
from backup.repository.manifest import RepositoryDescription
from backup.repository.pieces import decode_pieces, encode_pieces
from tests import samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A number that may stand at the end of a window, and a list of them."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    many: tuple[int, ...]
    one: int


def large(objects: int) -> Catalog:
    """A catalogue with so many objects and tables."""
    catalog = samples.catalog()
    return replace(
        catalog,
        objects=tuple(
            SchemaObject(
                kind="table",
                name=f"public.t{number}é",
                definition_sha256=number.to_bytes(32, "big"),
                owner="owner",
                grants=None,
                table=None,
                is_validated=None,
            )
            for number in range(objects)
        ),
        relations=tuple(
            Relation(
                schema="public", name=f"t{number}é", kind="table", size_bytes=number, rows=None
            )
            for number in range(objects)
        ),
    )


@pytest.mark.parametrize(
    "value",
    [
        samples.catalog(),
        replace(samples.catalog(), digests=None, covers=("one", "two"), filed_as=None),
        large(999),
        large(1000),
        large(1001),
        large(2500),
        samples.manifest(),
        samples.manifest(previous=None, log=None, warnings=()),
        samples.DESCRIPTION,
        Numbers(many=(), one=0),
        Numbers(many=(2**53, -(2**53)), one=7),
    ],
)
def test_it_is_the_text_of_canonical(value: object) -> None:
    """Both ways, whatever the size of the window."""
    data = b"".join(encode_pieces(value))
    assert data == encode(value)
    assert decode_pieces(type(value), data, "object") == value
    for window in (1, 2, 3, 7, 64, len(data) - 1, len(data), len(data) + 1):
        assert decode_pieces(type(value), memoryview(data), "object", window_bytes=window) == value
        if len(data) > 10_000:
            break


def test_what_an_earlier_version_left_out_has_its_default() -> None:
    """`covers` and `filed_as` came later."""
    catalog = replace(samples.catalog(), filed_as=None)
    data = encode(catalog)
    for field in (b'"covers":[],', b'"filed_as":null,', b',"is_cycling":false', b'"part":null,'):
        assert field in data
        data = data.replace(field, b"")
    assert decode(Catalog, data, "object") == catalog
    assert decode_pieces(Catalog, data, "object") == catalog


def test_a_value_longer_than_a_window_is_read_whole() -> None:
    """A comment may be of any length."""
    catalog = samples.catalog()
    long = replace(catalog, database=replace(catalog.database, comment="naïve 💾\n" * 5000))
    assert decode_pieces(Catalog, encode(long), "object", window_bytes=64) == long


GOOD = encode(samples.catalog())


def swapped(one: bytes, other: bytes) -> Callable[[bytes], bytes]:
    """A change of one text for another, which must be there."""

    def change(data: bytes) -> bytes:
        assert one in data
        return data.replace(one, other, 1)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"{}",
        lambda data: b"[]",
        lambda data: b"[" * 100_000,
        lambda data: b'{"collations":' + b"[" * 100_000,
        lambda data: b"\xff",
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data + data,
        lambda data: data[:-1] + b"\xc3",
        lambda data: data[:-1] + b',"surprise":1}',
        lambda data: b'{"a":1,' + data[1:],
        lambda data: b"{7:1," + data[1:],
        swapped(b'"bootstrap_superuser":"postgres",', b""),
        swapped(b'"bootstrap_superuser":"postgres"', b'"bootstrap_superuser":"\\u0070ostgres"'),
        swapped(b'"bootstrap_superuser":', b'"bootstrap_superuser": '),
        swapped(b'"bootstrap_superuser":', b'"bootstrap_superuser"'),
        swapped(b'"bootstrap_superuser":"postgres"', b'"bootstrap_superuser":7'),
        swapped(
            b'"bootstrap_superuser":"postgres","coll', b'"collations":[],"bootstrap_superuser":"'
        ),
        swapped(b'"large_objects":2', b'"large_objects":2.0'),
        swapped(b'"large_objects":2', b'"large_objects":9007199254740993'),
        swapped(b'"large_objects":2', b'"large_objects":true'),
        swapped(b'"large_objects":2', b'"large_objects":2,"large_objects":2'),
        swapped(b'"rows":3', b'"rows":3.5'),
        swapped(b'"rows":3', b'"rows":"3"'),
        swapped(b'"rows":3', b'"rows":03'),
        swapped(b'"rows":3', b'"rows":3,"rows":3'),
        swapped(b'"subscriptions":[]', b'"subscriptions":[,]'),
        swapped(b'"subscriptions":[]', b'"subscriptions":["a",]'),
        swapped(b'"subscriptions":[]', b'"subscriptions":["a" ,"b"]'),
        swapped(b'"subscriptions":[]', b'"subscriptions":{}'),
        swapped(b'"subscriptions":[]', b'"subscriptions":null'),
        swapped(b'"subscriptions":[]', b'"subscriptions":[7]'),
        swapped(b'"database":{', b'"database":null,"x":{'),
        swapped(b'"last_value":"-9223372036854775808"', b'"last_value":-9223372036854775808'),
    ],
)
@pytest.mark.parametrize("window_bytes", [5, 1 << 18])
def test_what_canonical_refuses_is_refused_in_its_words(
    change: Callable[[bytes], bytes], window_bytes: int
) -> None:
    """With the same hint: nobody should have to know that there are two ways to read."""
    assert_refused(Catalog, change(GOOD), window_bytes)


def assert_refused(kind: type[object], data: bytes, window_bytes: int) -> None:
    """Both ways, in the same words."""
    with pytest.raises(IntegrityError) as expected:
        decode(kind, data, "the-object")
    with pytest.raises(IntegrityError) as caught:
        decode_pieces(kind, data, "the-object", window_bytes=window_bytes)
    assert (caught.value.message, caught.value.hint) == (
        expected.value.message,
        expected.value.hint,
    )


def test_one_item_is_no_list_of_it() -> None:
    """Nor is one object a list of values, wherever a list stands."""
    whole = json.loads(GOOD)
    lists = [(whole, name) for name in whole if isinstance(whole[name], list)]
    lists += [(whole["digests"], name) for name in ("tables", "large_objects")]
    lists += [(whole["database"], name) for name in ("settings", "grants")]
    assert len(lists) == 15
    for around, name in lists:
        items = around[name]
        around[name] = items[0] if items else {}
        data = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert_refused(Catalog, data, 1 << 18)
        around[name] = items


def test_an_object_in_place_of_a_time_is_refused() -> None:
    """Or of anything else that is one text."""
    data = encode(samples.DESCRIPTION)
    time = json.dumps(json.loads(data)["created"]).encode()
    assert_refused(RepositoryDescription, data.replace(time, b"{}"), 1 << 18)


def test_what_a_value_itself_refuses_is_damage_too() -> None:
    """Chunk sizes that can't be."""
    data = encode(samples.DESCRIPTION).replace(b'"average":256', b'"average":1')
    with pytest.raises(IntegrityError, match=r"repository\.json: chunk sizes 64, 1, 1024"):
        decode_pieces(RepositoryDescription, data, "repository.json")
    with pytest.raises(IntegrityError, match="sizes: chunk sizes"):
        decode_pieces(ChunkSizes, b'{"average":1,"maximum":2,"minimum":3}', "sizes")


def test_a_long_list_is_never_there_twice() -> None:
    """Else fifty thousand tables would take a multiple of what we promise."""
    catalog = large(20_000)
    data = encode(catalog)

    def peak(work: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            kept = work()
            assert kept is not None
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    assert peak(lambda: sum(map(len, encode_pieces(catalog)))) < peak(lambda: encode(catalog)) / 10
    assert (
        peak(lambda: decode_pieces(Catalog, data, "object"))
        < peak(lambda: decode(Catalog, data, "object")) / 2
    )
