"""Replies of a time-stamp authority: which count, and where they are stored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.crypto.timestamp import parse_authorities, parse_reply, timestamp_query
from backup.errors import IntegrityError, NotFoundError, ObjectExistsError, SettingsError
from backup.evidence.timestamp import accept, ask, check_timestamps
from backup.repository.layout import log_checkpoint_key, log_timestamp_key
from backup.repository.stores.memory import MemoryStore

VECTORS = Path(__file__).parents[2] / "vectors/timestamp"
NOTE = (VECTORS / "checkpoint.note").read_bytes()
REPLY = (VECTORS / "reply.tsr").read_bytes()
AUTHORITIES = parse_authorities((VECTORS / "authority.pem").read_bytes())
GIVEN = datetime(2026, 11, 24, 2, 21, 39, tzinfo=UTC)


def store_with(**notes: bytes) -> MemoryStore:
    """A store with these checkpoints: `n3` is the one of three entries."""
    store = MemoryStore("memory:log")
    for name, note in notes.items():
        store.put(log_checkpoint_key(int(name[1:])), note)
    return store


def test_the_query_is_over_the_newest_checkpoint() -> None:
    """The same bytes that `openssl ts -query -sha256 -no_nonce -cert` makes."""
    query = ask(store_with(n2=b"older", n3=NOTE))
    assert query.size == 3
    assert query.data == timestamp_query(NOTE)
    assert query.data.startswith(bytes.fromhex("30390201013031300d0609608648016503040201"))


def test_without_a_checkpoint_there_is_nothing_to_ask() -> None:
    """`NotFoundError`, not a query over nothing."""
    with pytest.raises(NotFoundError, match="no checkpoint"):
        ask(store_with())


def test_a_reply_is_stored_beside_its_checkpoint() -> None:
    """Byte for byte, also when more was logged since; a second time it is left as it is."""
    store = store_with(n2=b"older", n3=NOTE, n4=b"newer")
    stamped = accept(store, REPLY, AUTHORITIES)
    assert (stamped.size, stamped.time) == (3, GIVEN)
    assert store.get(log_timestamp_key(3)) == REPLY
    assert ask(store).size == 4
    assert accept(store, REPLY, AUTHORITIES) == stamped
    assert store.get(log_timestamp_key(3)) == REPLY


def test_another_reply_in_its_place_stays() -> None:
    """Whatever came first: one that says another time does not replace it, and a hint tells."""
    store = store_with(n3=NOTE)
    store.put(log_timestamp_key(3), b"another")
    with pytest.raises(ObjectExistsError, match="another time stamp already") as refused:
        accept(store, REPLY, AUTHORITIES)
    assert refused.value.hint
    assert store.get(log_timestamp_key(3)) == b"another"


def test_a_reply_over_something_else_is_refused() -> None:
    """No checkpoint of this log has that SHA-256: nothing is stored."""
    store = store_with(n3=NOTE + b" ")
    with pytest.raises(IntegrityError, match="over no checkpoint"):
        accept(store, REPLY, AUTHORITIES)
    assert list(store.list("log/")) == [log_checkpoint_key(3)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refusal.tsr", r"gave no time \(Message digest algorithm is not supported.\)"),
        ("reply-sha512.tsr", "not over a SHA-256"),
        ("authority.pem", "no reply"),
    ],
)
def test_what_gives_no_time_is_refused(name: str, reason: str) -> None:
    """A refusal by the authority, another hash, another file."""
    with pytest.raises(IntegrityError, match=reason):
        parse_reply((VECTORS / name).read_bytes())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REPLY[:-1],
        REPLY + b"\0",
        bytes.fromhex("3005300302010230"),
        bytes.fromhex("300f30030201003008a000a00430020500"),
    ],
    ids=["empty", "cut short", "longer", "beyond its end", "without certificates"],
)
def test_what_is_not_der_is_refused(data: bytes) -> None:
    """Nothing of a reply that is not whole is believed."""
    with pytest.raises(IntegrityError, match="no reply"):
        parse_reply(data)


def test_a_changed_reply_is_not_stored() -> None:
    """In its time, its certificates or its signature."""
    store = store_with(n3=NOTE)
    for one in REPLY.index(b"20261124"), REPLY.index(b"Time Root"), len(REPLY) - 5:
        spoilt = bytearray(REPLY)
        spoilt[one] ^= 1
        with pytest.raises(IntegrityError):
            accept(store, bytes(spoilt), AUTHORITIES)
    assert list(store.list("log/")) == [log_checkpoint_key(3)]


def test_stored_stamps_are_held_against_their_checkpoints() -> None:
    """What each says; verified only if the reader knows whose word counts."""
    store = store_with(n2=b"older", n3=NOTE)
    store.put(log_timestamp_key(3), REPLY)
    ((said,), wrong) = check_timestamps(store, None)
    assert (said.size, said.time, said.is_verified, wrong) == (3, GIVEN, False, ())
    ((said,), wrong) = check_timestamps(store, AUTHORITIES)
    assert (said.is_verified, wrong) == (True, ())


def test_stored_stamps_that_do_not_hold_are_named() -> None:
    """Over another checkpoint, with a signature that does not hold, no reply at all."""
    store = store_with(n2=NOTE + b" ", n3=NOTE, n4=b"newer")
    store.put(log_timestamp_key(2), REPLY)
    spoilt = bytearray(REPLY)
    spoilt[-5] ^= 1
    store.put(log_timestamp_key(3), bytes(spoilt))
    store.put(log_timestamp_key(4), b"no reply")
    stamps, wrong = check_timestamps(store, AUTHORITIES)
    assert stamps == ()
    assert [sentence.partition(":")[0] for sentence in wrong] == [
        "time stamp 2 is over another checkpoint than the one beside it",
        "time stamp 3",
        "time stamp 4",
    ]
    assert "does not hold" in wrong[1]


def test_a_file_without_a_certificate_is_no_authority() -> None:
    """`SettingsError`: it is the operator who named it."""
    with pytest.raises(SettingsError, match="no certificate"):
        parse_authorities(NOTE)
