"""What nothing refers to any more: found, condemned, and a grace period later deleted.

A store does not say how old an object is. So what is found to be unreferenced is written down in
an object `condemned/<time>-<random>.keys`, written once; only a prune that comes a grace period
later, and finds it unreferenced still, deletes it. No writer uses again what is condemned.
"""

from __future__ import annotations

import binascii
import re
import struct
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from backup.errors import IntegrityError, SettingsError
from backup.repository.layout import (
    CONDEMNED_PREFIX,
    MANIFEST_NAME,
    BackupId,
    BackupKey,
    parse_backup_object_key,
    parse_chunk_object_key,
)
from backup.repository.stores.base import Store

# The least time between condemning an object and deleting it.
MINIMUM_GRACE = timedelta(days=1)
# How many keys one object holds; a reader of one needs no more memory than for a list of chunks.
KEYS_PER_LIST = 100_000

_LIST_KEY = re.compile(rf"{CONDEMNED_PREFIX}({'[0-9]' * 8}T[0-9]{{6}}Z-[0-9a-f]{{6}})\.keys")
_SHARDS = 256
_BLOCK_BYTES = 2**20
_MANY = 500_000
_KEYS_AT_ONCE = 1000
# `chunks/ab/abcd…`: the first two and the first 16 digits of the SHA-256.
_SHARD_DIGITS = slice(10, 12)
_FIRST_DIGITS = slice(10, 26)
_SIXTEEN = re.compile(".{16}")
# The second of a line's four words, if it has 64 characters: its first 16. Written for speed.
_DIGITS_OF_LINE = re.compile(rb" (.{16})[^ ]{48} ")


class References:
    """Which chunk objects are referred to, by the first 8 bytes of their SHA-256.

    Two names that begin alike are taken for one: then one object too many is kept, never one too
    few. Eight bytes for each reference, spread by the first byte.
    """

    def __init__(self) -> None:
        self._shards = [array("Q") for _ in range(_SHARDS)]
        self._before: set[int] = set()
        self._count = 0
        self._compact_at = 4 * _MANY

    def add_list(self, data: bytes, name: str) -> int:
        """Take in a chunk list; return how many lines it has. Raises `IntegrityError`.

        Lists that are much like the one before cost little: give those of one part in order.
        """
        here: set[int] = set()
        lines = 0
        for block in _blocks(data):
            numbers = _first_numbers(block, name)
            lines += len(numbers)
            some = set(numbers)
            fresh = some - self._before
            fresh = fresh - here if here else fresh
            for number in fresh:
                self._shards[number >> 56].append(number)
            self._count += len(fresh)
            if not here:
                here = some
            elif len(here) < _MANY:
                here |= some
        self._before = here
        if self._count > self._compact_at:
            self._compact()
        return lines

    def unreferenced(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield which of these keys are of chunk objects that nothing refers to.

        Keys in ascending order need the memory of one shard at a time.
        """
        loaded, known = -1, frozenset[str]()
        left = iter(keys)
        while some := list(islice(left, _KEYS_AT_ONCE)):
            # Most are referred to, and in the shard of the key before: those are passed by here.
            for key in [key for key in some if key[_FIRST_DIGITS] not in known]:
                if parse_chunk_object_key(key) is None:
                    continue
                shard = int(key[_SHARD_DIGITS], 16)
                if shard != loaded:
                    loaded, known = shard, _as_digits(self._shards[shard])
                if key[_FIRST_DIGITS] not in known:
                    yield key

    def _compact(self) -> None:
        self._shards = [array("Q", set(shard)) for shard in self._shards]
        self._count = sum(map(len, self._shards))
        self._compact_at = 2 * max(self._count, 2 * _MANY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CondemnedList:
    """Keys that nothing referred to when a prune looked, and when that was by its clock."""

    key: str
    made: datetime
    keys: tuple[str, ...]

    def is_due(self, now: datetime, grace: timedelta) -> bool:
        """Whether the grace period is over."""
        return now - self.made >= grace


def encode_condemned(
    keys: Sequence[str], now: datetime, random: Sequence[bytes]
) -> Iterator[tuple[str, bytes]]:
    """Yield the objects that condemn `keys`, a key a line; `random` is three bytes for each."""
    for number, start in enumerate(range(0, len(keys), KEYS_PER_LIST)):
        name = BackupId.new(now, random[number])
        some = sorted(keys[start : start + KEYS_PER_LIST])
        yield f"{CONDEMNED_PREFIX}{name}.keys", "".join(f"{key}\n" for key in some).encode()


def read_condemned(store: Store) -> list[CondemnedList]:
    """Return every list of condemned keys. Raises `IntegrityError` for what is none."""
    return [decode_condemned(key, store.get(key)) for key in condemned_list_keys(store)]


def condemned_list_keys(store: Store) -> list[str]:
    """Return the keys of the lists, without reading them."""
    return [key for key in store.list(CONDEMNED_PREFIX) if _LIST_KEY.fullmatch(key)]


def decode_condemned(key: str, data: bytes) -> CondemnedList:
    """Return the list that lies under `key`. Raises `IntegrityError` for what may never go."""
    match = _LIST_KEY.fullmatch(key)
    try:
        if match is None:
            raise ValueError(key)
        made = BackupId(match[1]).started
        lines = data.decode("ascii").splitlines()
    except (ValueError, SettingsError):
        raise IntegrityError(f"{key} is no list of condemned objects") from None
    for line in lines:
        if not may_be_condemned(line):
            raise IntegrityError(
                f"{key} condemns {line[:100]!r}, which no prune may delete so",
                hint="this program did not write it: find out who writes to the store",
            )
    return CondemnedList(key=key, made=made, keys=tuple(lines))


def may_be_condemned(key: str) -> bool:
    """Whether an object is one that can be left over: a chunk, or part of a backup, no manifest."""
    if parse_chunk_object_key(key) is not None:
        return True
    found = parse_backup_object_key(key)
    return found is not None and found[1] != MANIFEST_NAME


def condemned_chunks(store: Store) -> frozenset[bytes]:
    """Return the SHA-256 of each chunk object that is condemned: a writer must not use it again."""
    digests = (parse_chunk_object_key(key) for found in read_condemned(store) for key in found.keys)
    return frozenset(filter(None, digests))


def left_over(keys: Iterable[str], backups: Collection[BackupKey]) -> Iterator[str]:
    """Yield which of these keys belong to a backup that does not exist."""
    for key in keys:
        found = parse_backup_object_key(key)
        if found is not None and found[1] != MANIFEST_NAME and found[0] not in backups:
            yield key


def _blocks(data: bytes) -> Iterator[bytes]:
    """Cut a list into pieces of whole lines."""
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + _BLOCK_BYTES) + 1
        if end <= start:
            end = len(data)
        yield data[start:end]
        start = end


def _first_numbers(block: bytes, name: str) -> tuple[int, ...]:
    """Return the first 8 bytes of the SHA-256 in each line. The list itself was vouched for."""
    digits = _DIGITS_OF_LINE.findall(block)
    try:
        numbers = binascii.unhexlify(b"".join(digits))
    except binascii.Error:
        digits, numbers = [], b""
    if len(digits) != block.count(b"\n") or not block.endswith(b"\n"):
        raise IntegrityError(f"{name} is malformed")
    return struct.unpack(f">{len(digits)}Q", numbers)


def _as_digits(shard: array[int]) -> frozenset[str]:
    """Return numbers as keys have them: 16 hexadecimal digits."""
    return frozenset(_SIXTEEN.findall(struct.pack(f">{len(shard)}Q", *shard).hex()))
