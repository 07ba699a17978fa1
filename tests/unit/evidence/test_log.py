"""The evidence log in a store in memory: appending, reading, and everything that can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from backup.crypto.merkle import leaf_hash, root
from backup.crypto.note import Checkpoint, sign_checkpoint
from backup.crypto.sshkey import SigningKey
from backup.errors import IntegrityError, NotFoundError
from backup.evidence.entry import Detail, Entry, EntryType, decode_entry, encode_entry
from backup.evidence.log import Claim, EvidenceLog, check_log, origin, read_log
from backup.evidence.proof import (
    decode_proof,
    encode_proof,
    kept_claim,
    prove,
    prove_consistency,
    verify_consistency,
    verify_proof,
)
from backup.repository.layout import log_checkpoint_key, log_entry_key
from backup.repository.manifest import LogHead
from backup.repository.stores.memory import MemoryStore
from tests.lab.effort import tries

ID = "0" * 32
KEY = SigningKey.generate("one", lambda count: b"\x01" * count)
OTHER = SigningKey.generate("two", lambda count: b"\x02" * count)
NOW = datetime(2026, 1, 14, 2, 0, tzinfo=UTC)


class Remembered:
    """What a host remembers, without a file."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []

    @property
    def hashes(self) -> Sequence[bytes]:
        """All of them."""
        return self.leaves

    def add(self, leaf: bytes) -> None:
        """One more."""
        self.leaves.append(leaf)

    @contextmanager
    def held(self) -> Iterator[Remembered]:
        """Nobody else is there."""
        yield self


class Log:
    """A log with its store, and a second host when one is wanted."""

    def __init__(self, count: int = 0, key: SigningKey = KEY) -> None:
        self.store = MemoryStore("memory:log")
        self.memory = Remembered()
        self.log = self.on_host(self.memory, key)
        if count:
            self.append(EntryType.GENESIS, repository=ID)
        for number in range(1, count):
            self.append(EntryType.HEARTBEAT, number=number)

    def on_host(self, memory: Remembered, key: SigningKey = KEY) -> EvidenceLog:
        """The same log as another host sees it."""
        return EvidenceLog(self.store, ID, key, memory)

    def append(self, type_: EntryType, **details: Detail) -> LogHead:
        """Append, a second later each time."""
        now = NOW + timedelta(seconds=len(self.memory.leaves))
        return self.log.append(type_, details, now=now).head

    def wrong(
        self,
        *claims: Claim,
        key: SigningKey = KEY,
        manifests: dict[str, str] | None = None,
    ) -> tuple[str, ...]:
        """What is wrong with it."""
        return check_log(
            read_log(self.store),
            repository_id=ID,
            keys=[key.public_key],
            claims=claims,
            manifests=manifests,
        )

    def replace(self, key: str, data: bytes | None) -> None:
        """Do what only somebody with rights on the store can do."""
        self.store.delete(key)
        if data is not None:
            self.store.put(key, data)


def test_entries_follow_each_other() -> None:
    """Each has its number, its time, and the SHA-256 of the one before."""
    log = Log(3)
    head = log.append(EntryType.BACKUP_FINISHED, backup="b", is_good=True, nothing=None)
    entries = list(read_log(log.store).entries())
    assert [entry.seq for entry in entries] == [0, 1, 2, 3]
    assert [entry.type for entry in entries[:2]] == [EntryType.GENESIS, EntryType.HEARTBEAT]
    assert entries[3].details == {"backup": "b", "is_good": True, "nothing": None}
    assert head == LogHead(size=4, root=root(read_log(log.store).leaves).hex())
    assert log.wrong(Claim(who="we", head=head)) == ()


def test_two_hosts_append_to_one_log() -> None:
    """Each takes in what the other did; neither forks it."""
    log = Log(2)
    other = log.on_host(Remembered(), OTHER)
    other.append(EntryType.HEARTBEAT, {}, now=NOW)
    log.append(EntryType.HEARTBEAT)
    other.append(EntryType.HEARTBEAT, {}, now=NOW)
    found = check_log(
        read_log(log.store), repository_id=ID, keys=[KEY.public_key, OTHER.public_key]
    )
    assert found == ()
    assert len(read_log(log.store).lines) == 5


def test_a_race_is_lost_without_harm() -> None:
    """An entry that another host wrote in between is taken in, and ours comes after it."""
    log = Log(2)
    other = log.on_host(Remembered())

    class Racing(MemoryStore):
        def put(self, key: str, data: bytes | bytearray | memoryview, **options: bool) -> None:
            if key == log_entry_key(2):
                other.append(EntryType.HEARTBEAT, {"host": "other"}, now=NOW)
            log.store.put(key, data, **options)

    racing = Racing("memory:racing")
    racing.get = log.store.get  # type: ignore[method-assign]
    mine = EvidenceLog(racing, ID, KEY, log.memory).append(EntryType.HEARTBEAT, {}, now=NOW)
    assert mine.entry.seq == 3
    assert log.wrong() == ()


def test_a_crash_before_the_checkpoint_is_made_up_for() -> None:
    """The entry counts, and the next append's checkpoint vouches for both."""
    log = Log(3)
    log.replace(log_checkpoint_key(3), None)
    assert log.wrong() == ("no checkpoint vouches for all 3 entries",)
    log.append(EntryType.HEARTBEAT)
    assert log.wrong() == ()


@pytest.mark.parametrize("gone", [1, 2])
def test_a_log_that_was_cut_short_gets_no_entry(gone: int) -> None:
    """This host remembers how long it was."""
    log = Log(3)
    for seq in range(3 - gone, 3):
        log.replace(log_entry_key(seq), None)
    before = list(log.store.list(""))
    with pytest.raises(IntegrityError, match="cut short"):
        log.append(EntryType.HEARTBEAT)
    assert list(log.store.list("")) == before


def test_a_log_that_was_written_anew_gets_no_entry() -> None:
    """This host remembers what its last entry was."""
    log, anew = Log(2), Log()
    anew.append(EntryType.GENESIS, repository=ID)
    anew.append(EntryType.HEARTBEAT, number=9)
    log.store = anew.store
    with pytest.raises(IntegrityError, match="not the one this host remembers"):
        log.on_host(log.memory).append(EntryType.HEARTBEAT, {}, now=NOW)


def test_nobody_takes_in_what_does_not_follow() -> None:
    """An entry of another host that is not chained stops this one."""
    log = Log(2)
    line = encode_entry(2, EntryType.HEARTBEAT, {}, now=NOW, before=b"another")
    log.store.put(log_entry_key(2), line)
    with pytest.raises(IntegrityError, match="does not follow"):
        log.append(EntryType.HEARTBEAT)
    assert log.wrong()[0] == "entry 2 does not follow the one before it"


def test_the_newest_entry_of_a_kind() -> None:
    """Found from the end; None when there is none."""
    log = Log(4)
    found = log.log.newest(lambda entry: entry.type is EntryType.HEARTBEAT)
    assert found is not None
    assert found.details == {"number": 3}
    assert log.log.newest(lambda entry: entry.type is EntryType.PIN_SET) is None


def test_who_looks_back_often_reads_each_entry_once() -> None:
    """An entry that was read before is not asked for again; the newer ones are."""
    log = Log(4)
    read: dict[int, Entry] = {}
    assert log.log.newest(lambda entry: entry.type is EntryType.PIN_SET, read=read) is None
    assert sorted(read) == [0, 1, 2, 3]
    log.append(EntryType.PIN_SET)
    for seq in range(3):
        log.store.delete(log_entry_key(seq))
    found = log.log.newest(lambda entry: entry.seq == 1, read=read)
    assert found is read[1]
    assert sorted(read) == [0, 1, 2, 3, 4]


def test_any_byte_of_any_object_counts() -> None:
    """A changed byte in an entry or a checkpoint is found."""
    for name in (log_entry_key(0), log_entry_key(1), log_checkpoint_key(1), log_checkpoint_key(2)):
        log = Log(2)
        data = log.store.get(name)
        for place in range(0, len(data), tries(few=5, some=1, full=1)):
            changed = bytearray(data)
            changed[place] ^= 1
            log.replace(name, bytes(changed))
            assert log.wrong(), f"{name} {place}"
        log.replace(name, data)
        assert not log.wrong()


def rewritten(key: SigningKey) -> Callable[[Log], None]:
    """Write the whole log anew, one entry changed, with a key."""

    def rewrite(log: Log) -> None:
        anew = Log(key=key)
        anew.append(EntryType.GENESIS, repository=ID)
        anew.append(EntryType.HEARTBEAT, number=7)
        anew.append(EntryType.HEARTBEAT, number=2)
        log.store = anew.store

    return rewrite


def without(*keys: str) -> Callable[[Log], None]:
    """Remove objects."""

    def remove(log: Log) -> None:
        for key in keys:
            log.replace(key, None)

    return remove


def renumbered(log: Log) -> None:
    """Put another entry's line where the last one was."""
    log.replace(log_entry_key(2), log.store.get(log_entry_key(1)))


def moved(log: Log) -> None:
    """Put the checkpoint of two entries where that of three was."""
    log.replace(log_checkpoint_key(3), log.store.get(log_checkpoint_key(2)))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without(log_entry_key(1)), "entry 1 is missing"),
        (without(log_entry_key(2)), "a checkpoint vouches for 3 entries"),
        (without(log_entry_key(2), log_checkpoint_key(3)), "we saw 3 entries, and 2 are there"),
        (without(*(log_entry_key(seq) for seq in range(3))), "there is no entry"),
        (rewritten(OTHER), "not signed by a key that counts"),
        (rewritten(KEY), "we saw other entries"),
        (renumbered, "entry 2 says that it is entry 1"),
        (moved, "checkpoint 3 is one of 2 entries"),
    ],
)
def test_everything_else_that_can_be_wrong(spoil: Callable[[Log], None], reason: str) -> None:
    """Each is found, with its reason."""
    log = Log(3)
    claim = Claim(who="we", head=LogHead(size=3, root=root(log.memory.leaves).hex()))
    assert log.wrong(claim) == ()
    spoil(log)
    assert any(reason in sentence for sentence in log.wrong(claim)), log.wrong(claim)


def test_a_checkpoint_over_other_entries() -> None:
    """Signed by the right key, and yet it does not fit what is there."""
    log = Log(2)
    lie = Checkpoint(origin=origin(ID), size=2, root=leaf_hash(b"lie"))
    log.replace(log_checkpoint_key(2), sign_checkpoint(lie, KEY))
    assert log.wrong() == ("checkpoint 2 vouches for other entries",)


def test_the_log_begins_with_its_genesis() -> None:
    """Anything else is not the whole log."""
    log = Log()
    log.append(EntryType.HEARTBEAT)
    assert log.wrong() == ("the log does not begin with its genesis",)


def test_what_is_no_part_of_the_log_is_passed_over() -> None:
    """Objects with other names below its prefix."""
    log = Log(1)
    log.store.put("log/entries/notes.txt", b"x")
    assert log.wrong() == ()


def test_the_log_and_the_backups_agree() -> None:
    """Each backup was logged with its manifest, and each that was logged is there or was pruned."""
    log = Log(1)
    log.append(EntryType.BACKUP_FINISHED, backup="a", manifest_sha256="1")
    log.append(EntryType.INVENTORY_RECONCILED, backup="b", manifest_sha256="2")
    log.append(EntryType.BACKUP_FINISHED, backup="c", manifest_sha256="3")
    log.append(EntryType.PRUNE_EXECUTED, backup="c")
    assert log.wrong(manifests={"a": "1", "b": "2"}) == ()
    assert log.wrong(manifests={"a": "9", "d": "4"}) == (
        "backup a has another manifest than the one that was logged",
        "backup b is gone, and no entry says that it was pruned",
        "backup d exists, and no entry says that it was finished",
    )


def test_a_proof_needs_nothing_else() -> None:
    """The entry's line, hashes and the checkpoint, in one file."""
    log = Log(5)
    for seq in range(5):
        data = encode_proof(prove(read_log(log.store), ID, seq))
        entry, checkpoint = verify_proof(decode_proof(data, "proof"), [KEY.public_key])
        assert entry == decode_entry(log.store.get(log_entry_key(seq)), seq)
        assert checkpoint.size == 5
        with pytest.raises(IntegrityError, match="key that counts"):
            verify_proof(decode_proof(data, "proof"), [OTHER.public_key])


def test_a_log_that_only_grew_is_proven_to_have() -> None:
    """By two checkpoints and the hashes between them; to whoever has the earlier one."""
    log = Log(9)
    stored = read_log(log.store)
    for size, note in stored.notes:
        claim = kept_claim(note, ID, [KEY.public_key])
        assert claim.head.size == size
        data = prove_consistency(stored, ID, claim, note)
        assert verify_consistency(data, "proof", [KEY.public_key]) == (size, 9)
        with pytest.raises(IntegrityError, match="key that counts"):
            verify_consistency(data, "proof", [OTHER.public_key])
    spoilt = data.replace(b'"hashes":[', b'"hashes":["no hash",')
    if b'["no hash",]' in spoilt:
        spoilt = spoilt.replace(b'["no hash",]', b'["no hash"]')
    with pytest.raises(IntegrityError, match="no hash"):
        verify_consistency(spoilt, "proof", [KEY.public_key])


def dumped(text: str) -> bytes:
    """A text as canonical JSON has it."""
    return json.dumps(text, ensure_ascii=False).encode()


def test_a_log_that_did_not_only_grow_has_no_proof() -> None:
    """It was written anew or cut short since the checkpoint, or that is a stranger's."""
    note = Log(4).store.get(log_checkpoint_key(4))
    claim = kept_claim(note, ID, [KEY.public_key])
    other = Log(1)
    for number in range(5):
        other.append(EntryType.HEARTBEAT, number=-number)
    with pytest.raises(IntegrityError, match="written anew"):
        prove_consistency(read_log(other.store), ID, claim, note)
    for shorter in (Log(3), Log(0)):
        with pytest.raises(IntegrityError, match="cut short"):
            prove_consistency(read_log(shorter.store), ID, claim, note)
    with pytest.raises(IntegrityError, match="that was kept"):
        kept_claim(note, ID, [OTHER.public_key])
    grown = read_log(Log(6).store)
    size, newest = grown.notes[-1]
    late = kept_claim(newest, ID, [KEY.public_key])
    data = prove_consistency(grown, ID, late, newest)
    mixed = read_log(other.store).notes[-1][1]
    forged = data.replace(*(dumped(note.decode()) for note in (newest, mixed)), 1)
    assert size == 6
    with pytest.raises(IntegrityError, match="does not begin with"):
        verify_consistency(forged, "proof", [KEY.public_key])


def test_a_proof_of_something_else_is_refused() -> None:
    """Another line, another place, or what is no hash."""
    good = encode_proof(prove(read_log(Log(5).store), ID, 2))
    for old, new in (
        (b'\\"number\\":2', b'\\"number\\":3'),
        (b'"seq":2', b'"seq":3'),
        (good.split(b'"hashes":["')[1][:64], b"x" * 64),
    ):
        assert old in good
        with pytest.raises(IntegrityError):
            verify_proof(decode_proof(good.replace(old, new), "proof"), [KEY.public_key])


@pytest.mark.parametrize("seq", [-1, 3])
def test_there_is_no_proof_of_an_entry_that_is_not_vouched_for(seq: int) -> None:
    """Not in the log, or in a log without checkpoints."""
    log = Log(3)
    with pytest.raises(NotFoundError):
        prove(read_log(log.store), ID, seq)
    with pytest.raises(NotFoundError):
        prove(read_log(MemoryStore("memory:empty")), ID, 0)


def test_what_was_read_before_is_not_read_again() -> None:
    """Entries and checkpoints are written once: only new ones are fetched."""
    log = Log(5)
    before = read_log(log.store)
    log.append(EntryType.HEARTBEAT, number=5)
    fetched: list[str] = []

    class Counting(MemoryStore):
        """The same store, which tells what is fetched."""

        def get(self, key: str) -> bytes:
            """See `Store.get`."""
            fetched.append(key)
            return log.store.get(key)

        def list(self, prefix: str) -> Iterator[str]:
            """See `Store.list`."""
            return log.store.list(prefix)

    assert read_log(Counting("memory:same"), before) == read_log(log.store)
    assert fetched == [log_checkpoint_key(6), log_entry_key(5)]


def test_a_prune_that_was_killed_after_it_said_what_it_would_do() -> None:
    """What it listed may be gone; what it did not list may not."""
    log = Log(1)
    ids = [f"2026011{day}T020000Z-3f9c2a" for day in range(3)]
    for id_ in ids:
        log.append(EntryType.BACKUP_FINISHED, backup=id_, manifest_sha256="1")
    log.append(EntryType.PRUNE_PLANNED, backups=f"portal/{ids[0]}")
    assert log.wrong(manifests=dict.fromkeys(ids[1:], "1")) == ()
    assert log.wrong(manifests={ids[1]: "1"}) == (
        f"backup {ids[2]} is gone, and no entry says that it was pruned",
    )
