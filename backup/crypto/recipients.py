"""Recipients seal, identities open: every kind that age files know natively."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from backup.crypto import hybrid, passphrase, x25519
from backup.crypto.header import Stanza
from backup.crypto.hybrid import HybridIdentity, HybridRecipient
from backup.crypto.passphrase import PassphraseIdentity, PassphraseRecipient
from backup.crypto.x25519 import X25519Identity, X25519Recipient
from backup.errors import SettingsError

__all__ = [
    "HybridIdentity",
    "HybridRecipient",
    "Identity",
    "KeyPair",
    "PassphraseIdentity",
    "PassphraseRecipient",
    "Recipient",
    "X25519Identity",
    "X25519Recipient",
    "parse_identities",
    "parse_recipient",
    "require_compatible",
]

_SECRET_PREFIX = "AGE-SECRET-KEY-"  # noqa: S105  the public prefix of secret keys, not a secret
_ARMOR_OR_BINARY = ("-----BEGIN AGE ENCRYPTED FILE-----", "age-encryption.org/")


class Recipient(Protocol):
    """What a file can be sealed to."""

    @property
    def text(self) -> str:
        """The canonical public text."""

    @property
    def fingerprint(self) -> str:
        """A short stable name; reveals nothing secret."""

    @property
    def label(self) -> str | None:
        """Recipients of one file must all have the same label."""

    def wrap(self, file_key: bytes, random: Callable[[int], bytes] = os.urandom) -> Stanza:
        """A stanza that only the matching identity opens."""


class Identity(Protocol):
    """What can open a file."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None if no stanza is for this identity. Raises `IntegrityError`."""


class KeyPair(Identity, Protocol):
    """An identity with a public half and a text: what an identity file holds."""

    @property
    def recipient(self) -> Recipient:
        """The public half."""

    @property
    def text(self) -> str:
        """The secret text."""


def parse_recipient(text: str) -> Recipient:
    """The recipient of an `age1…` or `age1pq1…` text. Raises `SettingsError`."""
    if text.upper().startswith(_SECRET_PREFIX):
        raise SettingsError(
            "this is a secret identity, not a recipient",
            hint="strongroom keygen --convert FILE prints the recipients of an identity file",
        )
    try:
        if text.startswith(hybrid.RECIPIENT_HRP + "1"):
            return HybridRecipient.parse(text)
        if text.startswith(x25519.RECIPIENT_HRP + "1") and text.count("1") == 1:
            return X25519Recipient.parse(text)
    except SettingsError as error:
        raise SettingsError(
            f"recipient {_shown(text)}: {error.message}", hint="strongroom keygen makes a key pair"
        ) from error
    raise SettingsError(
        f"recipient {_shown(text)} is of a kind that is not supported: use age1… or age1pq1…",
        hint="strongroom keygen makes a key pair",
    )


def parse_identities(text: str) -> tuple[KeyPair, ...]:
    """The identities of an age identity file, in order; comments and empty lines are skipped.

    Raises `SettingsError` naming the line, never showing it.
    """
    if text.startswith(_ARMOR_OR_BINARY):
        raise SettingsError(
            "identity file is itself encrypted", hint="age --decrypt -o identity.txt FILE"
        )
    identities: list[KeyPair] = []
    for number, raw_line in enumerate(text.split("\n"), start=1):
        line = raw_line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            identities.append(_parse_identity(line))
        except SettingsError as error:
            raise SettingsError(
                f"identity file, line {number}: {error.message}",
                hint="strongroom keygen -o identity.txt makes such a file",
            ) from error
    if not identities:
        raise SettingsError(
            "identity file holds no identity",
            hint="strongroom keygen -o identity.txt makes such a file",
        )
    return tuple(identities)


def require_compatible(recipients: Sequence[Recipient]) -> None:
    """Raises `SettingsError` unless one file may be sealed to all of these together."""
    if not recipients:
        raise SettingsError("no recipient to seal to", hint="strongroom keygen makes a key pair")
    labels = {recipient.label for recipient in recipients}
    if len(labels) > 1 or (len(recipients) > 1 and passphrase.KIND in labels):
        if passphrase.KIND in labels:
            raise SettingsError("a passphrase must be the only recipient of a file")
        raise SettingsError(
            "post-quantum recipients cannot be mixed with others: the file would be no safer than"
            " the weakest",
            hint="strongroom keygen --pq makes a post-quantum key pair",
        )


def _parse_identity(line: str) -> KeyPair:
    if line.startswith(hybrid.IDENTITY_HRP + "1"):
        return HybridIdentity.parse(line)
    if line.startswith(x25519.IDENTITY_HRP + "1"):
        return X25519Identity.parse(line)
    if line.lower().startswith("age1"):
        raise SettingsError("this is a recipient, not an identity")
    raise SettingsError("this is not an identity of a kind that is supported")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 70 else text[:20] + "…")
