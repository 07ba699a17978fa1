"""The end of the evidence log, for the status: read quickly, and believed only as far as checked.

`log verify` reads everything. Here the newest entries are read, held to the chain, to the leaves
that this host remembers, and to the newest checkpoint by a pinned key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from backup.crypto import merkle
from backup.crypto.note import open_checkpoint
from backup.crypto.sshkey import PublicKey
from backup.errors import IntegrityError
from backup.evidence.entry import Entry, decode_entry
from backup.evidence.log import origin
from backup.repository.layout import (
    LOG_CHECKPOINTS_PREFIX,
    LOG_ENTRIES_PREFIX,
    log_checkpoint_key,
    log_entry_key,
    parse_log_key,
)
from backup.repository.stores.base import Store
from scheduler.keptlog import KeptLog

# A restore test of the oldest backup comes once a month: its result must be in view.
WINDOW = timedelta(days=100)
_BATCH = 256
# So many objects are fetched at once; each takes a round trip.
READERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """The newest entries, oldest first; how many there are; what is wrong, a sentence each."""

    entries: tuple[Entry, ...]
    size: int
    checkpoint_size: int
    problems: tuple[str, ...]


class LogReader:
    """Reads the log of one repository; entries never change, so each is fetched once.

    Those that this host remembers and that are `kept` are not fetched; with `keeps` others are
    added there.
    """

    def __init__(
        self, store: Store, repository_id: str, kept: KeptLog, *, keeps: bool = False
    ) -> None:
        self._store = store
        self._origin = origin(repository_id)
        self._kept = kept
        self._keeps = keeps
        self._lines: dict[int, bytes] = {}
        self._fetched: list[int] = []

    def view(
        self, *, keys: Sequence[PublicKey], remembered: Sequence[bytes], now: datetime
    ) -> LogView:
        """Return the end of the log; `remembered` are the leaves that this host has seen.

        Raises `StoreError`. What is wrong with the log is in the view.
        """
        notes = [*filter(None, map(parse_log_key, self._store.list(LOG_CHECKPOINTS_PREFIX)))]
        numbers = [parse_log_key(key) for key in self._store.list(LOG_ENTRIES_PREFIX)]
        size = len(numbers)
        if numbers != [*range(size)]:
            return self._broken("entries of the evidence log are missing", size)
        if size < len(remembered):
            seen = len(remembered)
            return self._broken(
                f"the evidence log was cut short: this host saw {seen} entries, {size} are there",
                size,
            )
        if not self._lines:
            self._lines = self._kept.read(remembered)
        try:
            entries = self._newest(size, now - WINDOW)
            self._fetch([*range(len(remembered), size)])
            self._require_remembered(remembered)
            self._require_chained(entries)
            checkpoint = self._checked(max(notes, default=0), size, keys, remembered)
        except IntegrityError as error:
            return self._broken(error.message, size)
        self._lines = {seq: self._lines[seq] for seq in self._wanted(entries, remembered, size)}
        if self._keeps and self._fetched:
            new = {seq: self._lines[seq] for seq in self._fetched if seq in self._lines}
            self._kept.add(new, self._lines)
            self._fetched = []
        return LogView(entries=tuple(entries), size=size, checkpoint_size=checkpoint, problems=())

    def _broken(self, problem: str, size: int) -> LogView:
        """Nothing that such a log says may be believed."""
        return LogView(entries=(), size=size, checkpoint_size=0, problems=(problem,))

    def _newest(self, size: int, since: datetime) -> list[Entry]:
        """Return the entries since then, oldest first, and perhaps some before them."""
        found: list[Entry] = []
        end = size
        while end > 0 and (not found or found[0].ts >= since):
            batch = [*range(max(0, end - _BATCH), end)]
            self._fetch(batch)
            found = [decode_entry(self._lines[seq], seq) for seq in batch] + found
            end = batch[0]
        return found

    def _fetch(self, numbers: Sequence[int]) -> None:
        new = [seq for seq in numbers if seq not in self._lines]
        if not new:
            return
        with ThreadPoolExecutor(READERS) as pool:
            lines = pool.map(lambda seq: self._store.get(log_entry_key(seq)), new)
            self._lines.update(zip(new, lines, strict=True))
        self._fetched += new

    def _require_remembered(self, remembered: Sequence[bytes]) -> None:
        for seq, line in self._lines.items():
            if seq < len(remembered) and merkle.leaf_hash(line) != remembered[seq]:
                raise IntegrityError(
                    f"entry {seq} of the evidence log is not the one this host remembers"
                )

    def _require_chained(self, entries: Sequence[Entry]) -> None:
        for before, entry in pairwise(entries):
            if entry.prev != hashlib.sha256(self._lines[before.seq]).hexdigest():
                raise IntegrityError(f"entry {entry.seq} does not follow the one before it")

    def _checked(
        self, newest: int, size: int, keys: Sequence[PublicKey], remembered: Sequence[bytes]
    ) -> int:
        """Return how many entries the newest checkpoint vouches for."""
        if newest == 0:
            raise IntegrityError("no checkpoint vouches for the evidence log")
        note = self._store.get(log_checkpoint_key(newest))
        checkpoint, _ = open_checkpoint(note, self._origin, keys)
        if checkpoint.size != newest or newest > size:
            raise IntegrityError(
                f"checkpoint {newest} vouches for {checkpoint.size} entries, {size} are there"
            )
        leaves = [*remembered[:newest]]
        leaves += [merkle.leaf_hash(self._lines[seq]) for seq in range(len(leaves), newest)]
        if merkle.root(leaves) != checkpoint.root:
            raise IntegrityError(f"checkpoint {newest} vouches for other entries")
        return newest

    def _wanted(
        self, entries: Sequence[Entry], remembered: Sequence[bytes], size: int
    ) -> Mapping[int, None]:
        """Return what is worth keeping for the next look."""
        return dict.fromkeys([*(one.seq for one in entries), *range(len(remembered), size)])
