"""Every pair of crypto undoes itself, for whatever goes in."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backup.crypto import bech32
from backup.crypto.age import seal, seal_stream, unseal, unseal_stream
from backup.crypto.armor import ArmorReader, ArmorWriter
from backup.crypto.canonical import decode_padded, decode_unpadded, encode_unpadded
from backup.crypto.header import Stanza, encode_header, read_header
from backup.crypto.recipients import (
    HybridIdentity,
    Identity,
    PassphraseIdentity,
    PassphraseRecipient,
    Recipient,
    X25519Identity,
    parse_identities,
    parse_recipient,
)
from backup.crypto.source import ExactSource
from backup.crypto.sshsig import AllowedSigner, AllowedSigners, PublicKey, SigningKey, sign, verify
from backup.crypto.stream import plain_size, sealed_size
from backup.errors import IntegrityError, KeyUnavailableError, SettingsError

X25519 = X25519Identity.generate()
HYBRID = HybridIdentity.generate()
PAIRS: list[tuple[Recipient, Identity]] = [
    (X25519.recipient, X25519),
    (HYBRID.recipient, HYBRID),
    (PassphraseRecipient(passphrase="p", work_factor=1), PassphraseIdentity(passphrase="p")),
]
KEY = SigningKey.generate("backup@host")

# Sizes lie around the edges of chunks: lengths that hypothesis draws alone would never get there.
sizes = st.builds(
    lambda chunks, offset: max(0, chunks * 65536 + offset), st.integers(0, 3), st.integers(-2, 2)
)
seeds = st.binary(min_size=32, max_size=32)
hrps = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).map(
    str.lower
)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
stanzas = st.builds(
    lambda kind, arguments, body: Stanza(kind=kind, arguments=tuple(arguments), body=body),
    words,
    st.lists(words, max_size=4),
    st.binary(max_size=200),
)
names = st.text("abcdefghijklmnopqrstuvwxyz@.-*?!", min_size=1, max_size=20)
moments = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=datetime(9999, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))


@given(hrps, st.binary(max_size=2000), st.booleans())
def test_bech32_decodes_what_it_encoded(hrp: str, data: bytes, is_upper: bool) -> None:
    """Any data of any length comes back, under the prefix in the case it was given."""
    hrp = hrp.upper() if is_upper else hrp
    assert bech32.decode(bech32.encode(hrp, data)) == (hrp, data)


@given(hrps, st.binary(max_size=60), st.integers(0), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce"))
def test_bech32_finds_one_changed_character(hrp: str, data: bytes, place: int, new: str) -> None:
    """No single mistyped character of the data or checksum goes unseen."""
    text = bech32.encode(hrp, data)
    index = len(hrp) + 1 + place % (len(text) - len(hrp) - 1)
    changed = text[:index] + new + text[index + 1 :]
    if changed != text:
        with pytest.raises(SettingsError):
            bech32.decode(changed)


@given(st.binary(max_size=100))
def test_canonical_base64_comes_back(data: bytes) -> None:
    """Unpadded and padded base64 decode to what was encoded, and never stand for each other."""
    text = encode_unpadded(data)
    padded = text + b"=" * (-len(text) % 4)
    assert decode_unpadded(text) == data == decode_padded(padded)
    if padded != text:
        with pytest.raises(ValueError, match="padded"):
            decode_unpadded(padded)
        with pytest.raises(ValueError, match="padding"):
            decode_padded(text)


@given(st.lists(stanzas, min_size=1, max_size=4), st.binary(min_size=16, max_size=16))
def test_headers_come_back(wanted: list[Stanza], file_key: bytes) -> None:
    """A header parses to the stanzas that were written, with a MAC that only its key makes."""
    text = encode_header([stanza.encode() for stanza in wanted], file_key)
    source = ExactSource(io.BytesIO(text + b"payload"))
    header = read_header(source)
    assert header.stanzas == tuple(wanted)
    assert source.read(100) == b"payload"
    header.require_mac(file_key)
    with pytest.raises(IntegrityError):
        header.require_mac(bytes(byte ^ 1 for byte in file_key))


@given(st.binary(max_size=10_000), st.lists(st.integers(1, 200), min_size=1), st.booleans())
@example(bytes(48 * 1024), [1], False)
@example(bytes(48 * 1024 + 1), [100], True)
def test_armor_comes_back(data: bytes, steps: list[int], is_crlf: bool) -> None:
    """Armor written in pieces of any sizes reads back, with either line ending."""
    sink = io.BytesIO()
    writer = ArmorWriter(sink)
    rest = memoryview(data)
    for step in steps:
        writer.write(rest[:step])
        rest = rest[step:]
    writer.write(rest)
    writer.close()
    text = sink.getvalue()
    if is_crlf:
        text = text.replace(b"\n", b"\r\n")
    assert ExactSource(ArmorReader(io.BytesIO(text))).read(10**6) == data


@given(sizes)
def test_payload_sizes_are_one_to_one(size: int) -> None:
    """The size of a plaintext follows from that of its payload."""
    assert plain_size(sealed_size(size)) == size


@settings(max_examples=10)
@given(seeds)
def test_key_texts_come_back(seed: bytes) -> None:
    """Identities and recipients of both kinds parse from their own texts, and match each other."""
    for identity in (
        X25519Identity.generate(lambda _: seed),
        HybridIdentity.generate(lambda _: seed),
    ):
        (parsed,) = parse_identities(identity.text)
        assert parsed == identity
        assert parsed.text == identity.text
        assert parse_recipient(identity.recipient.text) == identity.recipient


@pytest.mark.parametrize("pair", PAIRS, ids=["x25519", "hybrid", "scrypt"])
@given(size=sizes, seed=st.binary(min_size=1, max_size=64), armored=st.booleans())
def test_age_files_come_back(
    pair: tuple[Recipient, Identity], size: int, seed: bytes, armored: bool
) -> None:
    """A file opens to what was sealed, whichever of the two ways it was sealed and opened in."""
    recipient, identity = pair
    plaintext = (seed * (size // len(seed) + 1))[:size]
    file = seal(memoryview(plaintext), [recipient])
    sink = io.BytesIO()
    seal_stream(io.BytesIO(plaintext), sink, [recipient], armored=armored)
    assert armored or len(sink.getvalue()) == len(file)
    for sealed in (bytes(file), sink.getvalue()):
        opened = io.BytesIO()
        unseal_stream(io.BytesIO(sealed), opened, [identity])
        assert opened.getvalue() == plaintext
    assert unseal(file, [identity]) == plaintext
    if not armored:
        assert unseal(sink.getvalue(), [identity]) == plaintext


@given(sizes, st.integers(0), st.integers(1, 255))
def test_one_changed_byte_is_refused(size: int, place: int, flip: int) -> None:
    """A file with any one byte changed does not open."""
    file = seal(bytes(size), [X25519.recipient])
    file[place % len(file)] ^= flip
    with pytest.raises((IntegrityError, KeyUnavailableError)):
        unseal(file, [X25519])
    with pytest.raises((IntegrityError, KeyUnavailableError)):
        unseal_stream(io.BytesIO(file), io.BytesIO(), [X25519])


@given(sizes, st.integers(0))
def test_a_cut_file_is_refused(size: int, place: int) -> None:
    """A file cut off anywhere, at the edge of a chunk too, does not open."""
    file = seal(bytes(size), [X25519.recipient])
    cut = file[: place % len(file)]
    with pytest.raises(IntegrityError):
        unseal(cut, [X25519])
    with pytest.raises(IntegrityError):
        unseal_stream(io.BytesIO(cut), io.BytesIO(), [X25519])


@given(sizes, st.binary(min_size=1, max_size=100))
def test_a_longer_file_is_refused(size: int, tail: bytes) -> None:
    """A file with anything after its end does not open."""
    file = seal(bytes(size), [X25519.recipient]) + tail
    with pytest.raises(IntegrityError):
        unseal(file, [X25519])
    with pytest.raises(IntegrityError):
        unseal_stream(io.BytesIO(file), io.BytesIO(), [X25519])


@given(st.binary(max_size=1000), words, seeds)
def test_signatures_hold_for_their_message_namespace_and_key_only(
    message: bytes, namespace: str, seed: bytes
) -> None:
    """A signature verifies as its key's, and not for another message, namespace or signer."""
    key = SigningKey.generate("me", lambda _: seed)
    other = AllowedSigners(signers=(AllowedSigner(principals=("you",), public_key=KEY.public_key),))
    signature = sign(message, key, namespace)
    assert verify(message, signature, namespace, None).public_key == key.public_key
    with pytest.raises(IntegrityError):
        verify(message + b"\0", signature, namespace, None)
    with pytest.raises(IntegrityError):
        verify(message, signature, namespace + "x", None)
    with pytest.raises(IntegrityError):
        verify(message, signature, namespace, other)


@given(st.integers(0), st.sampled_from("ABCDabcd0123+/=\n -"))
def test_one_changed_character_of_a_signature_is_refused(place: int, new: str) -> None:
    """A signature with any one character changed is refused, never misread."""
    signature = sign(b"message", KEY, "namespace")
    index = place % (len(signature) - 1)
    changed = signature[:index] + new + signature[index + 1 :]
    if changed != signature:
        with pytest.raises(IntegrityError):
            verify(b"message", changed, "namespace", None)


@given(seeds, st.text("abc @.-", max_size=20).map(str.strip))
def test_ssh_keys_come_back(seed: bytes, comment: str) -> None:
    """Private and public halves parse from OpenSSH's own forms."""
    key = SigningKey.generate(comment, lambda _: seed)
    assert SigningKey.from_text(key.text) == key
    parsed = PublicKey.parse(key.public_key.line)
    assert parsed == key.public_key
    assert parsed.line.split() == key.public_key.line.split()


@given(
    st.lists(names, min_size=1, max_size=3),
    st.lists(names, max_size=3),
    st.none() | moments,
    st.none() | moments,
)
def test_allowed_signers_come_back(
    principals: list[str],
    namespaces: list[str],
    valid_after: datetime | None,
    valid_before: datetime | None,
) -> None:
    """A line of allowed signers parses to the signer that it was written for."""
    signer = AllowedSigner(
        principals=tuple(principals),
        public_key=KEY.public_key,
        namespaces=tuple(namespaces),
        valid_after=valid_after,
        valid_before=valid_before,
    )
    written = AllowedSigners(signers=(signer, signer))
    assert AllowedSigners.parse(f"# who may sign\n\n{written.text}") == written
