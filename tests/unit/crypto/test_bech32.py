"""Bech32 by BIP 173's own examples, and without its length limit."""

from __future__ import annotations

import pytest

from backup.crypto import bech32
from backup.errors import SettingsError

VALID = [
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    "?1ezyfcl",
]
INVALID = [
    ("\x201nwldj5", "readable part"),
    ("\x7f1axkwrx", "readable part"),
    ("\x801eym55h", "readable part"),
    ("pzry9x0s0muk", "no separator"),
    ("1pzry9x0s0muk", "readable part"),
    ("x1b4n0q5v", "does not use"),
    ("li1dgmt3", "too short"),
    ("de1lg7wt\xff", "does not use"),
    ("A1G7SGD8", "checksum"),
    ("10a06t8", "readable part"),
    ("1qzzfhee", "readable part"),
    ("a12UEL5L", "mixes"),
]


@pytest.mark.parametrize("text", VALID)
def test_valid_examples_decode_and_encode_back(text: str) -> None:
    """Every valid example of BIP 173 comes back from its parts."""
    assert bech32.encode(*bech32.decode(text)) == text


@pytest.mark.parametrize(("text", "reason"), INVALID)
def test_invalid_examples_are_refused(text: str, reason: str) -> None:
    """Every invalid example of BIP 173 is refused for its own reason, without repeating it."""
    with pytest.raises(SettingsError, match=reason) as caught:
        bech32.decode(text)
    assert text not in str(caught.value)


def test_length_is_not_limited() -> None:
    """Keys longer than BIP 173's 90 characters are ordinary, as age's post-quantum ones."""
    text = bech32.encode("age1pq", bytes(range(256)) * 5)
    assert len(text) > 2000
    assert bech32.decode(text) == ("age1pq", bytes(range(256)) * 5)


@pytest.mark.parametrize("values", ["zz", "q", "qqq"])
def test_wrong_padding_is_refused(values: str) -> None:
    """Spare bits must be zero and fewer than five: one key has one text."""
    with pytest.raises(SettingsError, match="padding"):
        bech32.decode(with_checksum("a", values))


@pytest.mark.parametrize("hrp", ["", "a b", "Ab", "ä"])
def test_encoding_under_an_unreadable_part_is_refused(hrp: str) -> None:
    """The human-readable part is one case of printable ASCII."""
    with pytest.raises(SettingsError, match="readable part"):
        bech32.encode(hrp, b"")


def with_checksum(hrp: str, values: str) -> str:
    """The text of 5-bit values that no bytes encode to: its checksum is found by trying."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    numbers = [alphabet.index(character) for character in values]
    remainder = bech32._polymod([*bech32._expand(hrp), *numbers, *[0] * 6]) ^ 1
    return f"{hrp}1{values}" + "".join(
        alphabet[remainder >> shift & 31] for shift in range(25, -1, -5)
    )
