"""What is copied beside the backups: pins, and the evidence log, below `copied-log/`.

Nobody appends to the log there. Every entry has the SHA-256 of the one before, so a copy whose last
entry is the repository's entry of that number has all of them; one that differs shows that the log
was written anew.
"""

from __future__ import annotations

import contextlib

from backup.errors import IntegrityError, NotFoundError
from backup.repository.layout import (
    COPIED_LOG_PREFIX,
    LOG_ENTRIES_PREFIX,
    LOG_PREFIX,
    PINS_PREFIX,
    copied_log_key,
)
from backup.repository.stores.base import Store

_COPIED_ENTRIES = copied_log_key(LOG_ENTRIES_PREFIX)


def copy_pins(source: Store, target: Store) -> None:
    """Copy pins. One that was taken off since stays in the copy: it keeps more, never less."""
    there = set(target.list(PINS_PREFIX))
    for key in source.list(PINS_PREFIX):
        if key not in there:
            with contextlib.suppress(NotFoundError):  # taken off in this moment
                target.put(key, source.get(key))


def copy_log(source: Store, target: Store) -> int:
    """Copy what the copy has not of the log; return how many objects. All are durable on return.

    Raises `IntegrityError`, and copies nothing, if what was copied before is not its beginning.
    """
    there = set(target.list(COPIED_LOG_PREFIX))
    _require_same_beginning(source, target, there)
    # In the store's order, so checkpoints first: each entry that they vouch for is listed too.
    missing = [key for key in source.list(LOG_PREFIX) if copied_log_key(key) not in there]
    entries = [key for key in missing if key.startswith(LOG_ENTRIES_PREFIX)]
    for some in (entries, [key for key in missing if not key.startswith(LOG_ENTRIES_PREFIX)]):
        for key in some:
            target.put(copied_log_key(key), source.get(key), durable=False)
        target.sync()
    return len(missing)


def _require_same_beginning(source: Store, target: Store, there: set[str]) -> None:
    copied = [key for key in there if key.startswith(_COPIED_ENTRIES)]
    if not copied:
        return
    last = max(copied)
    home = LOG_PREFIX + last.removeprefix(COPIED_LOG_PREFIX)
    try:
        is_same = source.get(home) == target.get(last)
    except NotFoundError:
        is_same = False
    if not is_same:
        raise IntegrityError(
            f"the evidence log of {source.address} does not go on from what was copied to"
            f" {target.address}: {home} is another entry there, or none",
            hint="one of the two was cut short or written anew: `strongroom log verify`, and find"
            " out who wrote to the store",
        )
