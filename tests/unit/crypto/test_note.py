"""Checkpoints: signed notes that say how long a log is and what it holds."""

from __future__ import annotations

import base64
import hashlib

import pytest

from backup.crypto.merkle import leaf_hash
from backup.crypto.note import (
    Checkpoint,
    open_checkpoint,
    public_key_pem,
    sign_checkpoint,
    signature_of,
)
from backup.crypto.sshkey import SigningKey
from backup.errors import IntegrityError

ORIGIN = "strongroom/" + "0" * 32
KEY = SigningKey.generate("one", lambda count: b"\x01" * count)
OTHER = SigningKey.generate("two", lambda count: b"\x02" * count)
CHECKPOINT = Checkpoint(origin=ORIGIN, size=42, root=leaf_hash(b"x"))
NOTE = sign_checkpoint(CHECKPOINT, KEY)


def test_a_note_is_read_as_it_was_signed() -> None:
    """The checkpoint comes back, and whose key it was."""
    assert open_checkpoint(NOTE, ORIGIN, [OTHER.public_key, KEY.public_key]) == (
        CHECKPOINT,
        KEY.public_key,
    )


def test_the_form_is_that_of_the_specification() -> None:
    """Three lines, an empty one, and a dash, the key's name, its hash and the signature."""
    body, signature = NOTE.decode().split("\n\n")
    assert body.split("\n") == [ORIGIN, "42", base64.b64encode(CHECKPOINT.root).decode()]
    dash, name, text = signature.removesuffix("\n").split(" ")
    assert (dash, name) == ("\N{EM DASH}", ORIGIN)
    named = ORIGIN.encode() + b"\n\x01" + KEY.public_key.raw
    assert base64.b64decode(text)[:4] == hashlib.sha256(named).digest()[:4]
    assert base64.b64decode(text)[4:] == signature_of(NOTE)
    KEY.public_key.verify(signature_of(NOTE), CHECKPOINT.body)


def test_signatures_of_witnesses_are_passed_over() -> None:
    """Another's line before or after ours does no harm, whatever kind of key it is of."""
    body, ours = NOTE.split(b"\n\n")
    witness = "— witness.example aGVsbG8=\n".encode()
    for lines in (witness + ours, ours + witness):
        assert open_checkpoint(body + b"\n\n" + lines, ORIGIN, [KEY.public_key])[0] == CHECKPOINT


def test_every_byte_counts() -> None:
    """A note with any byte changed is refused."""
    for place in range(len(NOTE)):
        changed = bytearray(NOTE)
        changed[place] ^= 1
        with pytest.raises(IntegrityError):
            open_checkpoint(bytes(changed), ORIGIN, [KEY.public_key])


def test_whose_log_and_whose_key() -> None:
    """Another log's checkpoint and one by a key that does not count are refused."""
    with pytest.raises(IntegrityError, match="another log"):
        open_checkpoint(NOTE, "strongroom/" + "1" * 32, [KEY.public_key])
    with pytest.raises(IntegrityError, match="key that counts"):
        open_checkpoint(NOTE, ORIGIN, [OTHER.public_key])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\xff",
        NOTE[:-1],
        NOTE.replace(b"\n\n", b"\n"),
        NOTE.replace(b"\n42\n", b"\n042\n"),
        NOTE.replace(b"\n42\n", b"\n42\nmore\n"),
        NOTE.replace(b"=\n\n", b"\n\n"),
        NOTE.replace("—".encode(), b"-"),
        NOTE + b"x" * 20_000,
        NOTE.split(b"\n\n")[0] + b"\n\n",
    ],
)
def test_what_is_no_note(note: bytes) -> None:
    """Cut short, too long, other numbers, other lines: refused as such."""
    with pytest.raises(IntegrityError):
        open_checkpoint(note, ORIGIN, [KEY.public_key])


def test_a_root_has_32_bytes() -> None:
    """A shorter one is none, though it was signed."""
    short = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=b"short"), KEY)
    with pytest.raises(IntegrityError, match="form"):
        open_checkpoint(short, ORIGIN, [KEY.public_key])


def test_a_public_key_has_the_form_that_openssl_reads() -> None:
    """RFC 8410: twelve bytes that say Ed25519, then the key."""
    first, body, last = public_key_pem(KEY.public_key).splitlines()
    assert (first, last) == ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----")
    assert base64.b64decode(body) == bytes.fromhex("302a300506032b6570032100") + KEY.public_key.raw
