"""Where everything lies in a repository: keys, and the names that are parts of keys.

`docs/format.md`, "Layout". Database names come from users and end up in file names, so they are
percent-encoded until nothing is left that a file system, a shell or a URL could read otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from backup.errors import SettingsError

REPOSITORY_KEY = "repository.json"
CHUNK_KEY_KEY = "chunk-key.age"
INSTRUCTIONS_KEY = "RESTORE.md"
SCRIPT_KEY = "restore.sh"
CHUNKS_PREFIX = "chunks/"
BACKUPS_PREFIX = "backups/"
LOG_PREFIX = "log/"
COPIED_LOG_PREFIX = "copied-log/"
LOG_ENTRIES_PREFIX = "log/entries/"
LOG_CHECKPOINTS_PREFIX = "log/checkpoints/"
LEASES_PREFIX = "leases/"
PINS_PREFIX = "pins/"
CONDEMNED_PREFIX = "condemned/"

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.json.sig"
CATALOG_NAME = "catalog.json.age"

_LOG_KEY = re.compile(r"log/(?:entries/([0-9]{12})\.json|checkpoints/([0-9]{12})\.note)")
# No hour 24: newer Pythons read it as midnight, and a time would have two ids.
_BACKUP_ID = re.compile(r"[0-9]{8}T(?:[01][0-9]|2[0-3])[0-9]{4}Z-[0-9a-f]{6}")
_REPOSITORY_ID = re.compile(r"[0-9a-f]{32}")
# NAME_MAX of every file system that matters; PostgreSQL's own names encode to at most 189.
_MAXIMUM_SEGMENT = 255
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_TIME_LENGTH = len("20260114T020000Z")
_PLAIN_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@dataclass(frozen=True, slots=True, order=True)
class BackupId:
    """When a backup began (UTC, to the second) and six random hex digits; sorts by time."""

    text: str

    def __post_init__(self) -> None:
        if not _BACKUP_ID.fullmatch(self.text):
            raise SettingsError(
                f"{self.text!r} is not a backup id",
                hint="ids look like 20260114T020000Z-3f9c2a; `strongroom list` shows them",
            )
        try:
            _ = self.started
        except ValueError as error:
            raise SettingsError(f"{self.text!r} names no point in time") from error

    @classmethod
    def new(cls, now: datetime, random: bytes) -> BackupId:
        """Return the id of a backup that begins at `now`; `random` is three bytes."""
        return cls(f"{now.astimezone(UTC).strftime(_TIME_FORMAT)}-{random.hex()}")

    @classmethod
    def after(cls, newest: BackupId | None, now: datetime, random: bytes) -> BackupId:
        """Return the id of a backup that begins at `now` and sorts after `newest`.

        Ids carry whole seconds: one begun in the same second counts as begun in the next. Only a
        minute is made up for; an id further ahead was made by a clock that was wrong.
        """
        if newest is not None and timedelta() <= newest.started - now.replace(
            microsecond=0
        ) < timedelta(minutes=1):
            now = newest.started + timedelta(seconds=1)
        return cls.new(now, random)

    @property
    def started(self) -> datetime:
        """The time in the id."""
        return datetime.fromisoformat(self.text[:_TIME_LENGTH])  # strptime takes ten times as long

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class BackupKey:
    """Which backup: the name it is filed under, and its id."""

    database: str
    id: BackupId

    @property
    def place(self) -> str:
        """The two as the evidence log and the private half have them: `<name>/<backup id>`."""
        return f"{encode_name(self.database)}/{self.id}"

    @property
    def prefix(self) -> str:
        """The prefix of all objects that belong to this backup alone."""
        return f"{database_prefix(self.database)}{self.id}/"

    @property
    def manifest(self) -> str:
        """The key of the manifest: this object exists exactly when the backup exists."""
        return self.prefix + MANIFEST_NAME

    @property
    def signature(self) -> str:
        """The key of the manifest's signature."""
        return self.prefix + SIGNATURE_NAME

    @property
    def catalog(self) -> str:
        """The key of the encrypted private half."""
        return self.prefix + CATALOG_NAME

    def chunk_list(self, part: str) -> str:
        """The key of the list of chunks that make up `part`."""
        return f"{self.prefix}parts/{part}.chunks"


@lru_cache(maxsize=1024)  # a repository has few names, and each of its keys has one
def encode_name(name: str) -> str:
    """Return `name` as one path segment; different names give different segments."""
    if not name:
        raise SettingsError("a database name must not be empty")
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SettingsError(f"database name {name!r} is not valid UTF-8") from error
    segment = "".join(chr(byte) if byte in _PLAIN_BYTES else f"%{byte:02X}" for byte in encoded)
    if len(segment) > _MAXIMUM_SEGMENT:
        raise SettingsError(
            f"name {name[:40]!r}… takes {len(segment)} characters as a file name, and"
            f" {_MAXIMUM_SEGMENT} fit",
            hint="choose a shorter --name",
        )
    return segment


def require_repository_id(text: str) -> str:
    """Return a repository id, or raise `ValueError`: it names directories on this host."""
    if not _REPOSITORY_ID.fullmatch(text):
        raise ValueError("a repository id is 32 hex digits")
    return text


@lru_cache(maxsize=1024)
def decode_name(segment: str) -> str:
    """Return the name that `encode_name` made this segment from, or raise `ValueError`."""
    raw = bytearray()
    position = 0
    while position < len(segment):
        if segment[position] == "%":
            raw.append(int(segment[position + 1 : position + 3], 16))
            position += 3
        else:
            raw.extend(segment[position].encode("ascii"))
            position += 1
    name = raw.decode("utf-8")
    try:
        is_encoded = encode_name(name) == segment
    except SettingsError:
        is_encoded = False
    if not is_encoded:
        raise ValueError(f"{segment!r} is not an encoded name")
    return name


def database_prefix(database: str) -> str:
    """Return the prefix of all backups filed under `database`."""
    return f"{BACKUPS_PREFIX}{encode_name(database)}/"


def chunk_object_key(sha256: bytes) -> str:
    """Return the key of a chunk object, which is named by the SHA-256 of its own bytes."""
    digits = sha256.hex()
    return f"{CHUNKS_PREFIX}{digits[:2]}/{digits}"


def parse_chunk_object_key(key: str) -> bytes | None:
    """Return the SHA-256 in a chunk object's key, or None if this is no such key."""
    digits = key.removeprefix(CHUNKS_PREFIX)[3:]
    try:
        sha256 = bytes.fromhex(digits)
    except ValueError:
        return None
    return sha256 if len(sha256) == 32 and chunk_object_key(sha256) == key else None


def log_entry_key(seq: int) -> str:
    """Return the key of an entry of the evidence log; entries count from 0."""
    return f"{LOG_ENTRIES_PREFIX}{seq:012}.json"


def copied_log_key(key: str) -> str:
    """Return where a copy of the repository has an object of the log, or objects below `log/`."""
    return COPIED_LOG_PREFIX + key.removeprefix(LOG_PREFIX)


def log_checkpoint_key(size: int) -> str:
    """Return the key of the checkpoint over the first `size` entries."""
    return f"{LOG_CHECKPOINTS_PREFIX}{size:012}.note"


def log_timestamp_key(size: int) -> str:
    """Return the key of the time-stamp authority's reply over that checkpoint."""
    return f"{LOG_CHECKPOINTS_PREFIX}{size:012}.tsr"


def parse_log_key(key: str) -> int | None:
    """Return the number in the key of an entry or a checkpoint, or None if it is neither."""
    match = _LOG_KEY.fullmatch(key)
    return int(match[1] or match[2]) if match else None


def parse_manifest_key(key: str) -> BackupKey | None:
    """Return which backup a manifest's key belongs to, or None if this is no such key."""
    found = parse_backup_object_key(key)
    return found[0] if found is not None and found[1] == MANIFEST_NAME else None


def parse_backup_object_key(key: str) -> tuple[BackupKey, str] | None:
    """Return the backup that an object is part of and what follows its prefix, or None."""
    segments = key.split("/", 3)
    if len(segments) != 4 or segments[0] != "backups" or not segments[3]:
        return None
    try:
        return BackupKey(decode_name(segments[1]), BackupId(segments[2])), segments[3]
    except (ValueError, SettingsError):
        return None
