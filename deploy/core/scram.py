"""SCRAM-SHA-256 verifiers, made on the operator's side: no password crosses the wire.

RFC 5802, RFC 7677; the form that pg_authid stores is in PostgreSQL's manual ("pg_authid"). A
password is prepared by SASLprep (RFC 4013); one that cannot be is taken as its UTF-8 bytes, as
PostgreSQL and libpq do (src/common/saslprep.c says so).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import stringprep
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

SALT_BYTES: Final = 16
ITERATIONS: Final = 4096  # PostgreSQL's own
_FORM: Final = re.compile(r"SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$")
_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Salted:
    """The public part of a verifier: what it takes to make the same one again."""

    iterations: int
    salt: bytes


def verifier(password: SecretStr, salted: Salted) -> SecretStr:
    """Return what `ALTER ROLE … PASSWORD` stores: the server keeps it as it is."""
    key = hashlib.pbkdf2_hmac("sha256", prepared(password), salted.salt, salted.iterations)
    stored = hashlib.sha256(hmac.digest(key, b"Client Key", "sha256")).digest()
    server = hmac.digest(key, b"Server Key", "sha256")
    salt = base64.b64encode(salted.salt).decode()
    keys = f"{base64.b64encode(stored).decode()}:{base64.b64encode(server).decode()}"
    return SecretStr(f"SCRAM-SHA-256${salted.iterations}:{salt}${keys}")


def read_salted(text: str) -> Salted | None:
    """Return the public part of a stored verifier, or its beginning; None if it is no SCRAM."""
    match = _FORM.match(text)
    if match is None:
        return None
    try:
        salt = base64.b64decode(match[2], validate=True)
    except ValueError:
        return None
    return Salted(iterations=int(match[1]), salt=salt)


def fingerprint(verifier: SecretStr) -> str:
    """Return what tells two verifiers apart and gives neither away."""
    return hashlib.sha256(verifier.get_secret_value().encode()).hexdigest()


def prepared(password: SecretStr) -> bytes:
    """Return the bytes that a password stands for."""
    text = password.get_secret_value()
    if text.isascii():
        return text.encode()
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    return (normal if normal and _is_allowed(normal) else text).encode()


def _is_allowed(text: str) -> bool:
    if any(is_in(character) for character in text for is_in in _PROHIBITED):
        return False
    right_to_left = [stringprep.in_table_d1(character) for character in text]
    if not any(right_to_left):
        return True
    left_to_right = any(stringprep.in_table_d2(character) for character in text)
    return not left_to_right and right_to_left[0] and right_to_left[-1]
