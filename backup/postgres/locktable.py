"""How many locks a backup takes, and what a server's lock table takes. Pure.

PostgreSQL manual, `max_locks_per_transaction`: the table is shared by all sessions and has its
size from the server's start. A session that has no room left for a lock is told "out of shared
memory"; how many more than its slots the table takes depends on what it was used for before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

# The session that holds the snapshot, and the dumps of the schema and of the small tables.
_SESSIONS: Final = 3
# Before 17 a pg_dump reads each sequence, and keeps it locked until it ends.
_SEQUENCES_ARE_LOCKED_BEFORE: Final = 17
_DUMPS: Final = 2
# Measured on 15, 16 and 18 with default settings: 1.7 locks a slot, for locks of three sessions.
_NEVER_FITS: Final = 2
_STEP: Final = 64

SETTING: Final = "max_locks_per_transaction"
HINT: Final = (
    f"raise {SETTING} on the server and restart it: `strongroom doctor` says how far; a backup"
    " locks every table, in three sessions"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTable:
    """A database and its server's settings; `sessions` are those that a client may have.

    `all_sessions` count the server's own processes too.
    """

    tables: int
    sequences: int
    major: int
    per_session: int
    sessions: int
    all_sessions: int

    @property
    def wanted(self) -> int:
        """The locks that a backup holds at once, at most."""
        sequences = self.sequences if self.major < _SEQUENCES_ARE_LOCKED_BEFORE else 0
        return _SESSIONS * self.tables + _DUMPS * sequences

    @property
    def slots(self) -> int:
        """The locks that are certain to find room while nobody else has any."""
        return self.per_session * self.sessions

    @property
    def status(self) -> Literal["good", "warning", "bad"]:
        """Bad: not even the first dump finds room beside the session that holds the snapshot."""
        if 2 * self.tables > _NEVER_FITS * self.per_session * self.all_sessions:
            return "bad"
        return "good" if self.wanted <= self.slots else "warning"

    @property
    def needed_per_session(self) -> int:
        """The value of `max_locks_per_transaction` with which a backup finds room."""
        return -(-self.wanted // (self.sessions * _STEP)) * _STEP


def is_full(text: str) -> bool:
    """Whether a server says that its lock table is full; it names the setting in any language."""
    return SETTING in text
