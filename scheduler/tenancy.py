"""One daemon of a repository: the lease that this one holds in it.

A daemon that was killed leaves its lease behind. The next one on this host knows it by what the
journal noted, and need not wait for its end; only one daemon at a time goes by one journal.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import datetime
from typing import Final

from backup.errors import BusyError, StrongroomError
from backup.leases import HeldLease, take_lease
from backup.repository.lease import Lease
from backup.repository.stores.base import Store
from scheduler.ledger import Ledger

_NOTE: Final = "daemon.lease"


class Tenancy:
    """The lease of kind `daemon`: taken, watched, taken again after the store was away."""

    def __init__(self, store: Store, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._lease: HeldLease | None = None
        self._noted: int | None = None
        self.trouble: str | None = None

    def take(self) -> None:
        """Take the lease. Raises `BusyError` if another daemon has it, `StoreError`."""
        before = self._ledger.note(_NOTE)

        def is_predecessor(held: Lease) -> bool:
            return _is_of(held, before)

        # Killed between taking and noting, nobody would know whose it is.
        self._ledger.set_notes({_NOTE: _noted(None)})
        try:
            self._lease = take_lease(
                self._store, "daemon", clock=self._clock, is_dead=is_predecessor
            )
        except BaseException:
            self._ledger.set_notes({_NOTE: before})
            raise
        self._note()

    def check(self) -> bool:
        """Return whether this daemon may begin runs; tries to get a lost lease back.

        Raises `BusyError` if another daemon has it now.
        """
        if self._lease is not None:
            try:
                self._lease.check()
            except BusyError:
                raise
            except StrongroomError as error:
                self.trouble = error.message
                self._lease.release()
                self._lease = None
            else:
                self._note()
                return True
        try:
            self.take()
        except BusyError:
            raise
        except StrongroomError as error:
            self.trouble = error.message
            return False
        self.trouble = None
        return True

    def release(self) -> None:
        """Let another daemon have it."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None
            self._ledger.set_notes({_NOTE: None})

    def _note(self) -> None:
        """Remember which lease is ours; each renewal gives it another number."""
        assert self._lease is not None
        number = self._lease.lease.number
        if number != self._noted:
            self._noted = number
            self._ledger.set_notes({_NOTE: _noted(number)})


def _noted(number: int | None) -> str:
    """Return what is noted of this process's lease; its number may not be known yet."""
    return json.dumps({"host": platform.node(), "process": os.getpid(), "number": number})


def _is_of(held: Lease, note: str | None) -> bool:
    """Whether a lease is the one that a daemon, which is dead, noted as its own."""
    try:
        noted = json.loads(note or "null")
        return (
            held.host == platform.node() == noted["host"]
            and held.process == noted["process"]
            # It may have been renewed once since that was noted.
            and (noted["number"] is None or held.number - noted["number"] in {0, 1})
        )
    except (ValueError, TypeError, KeyError):
        return False
