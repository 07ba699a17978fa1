"""A prune beside a backup and a restore test, each a process of its own: nothing in use goes."""

from __future__ import annotations

import shutil
import signal
import subprocess  # noqa: TID251 - processes of the command line are stopped and go on here
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backup.repository.lease import Lease, read_leases
from tests.faults.vault import Vault, eventually, finish, held_dumps

# Every backup but the newest goes, as soon as it is not in use.
RETENTION = """
[retention]
keep_last = 1
keep_proven_monthly = 0
minimum_age = 0
minimum_count = 1
"""
LIMIT = 120.0


def at_work(vault: Vault, kind: str) -> list[Lease]:
    """The leases of runs that read the repository, or write to it."""
    found = read_leases(vault.repository().store)
    return [lease for lease in found if lease.kind == kind and not lease.is_released]


@contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    """Stop a process while the block lasts."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("pruner", ["here", "elsewhere"])
def test_what_is_in_use_in_other_processes_stays(vault: Vault, pruner: str) -> None:
    """A restore test reads the oldest, a backup refers to chunks of all: neither is hurt.

    Also by a host with a state directory of its own, which knows of them by the repository alone.
    When they are done, the same prune takes what is not in use any more.
    """
    prune: tuple[str | Path, ...] = ("prune", "--apply", "--json")
    if pruner == "elsewhere":
        shutil.copytree(vault.state / "keys", vault.directory / "elsewhere" / "keys")
        prune = (*prune, "--state-directory", vault.directory / "elsewhere")
    asked = vault.directory / "asked"
    asked.touch()
    wait = f'["/bin/sh", "-c", "while [ -e {asked} ]; do sleep 0.1; done"]'
    smoke = f'smoke_command = {wait}\ncheck_timeout = "PT1H"\n'
    vault.config.write_text(vault.config.read_text() + smoke + RETENTION)
    for _ in range(3):
        assert vault.backup().code == 0
    oldest, middle, newest = (key.id.text for key in vault.backups())
    with held_dumps(vault) as (tools, hold):
        backup = vault.start_backup("--tool-directories", tools)
        assert eventually(lambda: bool(at_work(vault, "backup")), LIMIT)
        assert eventually(lambda: any("/pg_dump" in line for line in vault.processes()), LIMIT)
        test = vault.start("restore-test", oldest, "--identity", vault.identity_file, "--json")
        assert eventually(lambda: any(one.backups for one in at_work(vault, "restore-test")), LIMIT)
        with stopped(test):
            pruned = vault.run(*prune)
            there = {key.id.text for key in vault.backups()}
        asked.unlink()
        assert pruned.code == 0, pruned.stderr
        assert pruned.json["deleted"] == [middle]
        assert there == {oldest, newest}
        assert (pruned.json["swept"], bool(pruned.json["postponed"])) == (0, True)

        tested = finish(test, LIMIT)
        assert (tested.code, tested.json["codes"]) == (0, []), tested.stdout + tested.stderr
        hold.unlink()
        done = finish(backup, LIMIT)
    assert done.code == 0, done.stderr
    assert vault.verified().is_good

    # What the restore test proved is kept for that: the newest that passed one never goes.
    later = vault.run(*prune)
    assert later.code == 0, later.stderr
    assert later.json["deleted"] == [newest]
    assert [key.id.text for key in vault.backups()] == [oldest, done.json["backup_id"]]
    vault.assert_whole()


def test_what_others_wrote_does_nothing_to_a_terminal(vault: Vault) -> None:
    """Whoever can write to the store can pin; the reason is shown with its numbers."""
    assert vault.backup().code == 0
    pinned = vault.run("pin", "latest", "--reason", "audit\x1b[2J\nGood: nothing to see")
    assert pinned.code == 0, pinned.stderr
    shown = [vault.run("list"), vault.run("show", "latest"), vault.run("prune"), pinned]
    for done in shown:
        assert "\x1b" not in done.stdout
        assert r"audit\u{1b}[2J\u{a}Good: nothing to see" in done.stdout
