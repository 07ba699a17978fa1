"""The passphrase recipient of age, on scrypt (age.md, "scrypt")."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from backup.crypto.canonical import encode_unpadded
from backup.crypto.header import Stanza, decode_argument, malformed, require_wrapped_key
from backup.errors import SettingsError

KIND = "scrypt"
# About a second of one core, and 256 MiB, as age itself chooses.
DEFAULT_WORK_FACTOR = 18
DEFAULT_MAX_WORK_FACTOR = 22

_SALT_LABEL = b"age-encryption.org/v1/scrypt"
_SALT_BYTES = 16
_NONCE = bytes(12)
_WORK_FACTOR = re.compile("[1-9][0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PassphraseRecipient:
    """Seals to whoever knows the passphrase; must be the only recipient of a file."""

    passphrase: str = field(repr=False)
    work_factor: int = DEFAULT_WORK_FACTOR

    def __post_init__(self) -> None:
        _require_passphrase(self.passphrase)
        if not 1 <= self.work_factor <= 30:
            raise SettingsError(f"scrypt work factor {self.work_factor} is not between 1 and 30")

    @property
    def text(self) -> str:
        """The kind: a passphrase has no public form."""
        return KIND

    @property
    def fingerprint(self) -> str:
        """The kind: a hash of a passphrase would help those who guess."""
        return KIND

    @property
    def label(self) -> str | None:
        """`scrypt`: files to a passphrase have no other recipient."""
        return KIND

    def wrap(self, file_key: bytes, random: Callable[[int], bytes] = os.urandom) -> Stanza:
        """A stanza under a fresh salt. Takes about a second at the default work factor."""
        salt = random(_SALT_BYTES)
        wrap_key = _stretch(self.passphrase, salt, self.work_factor)
        return Stanza(
            kind=KIND,
            arguments=(encode_unpadded(salt).decode(), str(self.work_factor)),
            body=ChaCha20Poly1305(wrap_key).encrypt(_NONCE, file_key, None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassphraseIdentity:
    """Opens files sealed to a passphrase, up to a work factor of 2^`max_work_factor`."""

    passphrase: str = field(repr=False, compare=False)
    max_work_factor: int = DEFAULT_MAX_WORK_FACTOR

    def __post_init__(self) -> None:
        _require_passphrase(self.passphrase)

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None if the passphrase is another one. Raises `IntegrityError`."""
        for stanza in stanzas:
            if stanza.kind == KIND and (file_key := self._unwrap(stanza)) is not None:
                return file_key
        return None

    def _unwrap(self, stanza: Stanza) -> bytes | None:
        if len(stanza.arguments) != 2:
            raise malformed(stanza, f"{len(stanza.arguments)} arguments, not 2")
        salt = decode_argument(stanza, stanza.arguments[0], size_bytes=_SALT_BYTES)
        work_factor = self._parse_work_factor(stanza)
        require_wrapped_key(stanza)
        wrap_key = _stretch(self.passphrase, salt, work_factor)
        try:
            return ChaCha20Poly1305(wrap_key).decrypt(_NONCE, stanza.body, None)
        except InvalidTag:
            return None

    def _parse_work_factor(self, stanza: Stanza) -> int:
        text = stanza.arguments[1]
        if not _WORK_FACTOR.fullmatch(text):
            raise malformed(stanza, "the work factor is not a decimal number")
        # Whoever wrote the file chose this number: it must not choose our memory and time.
        if len(text) > 2 or int(text) > self.max_work_factor:
            raise malformed(stanza, f"the work factor is above 2^{self.max_work_factor}")
        return int(text)


def _require_passphrase(passphrase: str) -> None:
    if not passphrase:
        raise SettingsError("passphrase is empty")


def _stretch(passphrase: str, salt: bytes, work_factor: int) -> bytes:
    scrypt = Scrypt(salt=_SALT_LABEL + salt, length=32, n=1 << work_factor, r=8, p=1)
    return scrypt.derive(passphrase.encode())
