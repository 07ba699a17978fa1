"""Something hangs in a run of the daemon: it is gone within the limit, with its session.

Real processes that are stopped by SIGSTOP, which none can catch, and an S3 server that takes an
upload and never answers. The daemon's own runner ends them.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.stores.base import Store
from tests.faults.test_daemon import next_hour
from tests.faults.vault import Vault, eventually, held_dumps
from tests.faults.watched import Watched, until
from tests.lab.buckets import KEYS, S3Server, moto
from tests.lab.processes import command_lines
from tests.lab.servers import LabServer

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


@dataclass
class Gate:
    """Passes bytes on to a server; closed, it takes what comes, and nothing ever comes back."""

    server: S3Server
    is_closed: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def endpoint(self) -> Iterator[str]:
        """Listen on loopback, and yield the address."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(0.1)
            accepting = threading.Thread(target=self._accept, args=(listening,))
            accepting.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                self._over.set()
                accepting.join()

    def _accept(self, listening: socket.socket) -> None:
        pumps = []
        while not self._over.is_set():
            with suppress(TimeoutError):
                client, _ = listening.accept()
                pumps.append(threading.Thread(target=self._pump, args=(client,)))
                pumps[-1].start()
        for pump in pumps:
            pump.join()

    def _pump(self, client: socket.socket) -> None:
        address = urlsplit(self.server.endpoint)
        with client, socket.create_connection((address.hostname, address.port)) as server:
            other = {client: server, server: client}
            while not self._over.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.1)
                for one in ready:
                    try:
                        data = one.recv(65536)
                        if not data:
                            return
                        if self.is_closed.is_set():
                            self.held.set()
                        else:
                            other[one].sendall(data)
                    except OSError:
                        return


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote(Vault):
    """A vault whose repository is in a bucket."""

    store: Store

    def repository(self, store: Store | None = None) -> Repository:
        """The repository, opened anew."""
        return Repository(store or self.store)


def test_an_upload_that_is_never_answered_is_gone_with_its_session(
    tmp_path: Path, any_server: LabServer, portal: Dsn
) -> None:
    """The server takes it and says nothing more; answered again, the next try is good."""
    with moto() as server:
        bucket = server.new_bucket()
        store = server.store(bucket)
        vault = Remote(directory=tmp_path, server=any_server, dsn=portal, store=store)
        vault.identity_file.write_text(f"{vault.identity.text}\n", encoding="ascii")
        vault.identity_file.chmod(0o600)
        vault.initialize(store)
        (tmp_path / ".aws").mkdir()
        (tmp_path / ".aws" / "credentials").write_text(
            f"[default]\naws_access_key_id = {KEYS.access_key_id}\n"
            f"aws_secret_access_key = {KEYS.secret_access_key}\n"
        )
        gate = Gate(server)
        with (
            held_dumps(vault) as (tools, hold),
            gate.endpoint() as endpoint,
        ):
            watched = Watched(vault=vault, config=tmp_path / "daemon.toml")
            watched.write(
                "0 * * * *",
                f'tool_directories = ["{tools}"]\n{SETTINGS}\n[s3]\nendpoint = "{endpoint}"\n'
                'region = "us-east-1"\npath_style = true\n',
            )
            watched.config.write_text(
                watched.config.read_text().replace(str(vault.root), f"s3://{bucket}")
            )
            watched.begin(-timedelta(days=30))
            with watched.running() as daemon:
                watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
                until(lambda: bool(at_work(watched, "/pg_dump --format")), lambda: daemon.text)
                run = first_at_work(watched, "backup.cli")
                gate.is_closed.set()
                hold.unlink()
                until(gate.held.is_set, lambda: daemon.text)
                since = time.monotonic()
                assert eventually(
                    lambda: is_gone(run) and not vault.sessions(), SILENCE + GRACE + ROOM
                ), daemon.text
                print(f"upload: gone after {time.monotonic() - since:.0f} s")  # noqa: T201
                gate.is_closed.clear()
                [failed, *_] = daemon.says("slot_failed", seconds=120)
                assert failed["outcome"] in {"stalled", "troubled"}
                daemon.says("slot_finished", seconds=180)
        watched.assert_nothing_left()
        assert len(vault.backups()) == 1
        assert vault.verified().is_good
