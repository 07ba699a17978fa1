"""Something hangs in a run of the daemon: it is gone within the limit, with its session.

Real processes that are stopped by SIGSTOP, which none can catch, and a network to an S3 server that
takes an upload and brings no answer, or a byte a second. The daemon's own runner ends them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backup.postgres.dsn import Dsn
from tests.faults.test_daemon import next_hour
from tests.faults.vault import BucketVault, Vault, eventually, held_dumps
from tests.faults.watched import Watched, until
from tests.lab.processes import command_lines
from tests.lab.servers import LabServer
from tests.lab.wire import Break, wire

if TYPE_CHECKING:
    from tests.lab.buckets import S3Server

# What moves nothing for so long is told to end; after another 30 s it is killed. The rest is room
# for a machine that has other work.
SILENCE = 8
GRACE = 30
ROOM = 45
SETTINGS = f"\n[daemon]\nretry_after = 1\nattempts = 9\nsilence_timeout = {SILENCE}\n"


def at_work(watched: Watched, text: str) -> list[int]:
    """The processes of this test's runs with this text in their command line."""
    mine = str(watched.vault.directory)
    return [
        pid
        for pid, line in command_lines()
        if text in line and (mine in line or watched.vault.dsn.database in line)
    ]


def first_at_work(watched: Watched, text: str) -> int:
    """Such a process, as soon as there is one."""
    found: list[int] = []

    def look() -> bool:
        found.extend(at_work(watched, text))
        return bool(found)

    until(look, watched.records)
    return found[0]


def is_gone(pid: int) -> bool:
    """Whether a process has ended and was reaped."""
    return not Path(f"/proc/{pid}").exists()


def is_stopped(pid: int) -> bool:
    """Whether a process rests where SIGSTOP met it."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def stop_one(find: Callable[[], list[int]]) -> int:
    """Stop one of the processes that are found; such as just end are passed over."""
    deadline = time.monotonic() + ROOM
    while time.monotonic() < deadline:
        for pid in find():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            if eventually(lambda pid=pid: is_stopped(pid) or is_gone(pid), 5.0) and is_stopped(pid):  # type: ignore[misc]
                return pid
    raise AssertionError("nothing was there to be stopped")


@contextmanager
def stopped(find: Callable[[], list[int]]) -> Iterator[int]:
    """Stop a process for good and yield its id; whatever happens, it does not stay."""
    pid = stop_one(find)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("what", ["the run", "pg_dump"])
def test_a_stopped_process_is_gone_with_its_session(vault: Vault, what: str) -> None:
    """Be it our own, or one that it waits for; then the slot is tried again, and is good."""
    with held_dumps(vault) as (tools, hold):
        watched = Watched.make(vault, more=f'tool_directories = ["{tools}"]\n{SETTINGS}')
        with watched.running() as daemon:
            watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
            until(lambda: bool(at_work(watched, "/pg_dump --format")), lambda: daemon.text)
            until(lambda: bool(vault.sessions()), lambda: daemon.text)
            text = "backup.cli" if what == "the run" else f"{vault.server.tools.bin}/pg_dump"
            with stopped(lambda: at_work(watched, text)) as pid:
                since = time.monotonic()
                assert eventually(lambda: is_gone(pid), SILENCE + GRACE + ROOM), daemon.text
                [failed, *_] = daemon.says("slot_failed")
                assert failed["outcome"] in {"stalled", "troubled"}
            hold.unlink()
            print(f"{what}: gone after {time.monotonic() - since:.0f} s")  # noqa: T201
            daemon.says("slot_finished", seconds=120)
    watched.assert_nothing_left()
    assert len(vault.backups()) == 1
    vault.assert_whole()


@pytest.mark.parametrize("breaks", ["swallow", "drip"])
def test_an_upload_that_never_ends_is_gone_with_its_session(
    tmp_path: Path, any_server: LabServer, portal: Dsn, real_s3: S3Server, breaks: Break
) -> None:
    """Never answered, or a byte a second; when all is well again the next try is good."""
    vault = BucketVault.within(real_s3, tmp_path, any_server, portal)
    port = int(vault.s3.endpoint.rpartition(":")[2])
    with (
        held_dumps(vault) as (tools, hold),
        wire(port, breaks, sys.maxsize, drip_seconds=1) as line,
    ):
        there = replace(vault, s3=replace(vault.s3, endpoint=f"https://127.0.0.1:{line.port}"))
        watched = Watched.make(there, more=f'tool_directories = ["{tools}"]\n{SETTINGS}')
        with watched.running() as daemon:
            watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
            until(lambda: bool(at_work(watched, "/pg_dump --format")), lambda: daemon.text)
            run = first_at_work(watched, "backup.cli")
            line.break_now()
            hold.unlink()
            until(lambda: line.is_broken, lambda: daemon.text)
            since = time.monotonic()
            assert eventually(
                lambda: is_gone(run) and not vault.sessions(), SILENCE + GRACE + ROOM
            ), daemon.text
            print(f"upload, {breaks}: gone after {time.monotonic() - since:.0f} s")  # noqa: T201
            line.mend()
            [failed, *_] = daemon.says("slot_failed", seconds=120)
            assert failed["outcome"] in {"stalled", "troubled"}
            daemon.says("slot_finished", seconds=180)
    watched.assert_nothing_left()
    assert len(vault.backups()) == 1
    assert vault.verified().is_good
