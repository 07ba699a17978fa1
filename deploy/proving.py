"""The end of `host apply`: no host is done before one of its backups has been restored.

What is proven already is not proven again: that is the daemon's work, by its schedule.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from backup.errors import BusyError, StrongroomError
from deploy.core.model import BackupHost
from deploy.core.parse import InventoryHost
from deploy.remote import Remote, remote_of, strongroom

# A first backup may be that of a large database.
_LONG: Final = timedelta(days=2)
_BUSY: Final = BusyError.exit_code
# The one finding of a restore test that found all as it was, which is nothing.
NO_TABLE: Final = "ZERO_CHECKED"
_BETWEEN_TRIES_S: Final = 5
_TRIES: Final = 720


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A database's newest backup that passed a restore test, or why there is none.

    `new`: made by this run; `known`: there already; `empty`: backed up and restored, but a
    database without a table proves nothing; `untested`: this host has a backup and no identity
    to open it with, so that restore tests are another host's. `is_awaited`: the first backup that
    has a table is restore-tested by the daemon, without another apply.
    """

    host: str
    database: str
    state: Literal["new", "known", "empty", "untested"]
    backup_id: str
    is_awaited: bool = False


def prove(
    backup_hosts: Sequence[tuple[BackupHost, Remote]], tell: Callable[[str], None]
) -> tuple[Proof, ...]:
    """Back up and restore-test each database of these hosts that has no proven backup.

    Raises `StrongroomError` if a backup fails or a restore test does anything but pass.
    """
    return tuple(
        _prove(declared, remote, database, tell)
        for declared, remote in backup_hosts
        for database in declared.parsed.databases
    )


def limited(
    backup_hosts: Sequence[BackupHost], hosts: Sequence[InventoryHost], limits: Sequence[str]
) -> tuple[tuple[BackupHost, Remote], ...]:
    """Return the backup hosts that a run with these limits reaches, and how."""
    named = {
        str(host.data.get("hostname", host.name)): host
        for host in hosts
        if not limits or {host.name, *host.groups} & set(limits)
    }
    return tuple(
        (one, remote_of(named[one.host.name])) for one in backup_hosts if one.host.name in named
    )


def _prove(
    declared: BackupHost, remote: Remote, database: str, tell: Callable[[str], None]
) -> Proof:
    status = json.loads(strongroom(remote, "status --json", ok=(0, 1, 2))[0])
    (known,) = (one for one in status["databases"] if one["database"] == database)
    quoted, host = shlex.quote(database), declared.host.name
    can_test = declared.parsed.for_database(database).identity is not None
    there = known["proven_backup_id"] or (None if can_test else known["last_backup_id"])
    if there is not None:
        state: Literal["known", "untested"] = "known" if can_test else "untested"
        return Proof(host=host, database=database, state=state, backup_id=there)
    tell(f"first backup of {database} on {host}")
    made = json.loads(_when_free(remote, f"backup --name {quoted} --json", ok=(0,)))
    backup_id = str(made["backup_id"])
    if not can_test:
        return Proof(host=host, database=database, state="untested", backup_id=backup_id)
    tell(f"restore test of {backup_id}")
    words = f"restore-test {backup_id} --database {quoted} --json"
    tested = json.loads(_when_free(remote, words, ok=(0, 1, 2)))
    if tested["codes"] == [NO_TABLE]:
        own = declared.parsed.for_database(database)
        is_awaited = own.schedules.restore_test_first and own.schedule is not None
        return Proof(
            host=host,
            database=database,
            state="empty",
            backup_id=backup_id,
            is_awaited=is_awaited,
        )
    if tested["word"] != "PASS":
        raise StrongroomError(
            f"the hosts are as declared, but backup {backup_id} of {database} is not proven:"
            f" {tested['verdict']}",
            hint=f"on {host}: strongroom restore-test {backup_id} --database {database}",
        )
    return Proof(host=host, database=database, state="new", backup_id=backup_id)


def _when_free(remote: Remote, words: str, *, ok: tuple[int, ...]) -> str:
    """Return what `strongroom` prints; the daemon may be at the same work, which takes a while."""
    for _ in range(_TRIES):
        text, code = strongroom(remote, words, ok=(*ok, _BUSY), timeout=_LONG)
        if code != _BUSY:
            return text
        time.sleep(_BETWEEN_TRIES_S)
    raise BusyError(f"strongroom on {remote.name} is at work since an hour", hint=f"then: {words}")
