"""The post-quantum recipient of age: ML-KEM-768 with X25519 (age.md, "MLKEM768-X25519").

Wrapping is HPKE's SealBase (RFC 9180) with the KEM MLKEM768-X25519, also known as X-Wing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from backup.crypto import bech32
from backup.crypto.canonical import encode_unpadded
from backup.crypto.header import Stanza, decode_argument, malformed, require_wrapped_key
from backup.crypto.keytext import fingerprint, key_data
from backup.errors import SettingsError

KIND = "mlkem768x25519"
RECIPIENT_HRP = "age1pq"
IDENTITY_HRP = "AGE-SECRET-KEY-PQ-"
LABEL = "postquantum"

_INFO = b"age-encryption.org/mlkem768x25519"
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_SEED_BYTES = 32
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184
_POINT_BYTES = 32
_ENCAPSULATED_BYTES = 1120


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridRecipient:
    """A post-quantum public key, `age1pq1…`. Safe to use from several threads at once."""

    text: str = field(repr=False)
    key: hpke.MLKEM768X25519PublicKey = field(repr=False, compare=False)
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> HybridRecipient:
        """The recipient of an `age1pq1…` text. Raises `SettingsError`."""
        data = key_data(text, hrp=RECIPIENT_HRP, size_bytes=_MLKEM_PUBLIC_BYTES + _POINT_BYTES)
        point = X25519PublicKey.from_public_bytes(data[_MLKEM_PUBLIC_BYTES:])
        try:
            lattice = MLKEM768PublicKey.from_public_bytes(data[:_MLKEM_PUBLIC_BYTES])
            X25519PrivateKey.from_private_bytes(bytes(32)).exchange(point)
        except ValueError as error:
            raise SettingsError("recipient age1pq1… is not a valid public key") from error
        return cls(
            text=text,
            key=hpke.MLKEM768X25519PublicKey(lattice, point),
            fingerprint=fingerprint(text),
        )

    @property
    def label(self) -> str | None:
        """`postquantum`: mixed with other kinds, a file would be no safer than the weakest."""
        return LABEL

    def wrap(self, file_key: bytes, random: Callable[[int], bytes] = os.urandom) -> Stanza:
        """A stanza that the identity opens. HPKE draws its own random bytes."""
        del random
        sealed = _SUITE.encrypt(file_key, self.key, _INFO)
        encapsulated = encode_unpadded(sealed[:_ENCAPSULATED_BYTES]).decode()
        return Stanza(kind=KIND, arguments=(encapsulated,), body=sealed[_ENCAPSULATED_BYTES:])


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridIdentity:
    """A secret key, `AGE-SECRET-KEY-PQ-1…`; it is shown and compared by its recipient only."""

    recipient: HybridRecipient
    key: hpke.MLKEM768X25519PrivateKey = field(repr=False, compare=False)
    point_key: X25519PrivateKey = field(repr=False, compare=False)
    seed: bytes = field(repr=False, compare=False)

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> HybridIdentity:
        """A new identity."""
        return cls._from_seed(random(_SEED_BYTES))

    @classmethod
    def parse(cls, text: str) -> HybridIdentity:
        """The identity of an `AGE-SECRET-KEY-PQ-1…` text. Raises `SettingsError`."""
        return cls._from_seed(key_data(text, hrp=IDENTITY_HRP, size_bytes=_SEED_BYTES))

    @classmethod
    def _from_seed(cls, seed: bytes) -> HybridIdentity:
        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + _POINT_BYTES)
        lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        point_key = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        public = lattice.public_key().public_bytes_raw() + point_key.public_key().public_bytes_raw()
        return cls(
            recipient=HybridRecipient.parse(bech32.encode(RECIPIENT_HRP, public)),
            key=hpke.MLKEM768X25519PrivateKey(lattice, point_key),
            point_key=point_key,
            seed=seed,
        )

    @property
    def text(self) -> str:
        """The secret text, for an identity file."""
        return bech32.encode(IDENTITY_HRP, self.seed)

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None if no stanza is for this identity. Raises `IntegrityError`."""
        for stanza in stanzas:
            if stanza.kind == KIND and (file_key := self._unwrap(stanza)) is not None:
                return file_key
        return None

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        if len(stanza.arguments) != 1:
            raise malformed(stanza, f"{len(stanza.arguments)} arguments, not 1")
        encapsulated = decode_argument(stanza, stanza.arguments[0], size_bytes=_ENCAPSULATED_BYTES)
        require_wrapped_key(stanza)
        try:
            return _SUITE.decrypt(encapsulated + stanza.body, self.key, _INFO)
        except InvalidTag:
            self._require_safe_share(stanza, encapsulated[-_POINT_BYTES:])
            return None

    def _require_safe_share(self, stanza: Stanza, share: bytes) -> None:
        # HPKE answers a low-order share like a wrong key; the format wants it called malformed.
        try:
            self.point_key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise malformed(stanza, "the share is a point of low order") from error
