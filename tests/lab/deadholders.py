"""Leases of processes that were killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from datetime import datetime

from backup.holders import Holders
from backup.leases import held
from backup.repository.layout import BackupKey
from backup.repository.lease import Lease, LeaseKind, read_leases
from backup.repository.stores.local import LocalStore


def die_holding(
    store: LocalStore,
    kind: LeaseKind,
    holders: Holders,
    *,
    clock: Callable[[], datetime],
    backups: Iterable[BackupKey] = (),
) -> Lease:
    """Take a lease in another process, kill that (SIGKILL), and return what it left."""
    process = os.fork()
    if process == 0:
        try:
            with held(store, kind, clock=clock, holders=holders, backups=backups):
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status)
    (left,) = [one for one in read_leases(store, [kind]) if one.process == process]
    return left
