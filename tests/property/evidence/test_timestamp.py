"""Replies of a time-stamp authority, spoilt in any place."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from backup.crypto.timestamp import parse_authorities, parse_reply, verify_reply
from backup.errors import IntegrityError

VECTORS = Path(__file__).parents[2] / "vectors/timestamp"
NOTE = (VECTORS / "checkpoint.note").read_bytes()
REPLY = (VECTORS / "reply.tsr").read_bytes()
AUTHORITIES = parse_authorities((VECTORS / "authority.pem").read_bytes())
TIME = verify_reply(parse_reply(REPLY), NOTE, AUTHORITIES)


@given(place=st.integers(0, len(REPLY) - 1), change=st.integers(1, 255))
def test_no_byte_changes_what_a_reply_says(place: int, change: int) -> None:
    """Refused, or (a byte that nobody signs) the very same time over the very same bytes."""
    spoilt = bytearray(REPLY)
    spoilt[place] ^= change
    try:
        time = verify_reply(parse_reply(bytes(spoilt)), NOTE, AUTHORITIES)
    except IntegrityError:
        return
    assert time == TIME


@given(st.binary(max_size=200))
def test_bytes_are_no_reply(data: bytes) -> None:
    """Whatever is imported by mistake, the one error that is raised is ours."""
    try:
        parse_reply(data)
    except IntegrityError:
        return
    raise AssertionError("taken for a reply")
