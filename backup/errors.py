"""The error tree: a class exists where a caller acts differently on it.

Every class has the exit code that `strongroom` ends with, says whether trying the same again can
help, and every instance may carry a hint that names the next command. `docs/exit-codes.md` is the
operator's copy of this table; a test holds the two together.
"""

from __future__ import annotations

import errno
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias

# What helps when a disk is full, wherever it was noticed.
FULL_DISK_HINTS = {
    errno.ENOSPC: "free space on this file system, then run the same command again",
    errno.EDQUOT: "raise the quota or free space, then run the same command again",
}


# In what way something stored is not what was written; a restore test's codes follow from it.
Flaw: TypeAlias = Literal["missing", "truncated", "altered", "unauthentic", "unsigned", "misfiled"]


class StrongroomError(Exception):
    """What was being done and to what, as one lower-case sentence without a full stop."""

    exit_code: ClassVar[int] = 1
    is_retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(StrongroomError):
    """The command line, the settings or the environment ask for something that cannot be."""

    exit_code = 2


class IntegrityError(StrongroomError):
    """What is stored is not what was written: the bytes, the signature or the list is wrong."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None, flaw: Flaw = "altered") -> None:
        super().__init__(message, hint=hint)
        self.flaw = flaw


class NotFoundError(StrongroomError):
    """The repository, backup or object that was named does not exist."""

    exit_code = 4


class PostgresError(StrongroomError):
    """The server or one of its client tools failed; no backup and no restore came of it."""

    exit_code = 5
    is_retryable = True


class StoreError(StrongroomError):
    """The store could not be read or written."""

    exit_code = 6
    is_retryable = True


class KeyUnavailableError(StrongroomError):
    """No key at hand does what is asked: an identity, chunk key or signing key is missing."""

    exit_code = 7


class BusyError(StrongroomError):
    """Another run holds the lock."""

    exit_code = 8
    is_retryable = True


class ToolMissingError(StrongroomError):
    """A client tool of the right version is not installed."""

    exit_code = 9


class StalledError(StrongroomError):
    """Nothing moved for longer than allowed, so the work was ended."""

    exit_code = 10
    is_retryable = True


class UnpinnedError(StrongroomError):
    """A signature is whole, but nothing here says whose key may have made it."""

    exit_code = 11


class BlockedError(StrongroomError):
    """Retention is blocked: something is in doubt, so nothing may be deleted."""

    exit_code = 12


class ObjectExistsError(StoreError):
    """An object with this key was written before; it was left as it is."""

    is_retryable = False


class LockedError(StoreError):
    """A lock of the store keeps an object from being deleted; `until` None: a hold without end."""

    is_retryable = False

    def __init__(
        self, message: str, *, hint: str | None = None, until: datetime | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.until = until
