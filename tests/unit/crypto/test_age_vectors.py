"""The published age vectors (C2SP CCTV): every file is put in the class that it belongs to."""

from __future__ import annotations

import functools
import io
import zlib
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from backup.crypto.age import unseal, unseal_stream
from backup.crypto.armor import ArmorReader, ArmorWriter, open_armor
from backup.crypto.header import Stanza, encode_header, read_header
from backup.crypto.recipients import Identity, PassphraseIdentity, parse_identities
from backup.crypto.source import ExactSource, Source
from backup.errors import IntegrityError, KeyUnavailableError

TESTDATA = Path(__file__).parents[2] / "vectors" / "cctv-age" / "testdata"
NAMES = sorted(path.name for path in TESTDATA.iterdir())
MESSAGES = {
    "armor failure": "age armor is wrong: ",
    "header failure": "age header is wrong: ",
    "HMAC failure": "age header MAC is wrong: ",
    "payload failure": "age payload is wrong: ",
}


@dataclass(kw_only=True)
class Vector:
    """One file of the testkit."""

    expect: str = ""
    payload: str | None = None
    file_key: bytes = b""
    identities: list[Identity] = field(default_factory=list)
    is_armored: bool = False
    file: bytes = b""

    @property
    def source(self) -> Source:
        """The file, with the armor reader in front where the vector is about armor."""
        return ArmorReader(io.BytesIO(self.file)) if self.is_armored else io.BytesIO(self.file)


@functools.cache
def read_vector(name: str) -> Vector:
    header, _, file = (TESTDATA / name).read_bytes().partition(b"\n\n")
    vector = Vector(file=file)
    for line in header.decode().splitlines():
        key, _, value = line.partition(": ")
        match key:
            case "expect":
                vector.expect = value
            case "payload":
                vector.payload = value
            case "identity":
                vector.identities += parse_identities(value)
            case "passphrase":
                vector.identities.append(PassphraseIdentity(passphrase=value))
            case "armored":
                vector.is_armored = True
            case "compressed":
                vector.file = zlib.decompress(file)
            case "file key":
                vector.file_key = bytes.fromhex(value)
            case _:
                assert key == "comment"
    return vector


def class_of(error: Exception | None) -> str:
    if error is None:
        return "success"
    if isinstance(error, KeyUnavailableError):
        return "no match"
    return next(name for name, start in MESSAGES.items() if str(error).startswith(start))


def test_all_published_vectors_are_here() -> None:
    """No vector was lost on the way into this repository."""
    assert len(NAMES) == 143


@pytest.mark.parametrize("name", NAMES)
def test_stream_reader_puts_each_vector_in_its_class(name: str) -> None:
    """Streaming classes the file as published and releases just the payload that authenticated."""
    vector = read_vector(name)
    sink = io.BytesIO()
    error: Exception | None = None
    try:
        unseal_stream(vector.source, sink, vector.identities)
    except (IntegrityError, KeyUnavailableError) as caught:
        error = caught
    assert class_of(error) == vector.expect
    if vector.payload is not None:
        assert sha256(sink.getvalue()).hexdigest() == vector.payload
    else:
        assert not sink.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_whole_reader_puts_each_vector_in_its_class(name: str) -> None:
    """Opening a whole file in memory classes it as published; armor is taken off first."""
    vector = read_vector(name)
    plaintext = bytearray()
    error: Exception | None = None
    try:
        file = ExactSource(vector.source).read(2**27)
        plaintext = unseal(file, vector.identities)
    except (IntegrityError, KeyUnavailableError) as caught:
        error = caught
    assert class_of(error) == vector.expect
    if vector.expect == "success":
        assert sha256(plaintext).hexdigest() == vector.payload


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("armor_")])
def test_armor_is_recognised_and_never_opens_more_than_asked_for_explicitly(name: str) -> None:
    """Without being told, the reader finds the armor itself, and refuses what armor must refuse."""
    vector = read_vector(name)
    sink = io.BytesIO()
    if vector.expect == "success":
        unseal_stream(io.BytesIO(vector.file), sink, vector.identities)
        assert sha256(sink.getvalue()).hexdigest() == vector.payload
    else:
        with pytest.raises((IntegrityError, KeyUnavailableError)):
            unseal_stream(io.BytesIO(vector.file), sink, vector.identities)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_parsed_is_written_the_same_again(name: str) -> None:
    """Armor and header of every readable vector re-encode to the bytes that were read."""
    vector = read_vector(name)
    if vector.is_armored:
        if vector.expect != "armor failure":
            armored = io.BytesIO()
            writer = ArmorWriter(armored)
            writer.write(ExactSource(vector.source).read(2**27))
            writer.close()
            assert armored.getvalue() == vector.file.replace(b"\r\n", b"\n").strip() + b"\n"
    elif vector.expect not in ("header failure", "HMAC failure", "no match"):
        header = read_header(open_armor(vector.source)[0])
        stanzas = [Stanza.encode(stanza) for stanza in header.stanzas]
        assert encode_header(stanzas, vector.file_key) == vector.file[: header.size_bytes]
