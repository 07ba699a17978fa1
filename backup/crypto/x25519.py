"""The X25519 recipient of age: a key pair whose public half seals (age.md, "X25519")."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from backup.crypto import bech32
from backup.crypto.canonical import encode_unpadded
from backup.crypto.header import (
    Stanza,
    decode_argument,
    derive,
    malformed,
    require_wrapped_key,
)
from backup.crypto.keytext import fingerprint, key_data
from backup.errors import SettingsError

KIND = "X25519"
RECIPIENT_HRP = "age"
IDENTITY_HRP = "AGE-SECRET-KEY-"

_INFO = b"age-encryption.org/v1/X25519"
_KEY_BYTES = 32
# Each wrap key is used once, so the nonce is fixed.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class X25519Recipient:
    """A public key, `age1…`. Safe to use from several threads at once."""

    text: str
    point: bytes = field(repr=False, compare=False)
    key: X25519PublicKey = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> X25519Recipient:
        """The recipient of an `age1…` text. Raises `SettingsError`."""
        return cls.from_point(key_data(text, hrp=RECIPIENT_HRP, size_bytes=_KEY_BYTES))

    @classmethod
    def from_point(cls, point: bytes) -> X25519Recipient:
        """The recipient with this public point; low-order points are a `SettingsError`."""
        key = X25519PublicKey.from_public_bytes(point)
        try:
            X25519PrivateKey.from_private_bytes(bytes(_KEY_BYTES)).exchange(key)
        except ValueError as error:
            raise SettingsError(
                "recipient is a point of low order, which anyone can open"
            ) from error
        return cls(text=bech32.encode(RECIPIENT_HRP, point), point=point, key=key)

    @property
    def fingerprint(self) -> str:
        """A short stable name for manifests and messages."""
        return fingerprint(self.text)

    @property
    def label(self) -> str | None:
        """None: this kind may stand beside other kinds without a label."""
        return None

    def wrap(self, file_key: bytes, random: Callable[[int], bytes] = os.urandom) -> Stanza:
        """A stanza that the identity opens, under a fresh ephemeral key."""
        ephemeral = X25519PrivateKey.from_private_bytes(random(_KEY_BYTES))
        share = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(self.key)
        body = ChaCha20Poly1305(derive(shared, salt=share + self.point, info=_INFO)).encrypt(
            _NONCE, file_key, None
        )
        return Stanza(kind=KIND, arguments=(encode_unpadded(share).decode(),), body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class X25519Identity:
    """A secret key, `AGE-SECRET-KEY-1…`; it is shown and compared by its recipient only."""

    recipient: X25519Recipient
    key: X25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> X25519Identity:
        """A new identity."""
        return cls._from_secret(random(_KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> X25519Identity:
        """The identity of an `AGE-SECRET-KEY-1…` text. Raises `SettingsError`."""
        return cls._from_secret(key_data(text, hrp=IDENTITY_HRP, size_bytes=_KEY_BYTES))

    @classmethod
    def _from_secret(cls, secret: bytes) -> X25519Identity:
        key = X25519PrivateKey.from_private_bytes(secret)
        recipient = X25519Recipient.from_point(key.public_key().public_bytes_raw())
        return cls(recipient=recipient, key=key)

    @property
    def text(self) -> str:
        """The secret text, for an identity file."""
        return bech32.encode(IDENTITY_HRP, self.key.private_bytes_raw())

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None if no stanza is for this identity. Raises `IntegrityError`."""
        for stanza in stanzas:
            if stanza.kind == KIND and (file_key := self._unwrap(stanza)) is not None:
                return file_key
        return None

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        if len(stanza.arguments) != 1:
            raise malformed(stanza, f"{len(stanza.arguments)} arguments, not 1")
        share = decode_argument(stanza, stanza.arguments[0], size_bytes=_KEY_BYTES)
        require_wrapped_key(stanza)
        try:
            shared = self.key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise malformed(stanza, "the share is a point of low order") from error
        wrap_key = derive(shared, salt=share + self.recipient.point, info=_INFO)
        try:
            return ChaCha20Poly1305(wrap_key).decrypt(_NONCE, stanza.body, None)
        except InvalidTag:
            return None
