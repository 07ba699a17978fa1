"""Base64 in one spelling only: what decodes here re-encodes to the same bytes."""

from __future__ import annotations

import binascii


def encode_unpadded(data: bytes) -> bytes:
    """Base64 without `=`, as in age headers."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=")


def decode_unpadded(text: bytes) -> bytes:
    """Raises `ValueError` for padding, foreign characters and spare bits that are set."""
    if b"=" in text:
        raise ValueError("padded")
    return decode_padded(text + b"=" * (-len(text) % 4))


def decode_padded(text: bytes) -> bytes:
    """Raises `ValueError` for missing padding, foreign characters and spare bits that are set."""
    data = binascii.a2b_base64(text, strict_mode=True)
    # a2b_base64 lets several spellings stand for the same bytes, which would make files malleable.
    if binascii.b2a_base64(data, newline=False) != text:
        raise ValueError("not canonical")
    return data
