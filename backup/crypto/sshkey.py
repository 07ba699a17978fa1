"""Ed25519 keys in OpenSSH's own forms: the private key file, the public line, the fingerprint."""

from __future__ import annotations

import binascii
import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from backup.crypto.canonical import decode_padded, encode_unpadded
from backup.errors import SettingsError

KEY_TYPE = b"ssh-ed25519"

_KEY_BYTES = 32
_MAKE_KEY = "strongroom keygen --signing -o PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """The public half of a signing key; two are equal when their keys are, whatever the comment."""

    raw: bytes = field(repr=False)
    comment: str = field(default="", compare=False)

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """The key of a `.pub` line: type, base64, and perhaps a comment. Raises `SettingsError`."""
        words = line.strip().split(None, 2)
        if len(words) < 2:
            raise SettingsError("public key is not a line of type, key and comment", hint=_MAKE_KEY)
        if words[0] != KEY_TYPE.decode():
            raise SettingsError(
                f"public key is of type {words[0]}; only ssh-ed25519 is supported", hint=_MAKE_KEY
            )
        try:
            key = cls.from_blob(decode_padded(words[1].encode()))
        except ValueError as error:
            raise SettingsError(f"public key is malformed: {error}", hint=_MAKE_KEY) from error
        return cls(raw=key.raw, comment=words[2] if len(words) > 2 else "")

    @classmethod
    def from_blob(cls, blob: bytes) -> PublicKey:
        """The key of OpenSSH's binary form. Raises `ValueError`."""
        key_type, rest = take_string(blob)
        if key_type != KEY_TYPE:
            raise ValueError("key is not of type ssh-ed25519")
        raw, rest = take_string(rest)
        if len(raw) != _KEY_BYTES or rest:
            raise ValueError(f"key does not hold exactly {_KEY_BYTES} bytes")
        return cls(raw=raw)

    @property
    def blob(self) -> bytes:
        """OpenSSH's binary form."""
        return pack_string(KEY_TYPE) + pack_string(self.raw)

    @property
    def key_text(self) -> str:
        """`ssh-ed25519 AAAA…`, without the comment."""
        encoded = binascii.b2a_base64(self.blob, newline=False)
        return f"{KEY_TYPE.decode()} {encoded.decode()}"

    @property
    def line(self) -> str:
        """The line of a `.pub` file, without a line end."""
        return f"{self.key_text} {self.comment}".rstrip()

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` as `ssh-keygen -l` prints it."""
        return "SHA256:" + encode_unpadded(hashlib.sha256(self.blob).digest()).decode()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises `InvalidSignature` of `cryptography` unless this key signed `data`."""
        Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key for signatures; it is shown and compared by its public half only."""

    public_key: PublicKey
    private: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls, comment: str = "", random: Callable[[int], bytes] = os.urandom) -> SigningKey:
        """A new key; the comment goes into the public line."""
        return cls._of(Ed25519PrivateKey.from_private_bytes(random(_KEY_BYTES)), comment)

    @classmethod
    def from_text(cls, text: str, comment: str = "") -> SigningKey:
        """The key of an OpenSSH private key file without passphrase. Raises `SettingsError`."""
        try:
            key = load_ssh_private_key(text.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The cause is left out: it must not carry what the file says.
            raise SettingsError(
                "signing key is not an OpenSSH private key file without passphrase", hint=_MAKE_KEY
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingsError("signing key is not of type ssh-ed25519", hint=_MAKE_KEY)
        return cls._of(key, comment)

    @classmethod
    def _of(cls, private: Ed25519PrivateKey, comment: str) -> SigningKey:
        if not comment.isprintable():
            raise SettingsError("comment of a signing key must be one printable line")
        raw = private.public_key().public_bytes_raw()
        return cls(public_key=PublicKey(raw=raw, comment=comment), private=private)

    @property
    def text(self) -> str:
        """The secret text of an OpenSSH private key file."""
        return self.private.private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        ).decode()

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of a raw Ed25519 signature."""
        return self.private.sign(data)


def pack_string(data: bytes) -> bytes:
    """A string of the SSH wire format: its length, then itself (RFC 4251, section 5)."""
    return struct.pack(">I", len(data)) + data


def take_string(data: bytes) -> tuple[bytes, bytes]:
    """The string that `data` begins with, and what follows it. Raises `ValueError`."""
    size = int.from_bytes(data[:4])
    if len(data) < 4 + size or len(data) < 4:
        raise ValueError("a field is longer than the whole")
    return data[4 : 4 + size], data[4 + size :]
