"""What the texts of age keys have in common: a bech32 prefix, a length, a fingerprint."""

from __future__ import annotations

import hashlib

from backup.crypto import bech32
from backup.errors import SettingsError


def key_data(text: str, *, hrp: str, size_bytes: int) -> bytes:
    """The bytes of a key under this prefix. Raises `SettingsError`, without the text in it."""
    found, data = bech32.decode(text)
    if found != hrp:
        raise SettingsError(f"key does not begin with {hrp}1")
    if len(data) != size_bytes:
        raise SettingsError(f"key {hrp}1… holds {len(data)} bytes, not {size_bytes}")
    return data


def fingerprint(recipient: str) -> str:
    """`SHA256:` and the first 16 hex digits of the hash of the recipient's text."""
    return f"SHA256:{hashlib.sha256(recipient.encode()).hexdigest()[:16]}"
