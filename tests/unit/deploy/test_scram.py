"""SCRAM verifiers, held against the example of the standard."""

from __future__ import annotations

import base64

import pytest
from pydantic import SecretStr

from deploy.core import scram
from deploy.core.scram import Salted, fingerprint, read_salted, verifier

SALTED = Salted(iterations=4096, salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))


def test_the_verifier_of_the_standard() -> None:
    """RFC 7677's example, password `pencil`."""
    text = verifier(SecretStr("pencil"), SALTED).get_secret_value()
    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_what_is_public_of_a_verifier_can_be_read_back() -> None:
    """It is enough to make the same one again, and to tell whether it is the same."""
    made = verifier(SecretStr("pencil"), SALTED)
    salted = read_salted(made.get_secret_value())
    assert salted == SALTED
    assert fingerprint(verifier(SecretStr("pencil"), SALTED)) == fingerprint(made)
    assert fingerprint(verifier(SecretStr("pencils"), SALTED)) != fingerprint(made)


@pytest.mark.parametrize("text", ["", "md5abc", "SCRAM-SHA-256$4096:!!$", "SCRAM-SHA-256$x:AA==$"])
def test_what_is_no_verifier_is_none(text: str) -> None:
    """MD5 hashes among them."""
    assert read_salted(text) is None


@pytest.mark.parametrize(
    ("password", "bytes_"),
    [
        ("plain", b"plain"),
        ("I\u00adX", b"IX"),  # RFC 4013: a soft hyphen is nothing
        ("\u00aa", b"a"),
        ("\u2168", b"IX"),
        ("a\u00a0b", b"a b"),
        ("\u0007\u00e9", "\u0007\u00e9".encode()),  # prohibited: taken as it is
        ("\u0627\u0031", "\u0627\u0031".encode()),  # must end right to left: taken as it is
    ],
)
def test_passwords_are_prepared_as_the_standard_says(password: str, bytes_: bytes) -> None:
    """And taken as they are where it says that they cannot be, as PostgreSQL does."""
    assert scram.prepared(SecretStr(password)) == bytes_


def test_a_verifier_does_not_print_itself() -> None:
    """It is nearly as good as a password to whoever guesses offline."""
    assert "SCRAM" not in repr(verifier(SecretStr("pencil"), SALTED))
