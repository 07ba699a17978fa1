"""Bech32 (BIP 173) without its length limit, as age uses it for keys."""

from __future__ import annotations

from functools import reduce
from operator import xor

from backup.errors import SettingsError

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
# What is added to the checksum for each value of the five bits that leave it at the top.
_TERMS = tuple(
    reduce(xor, (term for bit, term in enumerate(_GENERATOR) if top >> bit & 1), 0)
    for top in range(32)
)


def encode(hrp: str, data: bytes) -> str:
    """The text for `data` under a human-readable part, upper case if that part is upper case."""
    _require_readable(hrp)
    lower = hrp.lower()
    padding = -len(data) * 8 % 5
    number = int.from_bytes(data) << padding
    values = [(number >> shift) & 31 for shift in range(len(data) * 8 + padding - 5, -1, -5)]
    remainder = _polymod([*_expand(lower), *values, *([0] * _CHECKSUM_LENGTH)]) ^ 1
    values += [(remainder >> shift) & 31 for shift in range(25, -1, -5)]
    text = lower + "1" + "".join(_ALPHABET[value] for value in values)
    return text if hrp == lower else text.upper()


def decode(text: str) -> tuple[str, bytes]:
    """The human-readable part, in the case it was written in, and the data.

    Raises `SettingsError`; its message never repeats the text, which may be a secret.
    """
    lower = text.lower()
    if text not in (lower, text.upper()):
        raise SettingsError("key mixes upper and lower case")
    hrp, separator, characters = lower.rpartition("1")
    if not separator:
        raise SettingsError("key has no separator 1")
    _require_readable(hrp)
    if len(characters) < _CHECKSUM_LENGTH:
        raise SettingsError("key is too short to hold a checksum")
    try:
        values = [_VALUES[character] for character in characters]
    except KeyError:
        # The KeyError would carry a character of what may be a secret.
        raise SettingsError("key has a character that bech32 does not use") from None
    if _polymod([*_expand(hrp), *values]) != 1:
        raise SettingsError("key has a wrong checksum; a character was mistyped or lost")
    return text[: len(hrp)], _regroup(values[:-_CHECKSUM_LENGTH])


def _require_readable(hrp: str) -> None:
    if not hrp or any(not "!" <= character <= "~" for character in hrp):
        raise SettingsError("key has no valid human-readable part")
    if hrp not in (hrp.lower(), hrp.upper()):
        raise SettingsError("human-readable part mixes upper and lower case")


def _regroup(values: list[int]) -> bytes:
    number = 0
    for value in values:
        number = number << 5 | value
    padding = len(values) * 5 % 8
    if padding >= 5 or number & ((1 << padding) - 1):
        raise SettingsError("key has wrong padding")
    return (number >> padding).to_bytes(len(values) * 5 // 8)


def _expand(hrp: str) -> list[int]:
    codes = hrp.encode("ascii")
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value ^ _TERMS[checksum >> 25]
    return checksum
