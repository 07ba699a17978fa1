"""Checkpoints of a log: C2SP tlog-checkpoint, in the form of a C2SP signed-note.

    strongroom/<repository id>       the origin: which log
    42                               how many entries
    <root, base64>
                                     (an empty line)
    — strongroom/<repository id> <base64 of key hash and signature>

The signature is plain Ed25519 over the first three lines, so that `openssl pkeyutl` verifies it.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from backup.crypto.canonical import decode_padded
from backup.crypto.merkle import HASH_BYTES
from backup.crypto.sshkey import PublicKey, SigningKey
from backup.errors import IntegrityError

_ED25519 = b"\x01"
_KEY_HASH_BYTES = 4
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_MAXIMUM_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How many entries a log has, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> bytes:
        """The lines that are signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n".encode()


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> bytes:
    """Return the signed note; the same checkpoint and key give the same bytes."""
    body = checkpoint.body
    signature = _key_hash(checkpoint.origin, key.public_key) + key.sign(body)
    return body + f"\n— {checkpoint.origin} {_base64(signature)}\n".encode()


def open_checkpoint(
    note: bytes, origin: str, keys: Sequence[PublicKey]
) -> tuple[Checkpoint, PublicKey]:
    """Return the checkpoint, and which of `keys` signed it. Raises `IntegrityError`.

    Signatures by others are passed over, as the format wants it: witnesses may have added theirs.
    """
    checkpoint, signatures = _parse(note)
    if checkpoint.origin != origin:
        raise IntegrityError(f"the checkpoint is of another log: {checkpoint.origin[:80]!r}")
    for key in keys:
        for name, signature in signatures:
            if (name, signature[:_KEY_HASH_BYTES]) != (origin, _key_hash(origin, key)):
                continue
            try:
                key.verify(signature[_KEY_HASH_BYTES:], checkpoint.body)
            except InvalidSignature as error:
                raise IntegrityError("the checkpoint's signature does not fit it") from error
            return checkpoint, key
    raise IntegrityError("the checkpoint is not signed by a key that counts here")


def public_key_pem(key: PublicKey) -> str:
    """Return the key as `openssl pkeyutl -pubin` reads it."""
    return (
        Ed25519PublicKey.from_public_bytes(key.raw)
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def signature_of(note: bytes) -> bytes:
    """Return the 64 bytes of the first signature, as `openssl pkeyutl -sigfile` reads them."""
    return _parse(note)[1][0][1][_KEY_HASH_BYTES:]


def _parse(note: bytes) -> tuple[Checkpoint, tuple[tuple[str, bytes], ...]]:
    try:
        if len(note) > _MAXIMUM_BYTES:
            raise ValueError("longer than a checkpoint")
        body, separator, rest = note.decode().partition("\n\n")
        origin, size, encoded = body.split("\n")
        root = decode_padded(encoded.encode())
        is_whole = separator and rest.endswith("\n") and len(root) == HASH_BYTES
        if not is_whole or not _SIZE.fullmatch(size):
            raise ValueError("no checkpoint and signatures")
        checkpoint = Checkpoint(origin=origin, size=int(size), root=root)
        signatures = tuple(map(_signature, rest[:-1].split("\n")))
    except ValueError as error:
        raise IntegrityError("the checkpoint is not in the form of one") from error
    return checkpoint, signatures


def _signature(line: str) -> tuple[str, bytes]:
    dash, name, text = line.split(" ")
    if dash != "—":
        raise ValueError("a signature line does not begin with its dash")
    return name, decode_padded(text.encode())


def _key_hash(name: str, key: PublicKey) -> bytes:
    named = name.encode() + b"\n" + _ED25519 + key.raw
    return hashlib.sha256(named).digest()[:_KEY_HASH_BYTES]


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()
