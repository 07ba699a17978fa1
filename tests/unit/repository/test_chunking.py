"""The chunk key and the sizes of chunks."""

from __future__ import annotations

import io

import pytest
from blake3 import blake3

from backup.errors import IntegrityError, SettingsError
from backup.repository.chunking import DEFAULT_CHUNK_SIZES, KIB, MIB, ChunkKey, ChunkSizes, cut

KEY = ChunkKey(bytes(range(32)))
TEXT = "strongroom-chunk-key-1:" + bytes(range(32)).hex() + "\n"


def test_a_chunk_key_is_kept_as_one_line_of_text() -> None:
    """The prefix says what it is when someone finds it."""
    assert KEY.text == TEXT
    assert ChunkKey.from_text(TEXT) == KEY
    assert ChunkKey.from_text(TEXT.strip()) == KEY
    assert hash(ChunkKey.from_text(TEXT)) == hash(KEY)
    assert ChunkKey(bytes(32)) != KEY
    assert KEY != TEXT


@pytest.mark.parametrize(
    "text",
    ["", TEXT[1:], bytes(32).hex(), TEXT[:-3], TEXT.strip() + "00", TEXT.replace("0", "g"), "  "],
)
def test_what_is_no_chunk_key_is_refused_without_being_shown(text: str) -> None:
    """The text may be another secret."""
    with pytest.raises(IntegrityError) as caught:
        ChunkKey.from_text(text)
    assert "0102" not in caught.value.message


def test_a_chunk_key_never_shows_itself() -> None:
    """It would end up in a log."""
    assert repr(KEY) == str(KEY) == "ChunkKey(…)"


def test_ids_are_keyed_blake3() -> None:
    """docs/format.md has these vectors; without the key nobody can compute an id."""
    assert KEY.id_of(b"") == blake3(b"", key=bytes(range(32))).digest()
    assert KEY.id_of(b"abc").hex() == (
        "6da54495d8152f2bcba87bd7282df70901cdb66b4448ed5f4c7bd2852b8b5532"
    )
    assert KEY.id_of(memoryview(b"abc")) == KEY.id_of(bytearray(b"abc"))


def test_the_cutter_is_seeded_from_the_chunk_key() -> None:
    """63 bits of the derived key; another key cuts elsewhere."""
    derived = blake3(bytes(range(32)), derive_key_context="strongroom 2026 fastcdc seed")
    assert KEY.cut_seed == int.from_bytes(derived.digest(length=8), "little") >> 1
    assert KEY.cut_seed != ChunkKey(bytes(32)).cut_seed


def test_every_seed_that_a_key_can_give_is_taken_by_the_cutter() -> None:
    """The library doubles the seed in 64 bits."""
    sizes = ChunkSizes(minimum=64, average=256, maximum=1024)
    assert list(cut(io.BytesIO(b""), sizes, 2**63 - 1)) == []


def test_default_sizes_are_those_of_the_format() -> None:
    """128 KiB, 512 KiB, 2 MiB."""
    assert (DEFAULT_CHUNK_SIZES.minimum, DEFAULT_CHUNK_SIZES.average) == (128 * KIB, 512 * KIB)
    assert DEFAULT_CHUNK_SIZES.maximum == 2 * MIB


@pytest.mark.parametrize(
    ("minimum", "average", "maximum"),
    [
        (63, 256, 1024),
        (64, 255, 1024),
        (64, 256, 1023),
        (512, 256, 1024),
        (64, 2048, 1024),
        (MIB + 1, 4 * MIB, 4 * MIB),
        (MIB, 4 * MIB + 1, 16 * MIB),
        (MIB, 4 * MIB, 16 * MIB + 1),
    ],
)
def test_sizes_that_the_cutter_cannot_take_are_refused(
    minimum: int, average: int, maximum: int
) -> None:
    """They are fixed for the repository's life, so `init` must refuse them."""
    with pytest.raises(SettingsError, match="do not fit"):
        ChunkSizes(minimum=minimum, average=average, maximum=maximum)


def test_the_largest_and_the_smallest_sizes_are_taken() -> None:
    """The limits themselves are allowed."""
    ChunkSizes(minimum=64, average=256, maximum=1024)
    ChunkSizes(minimum=MIB, average=4 * MIB, maximum=16 * MIB)
