"""The evidence log: entries and checkpoints in a store; appending, and saying what is wrong.

The host that appends remembers the leaves of the tree that it has seen (`Memory`). A store that
does not hold that very log any more is refused: nothing is appended to a log that was cut short
or written anew.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from backup.crypto import merkle
from backup.crypto.note import Checkpoint, open_checkpoint, sign_checkpoint
from backup.crypto.sshkey import PublicKey, SigningKey
from backup.errors import IntegrityError, NotFoundError, ObjectExistsError
from backup.evidence.entry import (
    NOTHING_BEFORE,
    Detail,
    Entry,
    EntryType,
    decode_entry,
    encode_entry,
)
from backup.evidence.pruned import planned_backups
from backup.repository.layout import (
    LOG_CHECKPOINTS_PREFIX,
    LOG_ENTRIES_PREFIX,
    log_checkpoint_key,
    log_entry_key,
    parse_log_key,
)
from backup.repository.manifest import LogHead
from backup.repository.stores.base import Store

# The entries that say: this backup exists, with this manifest.
TELLS_OF_A_BACKUP = frozenset({EntryType.BACKUP_FINISHED, EntryType.INVENTORY_RECONCILED})
_HINT = "`strongroom log verify` names everything that is wrong; find out who wrote to the store"


class Leaves(Protocol):
    """The leaf hashes that this host has seen, in order."""

    @property
    def hashes(self) -> Sequence[bytes]:
        """All of them."""

    def add(self, leaf: bytes) -> None:
        """Remember one more, for good."""


class Memory(Protocol):
    """What a host remembers of a log, for one run at a time."""

    def held(self) -> AbstractContextManager[Leaves]:
        """Wait until nobody else on this host appends, and hand out the leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """An entry that is in the log, and the log with it."""

    entry: Entry
    head: LogHead


class EvidenceLog:
    """The log of one repository, for a host that may write to it."""

    def __init__(
        self, store: Store, repository_id: str, signing_key: SigningKey, memory: Memory
    ) -> None:
        self._store = store
        self._origin = origin(repository_id)
        self._key = signing_key
        self._memory = memory

    def append(self, type_: EntryType, details: Mapping[str, Detail], *, now: datetime) -> Appended:
        """Append an entry and a checkpoint over it; both survive a power cut on return.

        Raises `IntegrityError`, and appends nothing, if the log in the store is not the one that
        this host remembers. Killed between the two, the next append's checkpoint covers both.
        """
        with self._memory.held() as leaves:
            while True:
                last = self._catch_up(leaves)
                seq = len(leaves.hashes)
                line = encode_entry(seq, type_, details, now=now, before=last)
                try:
                    self._store.put(log_entry_key(seq), line)
                except ObjectExistsError:  # another host was faster
                    continue
                break
            leaves.add(merkle.leaf_hash(line))
            checkpoint = Checkpoint(
                origin=self._origin, size=seq + 1, root=merkle.root(leaves.hashes)
            )
        self._store.put(log_checkpoint_key(seq + 1), sign_checkpoint(checkpoint, self._key))
        return Appended(
            entry=decode_entry(line, seq),
            head=LogHead(size=checkpoint.size, root=checkpoint.root.hex()),
        )

    def newest(
        self, matches: Callable[[Entry], bool], *, read: MutableMapping[int, Entry] | None = None
    ) -> Entry | None:
        """Return the newest entry of which that holds, looking back from the end.

        `read` is for who looks back often: entries that were read, by number, so that each is read
        once. Raises `IntegrityError` like `append`.
        """
        read = {} if read is None else read
        with self._memory.held() as leaves:
            self._catch_up(leaves)
            size = len(leaves.hashes)
        for seq in reversed(range(size)):
            if seq not in read:
                read[seq] = decode_entry(self._store.get(log_entry_key(seq)), seq)
            if matches(read[seq]):
                return read[seq]
        return None

    def _catch_up(self, leaves: Leaves) -> bytes:
        """Take in what other hosts appended; return the last entry's bytes."""
        last = b""
        seq = max(len(leaves.hashes) - 1, 0)
        while True:
            try:
                line = self._store.get(log_entry_key(seq))
            except NotFoundError:
                break
            if seq < len(leaves.hashes):
                if merkle.leaf_hash(line) != leaves.hashes[seq]:
                    raise IntegrityError(
                        f"entry {seq} of the evidence log is not the one this host remembers",
                        hint=_HINT,
                    )
            else:
                _require_chained(line, seq, last)
                leaves.add(merkle.leaf_hash(line))
            last = line
            seq += 1
        if seq < len(leaves.hashes):
            raise IntegrityError(
                f"the evidence log was cut short: this host has seen {len(leaves.hashes)} entries"
                f" and entry {seq} is not there",
                hint=_HINT,
            )
        return last


def origin(repository_id: str) -> str:
    """Return the name of a repository's log in its checkpoints."""
    return f"strongroom/{repository_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLog:
    """A log as it lies in a store: lines by their number, notes by the size that they vouch for."""

    lines: tuple[tuple[int, bytes], ...]
    notes: tuple[tuple[int, bytes], ...]

    @property
    def leaves(self) -> list[bytes]:
        """The leaf hashes of the lines."""
        return [merkle.leaf_hash(line) for _, line in self.lines]

    @property
    def vouched_for(self) -> int:
        """How many entries the last checkpoint is over; what it says is not checked here."""
        return max((size for size, _ in self.notes), default=0)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries. Raises `IntegrityError` at one that cannot be read."""
        for seq, line in self.lines:
            yield decode_entry(line, seq)


def read_log(store: Store, known: StoredLog | None = None) -> StoredLog:
    """Return all that lies in a store's log, unchecked but for the names.

    Others may append meanwhile, so the notes come first: what they vouch for was there before.
    What is `known`, read earlier in the same run, is not read again: it is written once.
    """
    notes = dict(_numbered(store, LOG_CHECKPOINTS_PREFIX, known.notes if known else ()))
    lines = tuple(_numbered(store, LOG_ENTRIES_PREFIX, known.lines if known else ()))
    for size in range(max(notes, default=0) + 1, len(lines) + 1):
        with contextlib.suppress(NotFoundError):
            notes[size] = store.get(log_checkpoint_key(size))
    return StoredLog(lines=lines, notes=tuple(notes.items()))


def _numbered(
    store: Store, prefix: str, known: Sequence[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes]]:
    read = dict(known)
    for key in store.list(prefix):
        number = parse_log_key(key)
        if number is not None:
            yield number, read[number] if number in read else store.get(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What somebody else says of the log: `who` saw it with this head."""

    who: str
    head: LogHead


def check_log(
    log: StoredLog,
    *,
    repository_id: str,
    keys: Sequence[PublicKey],
    claims: Sequence[Claim] = (),
    manifests: Mapping[str, str] | None = None,
    is_at_rest: bool = True,
) -> tuple[str, ...]:
    """Return everything that is wrong with a log, one sentence each; empty: nothing. Pure.

    `keys` are those that may sign checkpoints. `claims` are heads remembered elsewhere: by this
    host, by manifests, in reports. `manifests` are the SHA-256s of the manifests there are, by
    backup id. `is_at_rest` False: the last entries may wait for their checkpoint, since a writer
    may be at work or may have been killed.
    """
    wrong = list(_wrong_entries(log))
    roots = merkle.prefix_roots(log.leaves)
    wrong += _wrong_notes(log, roots, repository_id, keys)
    if is_at_rest and log.lines and log.vouched_for < len(log.lines):
        wrong.append(f"no checkpoint vouches for all {len(log.lines)} entries")
    for claim in claims:
        if claim.head.size >= len(roots):
            wrong.append(
                f"the log was cut short: {claim.who} saw {claim.head.size} entries,"
                f" and {len(log.lines)} are there"
            )
        elif roots[claim.head.size].hex() != claim.head.root:
            wrong.append(f"the log was written anew: {claim.who} saw other entries")
    if manifests is not None and not wrong:
        wrong += _wrong_inventory(log, manifests)
    return tuple(wrong)


def _wrong_entries(log: StoredLog) -> Iterator[str]:
    if not log.lines:
        yield "there is no entry"
    before = b""
    for place, (seq, line) in enumerate(log.lines):
        if seq != place:
            yield f"entry {place} is missing"
            return
        try:
            _require_chained(line, seq, before)
        except IntegrityError as error:
            yield error.message
            return
        before = line
    if log.lines and decode_entry(log.lines[0][1], 0).type is not EntryType.GENESIS:
        yield "the log does not begin with its genesis"


def _require_chained(line: bytes, seq: int, before: bytes) -> None:
    entry = decode_entry(line, seq)
    prev = hashlib.sha256(before).hexdigest() if seq else NOTHING_BEFORE
    if entry.seq != seq:
        raise IntegrityError(f"entry {seq} says that it is entry {entry.seq}", hint=_HINT)
    if entry.prev != prev:
        raise IntegrityError(f"entry {seq} does not follow the one before it", hint=_HINT)


def _wrong_notes(
    log: StoredLog, roots: Sequence[bytes], repository_id: str, keys: Sequence[PublicKey]
) -> Iterator[str]:
    for size, note in log.notes:
        try:
            checkpoint, _ = open_checkpoint(note, origin(repository_id), keys)
        except IntegrityError as error:
            yield f"checkpoint {size}: {error.message}"
            continue
        if checkpoint.size != size:
            yield f"checkpoint {size} is one of {checkpoint.size} entries"
        elif size >= len(roots):
            yield f"the log was cut short: a checkpoint vouches for {size} entries"
        elif roots[size] != checkpoint.root:
            yield f"checkpoint {size} vouches for other entries"


def _wrong_inventory(log: StoredLog, manifests: Mapping[str, str]) -> Iterator[str]:
    """Yield backups that the log and the repository do not agree about."""
    logged: dict[str, str] = {}
    planned: set[str] = set()
    for entry in log.entries():
        backup = str(entry.details.get("backup"))
        if entry.type in TELLS_OF_A_BACKUP:
            logged[backup] = str(entry.details.get("manifest_sha256"))
        elif entry.type is EntryType.PRUNE_EXECUTED:
            logged.pop(backup, None)
            if "backup" not in entry.details:  # that prune came to its end
                planned.clear()
        elif entry.type is EntryType.PRUNE_PLANNED:
            planned.update(key.id.text for key in planned_backups(entry))
    for backup in sorted(logged.keys() | manifests.keys()):
        if backup not in manifests and backup in planned:
            continue  # a prune was killed before it could say so; the next one does
        if backup not in manifests:
            yield f"backup {backup} is gone, and no entry says that it was pruned"
        elif backup not in logged:
            yield f"backup {backup} exists, and no entry says that it was finished"
        elif manifests[backup] != logged[backup]:
            yield f"backup {backup} has another manifest than the one that was logged"
