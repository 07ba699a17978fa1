"""`prune`, `backup`, `verify` killed while they hold a lease: who waits for it, and who doesn't."""

from __future__ import annotations

import shutil
import subprocess  # noqa: TID251 - processes of the command line are stopped and killed here
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup.errors import BusyError
from backup.repository.lease import read_leases
from tests.faults.test_prune_beside import RETENTION
from tests.faults.vault import Vault, eventually

KILLED = -9
# Where each is when it stops or dies: it holds its lease, and is about to remove an object.
REMOVES = {"calls": ["unlink"], "path": "repository"}


@contextmanager
def stopped_prune(vault: Vault, at: int) -> Iterator[subprocess.Popen[str]]:
    """A prune that has stopped (SIGSTOP) when it was to remove its n-th object."""
    process = vault.start("prune", "--apply", fault={**REMOVES, "at": at, "then": "stop"})
    try:
        assert eventually(lambda: is_stopped(process), 120), "it ended, or does not stop"
        yield process
    finally:
        process.kill()
        process.communicate()


def is_stopped(process: subprocess.Popen[str]) -> bool:
    """Whether all of it stands still."""
    assert process.poll() is None
    stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii", errors="replace")
    return stat.rpartition(")")[2].split()[0] == "T"


def test_a_killed_prune_is_followed_at_once(vault: Vault) -> None:
    """One that stands still is waited for, here and elsewhere; a dead one only elsewhere."""
    vault.config.write_text(vault.config.read_text() + RETENTION)
    for _ in range(2):
        assert vault.backup().code == 0
    older, newest = vault.backups()
    shutil.copytree(vault.state / "keys", vault.directory / "elsewhere" / "keys")
    elsewhere = ("prune", "--apply", "--state-directory", vault.directory / "elsewhere")
    with stopped_prune(vault, at=2) as prune:
        for busy in (vault.run("prune", "--apply"), vault.run(*elsewhere)):
            assert busy.code == BusyError.exit_code, busy.stderr
            assert f"process {prune.pid}, is at work" in busy.stderr
    assert vault.run(*elsewhere).code == BusyError.exit_code
    assert read_leases(vault.repository().store), "the dead one's lease is there still"

    done = vault.run("prune", "--apply", "--json")
    assert done.code == 0, done.stderr
    assert older not in vault.backups()
    assert read_leases(vault.repository().store) == []
    assert vault.backups() == [newest]
    vault.assert_whole()


def test_what_a_killed_backup_and_a_killed_verify_left_holds_no_prune_off(vault: Vault) -> None:
    """What they read or wrote is nobody's any more: the next prune takes it at once."""
    vault.config.write_text(vault.config.read_text() + RETENTION)
    for _ in range(2):
        assert vault.backup().code == 0
    older, newest = vault.backups()
    killed = vault.run("verify", older.id.text, fault={**REMOVES, "at": 1, "then": "kill"})
    assert killed.code == KILLED
    manifest = {"calls": ["link"], "path": "manifest.json", "at": 1, "then": "kill"}
    assert vault.backup(fault=manifest).code == KILLED
    left = read_leases(vault.repository().store)
    assert {lease.kind for lease in left} == {"backup", "verify"}

    done = vault.run("prune", "--apply", "--json")
    assert done.code == 0, done.stderr
    assert (done.json["deleted"], done.json["postponed"]) == ([older.id.text], None)
    assert vault.backups() == [newest]
    assert read_leases(vault.repository().store) == []
    assert vault.backup().code == 0
    vault.assert_whole()
