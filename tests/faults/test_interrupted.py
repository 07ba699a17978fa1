"""Ctrl-C and systemd's SIGTERM: exit code 130, nobody left at work, an honest last word."""

from __future__ import annotations

import random
import signal
import subprocess  # noqa: TID251 - the type of a started command line
import time
from pathlib import Path

import pytest

from tests.faults.vault import Vault, finish, held_dumps, wrapped_tools
from tests.lab.effort import Numbers

SIGNALS = [signal.SIGINT, signal.SIGTERM]
INTERRUPTED = 130


def listens(pid: int) -> bool:
    """Whether a process handles SIGTERM: Python itself would be ended by it."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def interrupted(process: subprocess.Popen[str], number: signal.Signals, after: float) -> None:
    """Send the signal a while after our first line, twice, as an impatient person does."""
    while process.poll() is None and not listens(process.pid):
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_backup_is_interrupted(
    vault: Vault, numbers: Numbers, chance: random.Random, number: signal.Signals
) -> None:
    """An interrupted backup is no backup, and the next run goes on from it."""
    with held_dumps(vault) as (tools, _):
        for _ in range(numbers.of(5, 50)):
            process = vault.start_backup("--tool-directories", tools)
            interrupted(process, number, chance.uniform(0.2, 0.9))
            done = finish(process)
            assert done.code == INTERRUPTED, done.stderr
            assert "strongroom: interrupted" in done.stderr
            assert "Traceback" not in done.stderr
            assert vault.backups() == []
            vault.assert_nobody_left()
    assert vault.backup().code == 0
    vault.assert_whole()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_backup_is_interrupted_when_it_is_nearly_done(
    vault: Vault, numbers: Numbers, chance: random.Random, number: signal.Signals
) -> None:
    """Whatever the moment, there is a whole backup or none, and what is said is true."""
    for _ in range(numbers.of(6, 60)):
        before = vault.backups()
        process = vault.start_backup()
        interrupted(process, number, chance.uniform(0.4, 1.0))
        done = finish(process)
        if done.code == INTERRUPTED:
            if len(vault.backups()) > len(before):
                assert "the backup exists" in done.stderr
            assert "Traceback" not in done.stderr, done.stderr
        else:  # all was done
            assert done.code == 0, done.stderr
        vault.assert_nobody_left()
    assert vault.backup().code == 0
    vault.assert_whole()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_restore_is_interrupted(
    vault: Vault, numbers: Numbers, chance: random.Random, number: signal.Signals
) -> None:
    """The database that an interrupted restore made is dropped."""
    assert vault.backup().code == 0
    target = f"{vault.dsn.database}_restored"
    slow = 'case "$*" in *section=data*) sleep 1000;; esac\nexec "$real" "$@"'
    to = vault.dsn.with_database(target).conninfo()
    with wrapped_tools(vault.directory / "tools", vault.server.tools.bin, pg_restore=slow) as tools:
        arguments = ("restore", "latest", "--identity", vault.identity_file, "--to", to, "--json")
        for _ in range(numbers.of(5, 50)):
            process = vault.start(*arguments, "--tool-directories", tools)
            interrupted(process, number, chance.uniform(0.5, 1.3))
            done = finish(process)
            assert done.code == INTERRUPTED, done.stderr
            assert "Traceback" not in done.stderr
            vault.assert_nobody_left()
            assert target not in vault.databases(), done.stderr


def test_a_signal_while_programs_are_loaded(vault: Vault, chance: random.Random) -> None:
    """However early it comes, the exit code is the documented one."""
    with held_dumps(vault) as (tools, _):
        for _ in range(20):
            process = vault.start_backup("--tool-directories", tools)
            interrupted(process, signal.SIGTERM, chance.uniform(0, 0.4))
            done = finish(process)
            assert done.code == INTERRUPTED, done.stderr
            assert "Traceback" not in done.stderr
            vault.assert_nobody_left()
