"""Chunks as objects, and the lines that list them: doubt is refused, whatever it is."""

from __future__ import annotations

import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from backup.crypto import age
from backup.crypto.recipients import X25519Identity
from backup.errors import IntegrityError, KeyUnavailableError
from backup.repository.chunking import MAXIMUM_CHUNK_BYTES, ChunkKey
from backup.repository.chunks import (
    ChunkRef,
    check_object,
    decode_chunk,
    decode_list,
    encode_chunk,
    encode_list,
)
from tests.samples import CHUNK_KEY, IDENTITY

PLAIN = b"a row of the portal\n" * 40
REF, OBJECT = encode_chunk(PLAIN, CHUNK_KEY.id_of(PLAIN), [IDENTITY.recipient], level=1)
LINE = encode_list([REF])


def opened(data: bytes, ref: ChunkRef, key: ChunkKey | None = CHUNK_KEY) -> bytes:
    """What a reader gets."""
    return decode_chunk(data, ref, "chunks/xx", identities=[IDENTITY], key=key)


def listed(compressed: bytes, plain: bytes) -> tuple[bytes, ChunkRef]:
    """An object of any content, listed as if it were right: what a hostile writer could do."""
    sealed = bytes(age.seal(compressed, [IDENTITY.recipient]))
    digest = hashlib.sha256(sealed).digest()
    return sealed, ChunkRef(CHUNK_KEY.id_of(plain), digest, len(sealed), len(plain))


def test_an_object_gives_back_its_chunk() -> None:
    """With the chunk key or without."""
    assert opened(bytes(OBJECT), REF) == PLAIN
    assert opened(bytes(OBJECT), REF, key=None) == PLAIN


def test_an_object_is_an_age_file_around_one_zstd_frame_with_size_and_checksum() -> None:
    """So `age -d | zstd -d` opens it, and notices damage."""
    frame = zstandard.get_frame_parameters(age.unseal(OBJECT, [IDENTITY]))
    assert frame.content_size == len(PLAIN) == REF.plain_bytes
    assert frame.has_checksum
    assert frame.dict_id == 0
    assert (REF.object_bytes, REF.sha256) == (len(OBJECT), hashlib.sha256(OBJECT).digest())


def test_one_chunk_sealed_twice_is_two_objects() -> None:
    """Names tell nothing of what is inside, and writers never collide."""
    other, _ = encode_chunk(PLAIN, REF.id, [IDENTITY.recipient], level=1)
    assert other.id == REF.id
    assert other.sha256 != REF.sha256


def test_threads_do_not_share_a_compressor() -> None:
    """Each has its own, per level."""
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(
            lambda n: encode_chunk(PLAIN * n, REF.id, [IDENTITY.recipient], level=1 + n % 3),
            range(1, 40),
        )
        sizes = [
            len(decode_chunk(bytes(data), ref, "x", identities=[IDENTITY], key=None))
            for ref, data in made
        ]
    assert sizes == [len(PLAIN) * n for n in range(1, 40)]


def test_any_flipped_byte_is_refused() -> None:
    """Whichever it is, and before anything is decrypted."""
    for position in range(len(OBJECT)):
        damaged = bytearray(OBJECT)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(IntegrityError, match="chunks/xx is not what was written"):
            opened(bytes(damaged), REF)


def test_any_truncation_or_addition_is_refused() -> None:
    """A size is compared, then the digest."""
    for damaged in (b"", OBJECT[:1], OBJECT[: len(OBJECT) // 2], OBJECT[:-1], OBJECT + b"\0"):
        with pytest.raises(IntegrityError, match="not what was written"):
            check_object(bytes(damaged), REF, "chunks/xx")


def test_swapped_objects_are_refused() -> None:
    """Both are valid; neither is the one that is listed."""
    ref, data = encode_chunk(b"other", CHUNK_KEY.id_of(b"other"), [IDENTITY.recipient], level=1)
    with pytest.raises(IntegrityError):
        opened(bytes(OBJECT), ref)
    with pytest.raises(IntegrityError):
        opened(bytes(data), REF)


def test_a_line_that_names_another_chunk_is_refused_where_the_key_is_known() -> None:
    """A signer that lies about a chunk's id would poison deduplication."""
    ref = dataclasses.replace(REF, id=bytes(32))
    with pytest.raises(IntegrityError, match="another chunk"):
        opened(bytes(OBJECT), ref)
    assert opened(bytes(OBJECT), ref, key=None) == PLAIN


def test_a_wrong_plain_size_is_refused_before_decompressing() -> None:
    """The frame says its own size."""
    ref = dataclasses.replace(REF, plain_bytes=len(PLAIN) + 1)
    with pytest.raises(IntegrityError, match=f"claims {len(PLAIN)} bytes"):
        opened(bytes(OBJECT), ref)


def test_a_bomb_is_not_decompressed() -> None:
    """A frame may not hold more than is listed, whatever it says of itself."""
    bomb = zstandard.ZstdCompressor().compress(bytes(2**26))
    with pytest.raises(IntegrityError, match="claims 67108864 bytes"):
        opened(*listed(bomb, PLAIN))
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(2**26))
    with pytest.raises(IntegrityError, match="claims"):
        opened(*listed(silent, PLAIN))


def test_anything_but_exactly_one_frame_is_refused() -> None:
    """`zstd -d` would go on where we stop: both must read the same."""
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN)
    for compressed in (frame + b"junk", frame + frame, frame[:-1], b"", b"junk", b"\0" + frame):
        with pytest.raises(IntegrityError, match="does not decompress"):
            opened(*listed(compressed, PLAIN))


def test_a_skippable_frame_holds_no_chunk() -> None:
    """Its content is not data."""
    skippable = b"\x50\x2a\x4d\x18" + len(PLAIN).to_bytes(4, "little") + PLAIN
    with pytest.raises(IntegrityError):
        opened(*listed(skippable, PLAIN))


def test_an_object_that_is_no_age_file_is_refused_by_name() -> None:
    """Listed right or not."""
    ref = ChunkRef(REF.id, hashlib.sha256(b"not age").digest(), 7, 1)
    with pytest.raises(IntegrityError, match=r"^chunks/xx: "):
        opened(b"not age", ref)


def test_another_identity_is_not_damage() -> None:
    """Verify must not call a backup broken because of the wrong key."""
    with pytest.raises(KeyUnavailableError):
        decode_chunk(bytes(OBJECT), REF, "x", identities=[X25519Identity.generate()], key=CHUNK_KEY)


def test_a_list_has_a_line_per_chunk() -> None:
    """Id, SHA-256, object bytes, plain bytes."""
    assert (
        f"{REF.id.hex()} {REF.sha256.hex()} {REF.object_bytes} {REF.plain_bytes}\n".encode()
    ) == LINE
    assert list(decode_list(LINE * 3, "list")) == [REF] * 3
    assert list(decode_list(b"", "list")) == []


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        LINE[:-1],
        LINE[:-1] + b"\r\n",
        LINE[:-1] + b" \n",
        b" " + LINE,
        LINE.replace(b" ", b"  ", 1),
        LINE.replace(b" ", b"\t", 1),
        LINE[1:],
        b"00" + LINE,
        LINE.upper(),
        LINE.replace(b" 800\n", b" 0800\n"),
        LINE.replace(b" 800\n", b" +800\n"),
        LINE.replace(b" 800\n", b" -800\n"),
        LINE.replace(b" 800\n", b" 8_00\n"),
        LINE.replace(b" 800\n", b" 0\n"),
        LINE.replace(b" 800\n", b" %d\n" % (MAXIMUM_CHUNK_BYTES + 1)),
        LINE.replace(b" 800\n", b" 99999999999999999999\n"),
        LINE.replace(b" 800\n", b" 800 1\n"),
        LINE.replace(b" 800\n", b" \xd9\xa8\n"),
        LINE.replace(b" %d " % REF.object_bytes, b" 0 "),
        LINE.replace(b" %d " % REF.object_bytes, b" -5 "),
        LINE.replace(b" %d " % REF.object_bytes, b" 4294967296 "),
    ],
)
def test_a_line_in_any_other_spelling_is_refused_by_number(line: bytes) -> None:
    """One chunk has one line; sizes that no chunk has are no sizes."""
    assert line != LINE
    with pytest.raises(IntegrityError, match=r"^line 2 of parts/rest is malformed"):
        list(decode_list(LINE + line + LINE, "parts/rest"))


@pytest.mark.parametrize(
    ("data", "ref", "flaw"),
    [
        (bytes(OBJECT[:-1]), REF, "truncated"),
        (bytes(OBJECT[:-1]) + b"\xff\xff", REF, "altered"),
        (bytes(OBJECT[:-1]) + bytes([OBJECT[-1] ^ 1]), REF, "altered"),
        (*listed(b"no frame at all", PLAIN), "unauthentic"),
        (*listed(zstandard.compress(b"something else"), PLAIN), "unauthentic"),
    ],
)
def test_an_error_says_in_what_way_an_object_is_wrong(
    data: bytes, ref: ChunkRef, flaw: str
) -> None:
    """Shorter than listed, other bytes than listed, or as listed and still no such chunk."""
    with pytest.raises(IntegrityError) as caught:
        opened(data, ref)
    assert caught.value.flaw == flaw
