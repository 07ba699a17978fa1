"""One text for one value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict

from backup.errors import IntegrityError
from backup.repository import catalog, chunking, manifest
from backup.repository.canonical import STRICT, IntegerAsText, Sha256, UtcTime, decode, encode
from tests import samples

STORED = sorted(
    {
        kind
        for module in (catalog, chunking, manifest)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and dataclasses.is_dataclass(kind)
        and hasattr(kind, "__pydantic_config__")
    },
    key=lambda kind: kind.__name__,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something stored."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    b: int
    a: str
    big: IntegerAsText = 0
    when: UtcTime = datetime(2026, 1, 14, 2, tzinfo=UTC)
    sha256: Sha256 = bytes(32)
    anything: Any = None


def test_the_text_is_sorted_without_spaces_in_utf8() -> None:
    """Nothing is escaped that JSON does not need escaped."""
    assert (
        encode(Thing(b=1, a='ü"\n'))
        == (
            '{"a":"ü\\"\\n","anything":null,"b":1,"big":"0","sha256":"'
            + "00" * 32
            + '","when":"2026-01-14T02:00:00Z"}'
        ).encode()
    )


def test_what_passes_2_to_53_is_text() -> None:
    """Other readers of JSON hold numbers as doubles."""
    thing = Thing(b=2**53, a="", big=-(2**63))
    assert b'"big":"-9223372036854775808"' in encode(thing)
    assert decode(Thing, encode(thing), "thing") == thing
    with pytest.raises(TypeError, match=r"2\^53"):
        encode(Thing(b=2**53 + 1, a=""))


@pytest.mark.parametrize("value", [1.5, {"x": [1.0]}])
def test_floats_are_never_stored(value: object) -> None:
    """They have no one text."""
    with pytest.raises(TypeError, match="float"):
        encode(Thing(b=1, a="", anything=value))


@pytest.mark.parametrize(
    "number", ["1.5", "1.0", "1e3", "-0.0", "9007199254740993", "-9007199254740993"]
)
@pytest.mark.parametrize("around", ["{}", '{{"x":[{}]}}'])
def test_numbers_that_another_reader_may_read_otherwise_are_refused(
    number: str, around: str
) -> None:
    """Wherever any value may stand, and however deep in it."""
    whole = encode(Thing(b=1, a="", anything=7))
    assert decode(Thing, whole, "thing").anything == 7
    data = whole.replace(b'"anything":7', f'"anything":{around.format(number)}'.encode())
    assert data != whole
    with pytest.raises(IntegrityError, match="is not canonical JSON"):
        decode(Thing, data, "thing")


def test_times_are_stored_in_utc_only() -> None:
    """A time in another zone is a mistake of the program that made it."""
    zone = timezone(timedelta(hours=1))
    with pytest.raises(Exception, match="must be in UTC"):
        encode(Thing(b=1, a="", when=datetime(2026, 1, 1, tzinfo=zone)))
    with pytest.raises(Exception, match="must be in UTC"):
        encode(Thing(b=1, a="", when=datetime(2026, 1, 1)))  # noqa: DTZ001
    precise = Thing(b=1, a="", when=datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC))
    assert b'"2026-01-01T00:00:00.000001Z"' in encode(precise)


DIGEST = "a5" * 32
GOOD = encode(Thing(b=1, a="x", sha256=bytes.fromhex(DIGEST)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the text"),
        (b"[]", "the text"),
        (b"[" * 100_000, "the text"),
        (b"\xff", "the text"),
        (GOOD[:-1], "the text"),
        (GOOD.replace(b'"b":1', b'"b":1.0'), "b: "),
        (GOOD.replace(b'"b":1', b'"b":1.5'), "b: "),
        (GOOD.replace(b'"b":1', b'"b":"1"'), "b: "),
        (GOOD.replace(b'"b":1', b'"b":true'), "b: "),
        (GOOD.replace(b'"b":1', b'"b":null'), "b: "),
        (GOOD.replace(b'"b":1', b'"b":1,"c":2'), "c: "),
        (GOOD.replace(b'"b":1,', b""), "b: "),
        (GOOD.replace(b'"big":"0"', b'"big":"00"'), "big: "),
        (GOOD.replace(b'"big":"0"', b'"big":"+1"'), "big: "),
        (GOOD.replace(b'"big":"0"', b'"big":""'), "big: "),
        (GOOD.replace(b"02:00:00Z", b"02:00:00"), "when: "),
        (GOOD.replace(b"02:00:00Z", b"02:00:00+00:00"), "when: "),
        (GOOD.replace(b"02:00:00Z", b"25:00:00Z"), "when: "),
        (GOOD.replace(b'"2026-01-14T02:00:00Z"', b"1768356000"), "when: "),
        (GOOD.replace(DIGEST.encode(), DIGEST.upper().encode()), "sha256: "),
        (GOOD.replace(DIGEST.encode(), DIGEST[:-2].encode()), "sha256: "),
        (GOOD.replace(DIGEST.encode(), f"{DIGEST}a5".encode()), "sha256: "),
        (GOOD.replace(f'"{DIGEST}"'.encode(), b"7"), "sha256: "),
        (GOOD + b"\n", "canonical"),
        (b" " + GOOD, "canonical"),
        (GOOD.replace(b'"a":"x"', b'"a":"\\u0078"'), "canonical"),
        (GOOD.replace(b'"a":"x"', b'"a":"y","a":"x"'), "canonical"),
        (GOOD.replace(b'"big":"0"', b'"big":0'), "big: "),
        (GOOD.replace(b'"b":1', b'"b":9007199254740993'), "canonical"),
    ],
)
def test_any_other_text_is_refused_by_name_and_field(data: bytes, message: str) -> None:
    """What another reader could read otherwise is no stored value."""
    with pytest.raises(IntegrityError, match=rf"^the-object .*{message}"):
        decode(Thing, data, "the-object")


def test_a_newer_format_names_who_wrote_it_and_what_to_do() -> None:
    """At three in the morning the message is all there is."""
    data = encode(samples.DESCRIPTION).replace(b'"format":1', b'"format":2')
    with pytest.raises(IntegrityError, match=r"format: input should be 1") as caught:
        decode(manifest.RepositoryDescription, data, "repository.json")
    assert caught.value.hint == (
        "it says that 'strongroom test' wrote it: read it with that version or a newer one"
    )


def test_a_text_that_says_nothing_of_its_writer_asks_for_an_upgrade() -> None:
    """Also when it is no JSON at all."""
    for data in (b"{}", b"no json", b"[1]", b'{"written_by":7}'):
        with pytest.raises(IntegrityError) as caught:
            decode(manifest.RepositoryDescription, data, "repository.json")
        assert "strongroom --version" in (caught.value.hint or "")


def test_chunk_sizes_that_cannot_be_are_damage_when_they_are_stored() -> None:
    """A setting that is wrong and an object that is wrong end with different exit codes."""
    data = encode(samples.DESCRIPTION).replace(b'"average":256', b'"average":1')
    with pytest.raises(IntegrityError, match=r"repository\.json: chunk sizes 64, 1, 1024"):
        decode(manifest.RepositoryDescription, data, "repository.json")


def test_every_stored_dataclass_forbids_what_it_does_not_know() -> None:
    """A field that is skipped may be the one that matters."""
    assert len(STORED) >= 13
    for kind in STORED:
        assert kind.__pydantic_config__ == {"extra": "forbid", "strict": True}, kind
        with pytest.raises(IntegrityError, match="does not follow"):
            decode(kind, b'{"surprise":1}', "object")
