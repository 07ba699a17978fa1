"""`pin` and `unpin`: keep a backup whatever the policy says, and let it go again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from backup.errors import BusyError, NotFoundError, ObjectExistsError, SettingsError
from backup.evidence.entry import EntryType
from backup.evidence.log import EvidenceLog
from backup.leases import require_not_going
from backup.repository.access import Repository
from backup.repository.layout import BackupKey
from backup.repository.pins import Pin, encode_pin, pin_key, read_pin

_MAXIMUM_REASON = 500


def pin(
    repository: Repository,
    key: BackupKey,
    log: EvidenceLog,
    *,
    who: str,
    why: str,
    clock: Callable[[], datetime],
) -> tuple[Pin, bool]:
    """Keep a backup; return the pin, and whether it is new.

    A pin that is there already stays as it is. Raises `BusyError` if a prune is deleting the
    backup in this moment.
    """
    if not why.strip() or len(why) > _MAXIMUM_REASON:
        raise SettingsError(f"a reason has 1 to {_MAXIMUM_REASON} characters")
    there = read_pin(repository.store, key)
    if there is not None:
        return there, False
    made = Pin(
        format=1,
        backup_id=key.id.text,
        database=key.database,
        who=who,
        when=clock().replace(microsecond=0),
        why=why.strip(),
    )
    try:
        repository.store.put(pin_key(key), encode_pin(made))
    except ObjectExistsError:
        return read_pin(repository.store, key) or made, False
    try:
        # After the pin is there: a prune that has not seen it is seen here.
        require_not_going(repository.store, [key], now=clock())
        if key not in repository.backups(key.database):
            raise NotFoundError(f"backup {key.id} has just been deleted")
    except (BusyError, NotFoundError):
        repository.store.delete(pin_key(key))
        raise
    log.append(
        EntryType.PIN_SET,
        {"backup": key.id.text, "database": key.database, "who": who, "why": made.why},
        now=clock(),
    )
    return made, True


def unpin(
    repository: Repository, key: BackupKey, log: EvidenceLog, *, who: str, now: datetime
) -> bool:
    """Take a pin off; return whether there was one. The log is told first."""
    if pin_key(key) not in set(repository.store.list(pin_key(key))):
        return False
    log.append(
        EntryType.PIN_REMOVED,
        {"backup": key.id.text, "database": key.database, "who": who},
        now=now,
    )
    repository.store.delete(pin_key(key))
    return True
