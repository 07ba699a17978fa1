"""What the evidence log says of prunes, and what it tells a prune. Pure.

A prune writes `prune.planned` with all that is about to go, `prune.executed` with `backup` after
each one that went, and `prune.executed` without one at its end. Killed in between, the next prune
finds what was planned, is gone and was never said to be gone. A prune of a copy writes entries of
types of its own, with the name of the copy: what they tell of is not gone from the repository.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backup.errors import SettingsError
from backup.evidence.entry import Detail, Entry, EntryType
from backup.repository.layout import BackupId, BackupKey, decode_name

_TELLS_OF_A_BACKUP = frozenset({EntryType.BACKUP_FINISHED, EntryType.INVENTORY_RECONCILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneEntries:
    """The types of a prune's entries, and what each of them carries beside its own details."""

    planned: EntryType
    executed: EntryType
    blocked: EntryType
    where: Mapping[str, Detail]


def prune_entries(copy: str | None) -> PruneEntries:
    """Return what a prune of the repository writes, or of the copy of that name."""
    if copy is None:
        return PruneEntries(
            planned=EntryType.PRUNE_PLANNED,
            executed=EntryType.PRUNE_EXECUTED,
            blocked=EntryType.PRUNE_BLOCKED,
            where={},
        )
    return PruneEntries(
        planned=EntryType.COPY_PRUNE_PLANNED,
        executed=EntryType.COPY_PRUNE_EXECUTED,
        blocked=EntryType.COPY_PRUNE_BLOCKED,
        where={"copy": copy},
    )


def planned_details(keys: Iterable[BackupKey]) -> dict[str, Detail]:
    """Return how an entry lists backups: `name/id`, a space between."""
    return {"backups": " ".join(key.place for key in keys)}


def planned_backups(entry: Entry) -> list[BackupKey]:
    """Return the backups that an entry lists; what is no backup's name is passed over."""
    found = []
    for word in str(entry.details.get("backups") or "").split():
        name, _, id_ = word.rpartition("/")
        try:
            found.append(BackupKey(decode_name(name), BackupId(id_)))
        except (ValueError, SettingsError):
            continue
    return found


def named_backup(entry: Entry) -> BackupKey | None:
    """Return the backup that an entry is about, or None."""
    database, backup = entry.details.get("database"), entry.details.get("backup")
    if not isinstance(database, str) or not isinstance(backup, str):
        return None
    try:
        return BackupKey(database, BackupId(backup))
    except SettingsError:
        return None


def proven_backups(entries: Iterable[Entry]) -> frozenset[BackupKey]:
    """Return the backups whose last conclusive restore test passed."""
    passed: dict[BackupKey, bool] = {}
    for entry in entries:
        key = named_backup(entry)
        if entry.type is not EntryType.RESTORE_TEST_FINISHED or key is None:
            continue
        verdict = str(entry.details.get("verdict"))
        if verdict == "FAIL":
            passed[key] = False
        elif verdict == "PASS" or verdict.startswith("PASS with "):
            passed[key] = True
    return frozenset(key for key, is_passed in passed.items() if is_passed)


def pinned_backups(entries: Iterable[Entry], copy: str | None = None) -> frozenset[BackupKey]:
    """Return the backups that were pinned in the repository, or that copy, and not unpinned."""
    pinned: set[BackupKey] = set()
    for entry in entries:
        key = named_backup(entry)
        if key is None or entry.details.get("copy") != copy:
            continue
        if entry.type is EntryType.PIN_SET:
            pinned.add(key)
        elif entry.type is EntryType.PIN_REMOVED:
            pinned.discard(key)
    return frozenset(pinned)


def made_in_order(entries: Iterable[Entry]) -> Mapping[str, Sequence[BackupKey]]:
    """Return the backups of each database in the order in which the log was told of them."""
    made: dict[str, dict[BackupKey, None]] = {}
    for entry in entries:
        key = named_backup(entry)
        if entry.type in _TELLS_OF_A_BACKUP and key is not None:
            made.setdefault(key.database, {})[key] = None
    return {database: tuple(keys) for database, keys in made.items()}


def never_said(
    entries: Iterable[Entry], backups: Collection[BackupKey], copy: str | None = None
) -> tuple[BackupKey, ...]:
    """Return what a prune planned, is gone, and no entry says that it went: it was killed."""
    kinds = prune_entries(copy)
    open_: dict[BackupKey, None] = {}
    for entry in entries:
        if entry.details.get("copy") != copy:
            continue
        if entry.type is kinds.planned:
            open_.update(dict.fromkeys(planned_backups(entry)))
        elif entry.type is kinds.executed:
            key = named_backup(entry)
            if key is None:  # the end of a run that was not killed
                open_.clear()
            else:
                open_.pop(key, None)
    return tuple(key for key in open_ if key not in backups)
