"""`python -m benchmarks.load`: the daemon with hundreds of databases, all due at once.

A real S3 server, a real PostgreSQL with so many small databases, and the daemon's own process,
whose clock is set to the hour. Told is how long the queue takes, what waits longest, what memory
the daemon and its children need, and the same for the first start after an outage of some hours,
when each database has one backup to catch up on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess  # noqa: TID251 - the daemon is what is measured
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from backup.crypto.recipients import X25519Identity
from backup.evidence.accounting import unaccounted
from backup.evidence.entry import Entry, EntryType
from backup.evidence.log import read_log
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import scratch_cluster
from backup.postgres.tools import Tools, find_tools
from backup.repository.stores.s3 import S3Store
from benchmarks.measure import pipeline, run_quietly
from benchmarks.report import machine
from benchmarks.rounds import DURABLE, tell
from benchmarks.sample import psql
from tests.faults.watched import Running
from tests.lab.buckets import S3Server
from tests.lab.radosgw import radosgw

ROOT = Path(__file__).parents[1]
OURS = str(Path(sys.executable).with_name("strongroom"))
_HOUR = timedelta(hours=1)
_OUTAGE_HOURS = 5
_TICKS = os.sysconf("SC_CLK_TCK")
_LIMIT_SECONDS = 7200.0
_TABLE = (
    "CREATE TABLE t AS SELECT n, sha512((n * {k})::text::bytea) FROM generate_series(1, 2000) n"
)


@dataclass
class Peaks:
    """The most memory at one moment, of the daemon and of all its children together."""

    daemon: int = 0
    child: int = 0
    children: int = 0
    count: int = 0
    daemon_seconds: float = 0.0

    def look(self, pid: int) -> None:
        """Look once."""
        with contextlib.suppress(OSError):
            self.daemon = max(self.daemon, _resident(pid))
            self.daemon_seconds = _seconds(pid)
        sizes = []
        for one in _descendants(pid):
            with contextlib.suppress(OSError):
                sizes.append(_resident(one))
        self.count = max(self.count, len(_children(pid)))
        self.child = max([self.child, *sizes])
        self.children = max(self.children, sum(sizes))


@dataclass
class Load:
    """So many databases, a bucket, and a daemon that comes and goes."""

    home: Path
    server: S3Server
    dsn: Dsn
    tools: Tools
    databases: int
    concurrency: int
    has_backups: bool
    address: str = ""
    store: S3Store | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def make(self) -> None:
        """Make the databases, the repository and the settings."""
        bucket = self.server.new_bucket()
        self.address = f"s3://{bucket}/load"
        self.store = self.server.store(bucket, "load")
        (self.home / "ahead").write_text("0")
        dsn = self.dsn
        for number in range(self.databases if self.has_backups else 0):
            psql(dsn, self.tools, f"CREATE DATABASE d{number:03} TEMPLATE template0")
            psql(dsn.with_database(f"d{number:03}"), self.tools, _TABLE.format(k=number + 1))
        keys = self.server.keys
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "DAEMON": json.dumps(
                {"clock": str(self.home / "ahead"), "tick": 5.0}
                | ({} if self.has_backups else {"child": str(ROOT / "benchmarks/nothing.py")})
            ),
        }
        lines = [
            f'repository = "{self.address}"',
            f'state_directory = "{self.home / "state"}"',
            'schedule = "0 * * * *"\ndigests = "never"',
            f'[s3]\nendpoint = "{self.server.endpoint}"\nprofile = "{self.server.profile}"',
            "" if self.server.ca_file is None else f'ca_file = "{self.server.ca_file}"',
            f"[daemon]\nconcurrency = {self.concurrency}",
        ]
        for number in range(self.databases):
            name = f"d{number:03}"
            lines += [f"[databases.{name}]", f'dsn = "{dsn.with_database(name).conninfo()}"']
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        recipient = X25519Identity.generate().recipient.text
        init = (OURS, "init", "--config", str(self.config), "--recipient", recipient)
        run_quietly((pipeline(init),), self.environment)
        self.go_to(datetime.now(UTC) - timedelta(days=30))

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.home / "strongroom.toml"

    @property
    def now(self) -> datetime:
        """What the daemon's clock says. It is a month ago: children go by the real one."""
        return datetime.now(UTC) + timedelta(seconds=float((self.home / "ahead").read_text()))

    def go_to(self, moment: datetime) -> None:
        """Set the daemon's clock."""
        new = self.home / "ahead.new"
        new.write_text(str((moment - datetime.now(UTC)).total_seconds()))
        new.replace(self.home / "ahead")

    @contextlib.contextmanager
    def daemon(self) -> Iterator[Running]:
        """Have the daemon at work."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.daemondriver", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self.environment,
        )
        running = Running(process)
        try:
            running.says("daemon_started")
            yield running
            running.tell(signal.SIGTERM)
            running.ended()
        finally:
            process.kill()
            process.wait()
            running.close()

    def drain(self, running: Running, what: str) -> None:
        """Wait until each database was backed up once more; tell what that took."""
        peaks, over = Peaks(), threading.Event()
        watcher = threading.Thread(target=_watch, args=(running.process.pid, peaks, over))
        began = time.monotonic()
        began_at = datetime.now(UTC)
        watcher.start()
        deadline = began + _LIMIT_SECONDS
        while len(running.said("slot_finished")) < self.databases:
            if running.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("".join(running.text[-20:]))
            time.sleep(0.2)
        took = time.monotonic() - began
        over.set()
        watcher.join()
        ahead = timedelta(seconds=float((self.home / "ahead").read_text()))
        waits = sorted(
            (datetime.fromisoformat(one["at"]) - ahead - began_at).total_seconds()
            for one in running.said("slot_started")
        )
        runs = sorted(float(one["duration"]) for one in running.said("slot_finished"))
        failed = Counter(str(one["outcome"]) for one in running.said("slot_failed"))
        missed = sum(int(one["slots"]) for one in running.said("slot_missed"))
        click.echo(
            f"{what}: {self.databases} slots in {took:.0f} s, {took / self.databases:.2f} s each;"
            f" waited at most {waits[-1]:.0f} s, half at most {waits[len(waits) // 2]:.0f} s;"
            f" a run took {runs[len(runs) // 2]:.1f} s (half), {runs[-1]:.1f} s (longest);"
            f" missed slots told of: {missed}; failed attempts: {dict(failed) or 'none'}"
        )
        click.echo(
            f"  daemon: {peaks.daemon / 2**20:.0f} MiB, {peaks.daemon_seconds:.1f} s of processor"
            f" time; at most {peaks.count} children, one {peaks.child / 2**20:.0f} MiB,"
            f" all with what they started {peaks.children / 2**20:.0f} MiB"
        )

    def entries(self) -> list[Entry]:
        """The evidence log."""
        assert self.store is not None
        return list(read_log(self.store).entries())

    def status(self) -> None:
        """Tell what `status` says and takes."""
        began = time.monotonic()
        done = subprocess.run(
            [OURS, "status", "--config", str(self.config), "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        click.echo(f"status: exit code {done.returncode} after {time.monotonic() - began:.1f} s")


def _watch(pid: int, peaks: Peaks, over: threading.Event) -> None:
    while not over.wait(0.3):
        peaks.look(pid)


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 if "VmRSS:" in status else 0


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # gone meanwhile
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, path.read_text().split())
    return found


def _descendants(pid: int) -> list[int]:
    found = _children(pid)
    return found + [below for child in found for below in _descendants(child)]


@click.command(epilog="Example: python -m benchmarks.load --databases 200 --concurrency 2")
@click.option("--databases", type=click.IntRange(1, 999), default=200, show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 16), default=2, show_default=True)
@click.option("--server", type=int, default=15, show_default=True, help="PostgreSQL's major.")
@click.option("--without-backups", is_flag=True, help="Measure the daemon alone.")
def main(*, databases: int, concurrency: int, server: int, without_backups: bool) -> None:
    """Have all databases due at once, and again after an outage; needs root."""
    tools = find_tools(server, with_server=True)
    with (
        tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name,
        radosgw() as gateway,
    ):
        home = Path(name)
        home.chmod(0o711)
        with scratch_cluster(
            tools, settings=DURABLE, has_checksums=True, directory=home
        ) as cluster:
            tell(f"building {databases} databases")
            has_backups = not without_backups
            load = Load(home, gateway, cluster.dsn, tools, databases, concurrency, has_backups)
            load.make()
            measure(load)
    for what, value in machine().items():
        click.echo(f"{what}: {value}")


def measure(load: Load) -> None:
    """Have all due at once, tell what `status` says, and again after an outage."""
    with load.daemon() as running:
        # What is due before the daemon has seen its jobs was promised to nobody.
        hour = load.now.replace(minute=0, second=0, microsecond=0) + _HOUR
        load.go_to(hour + timedelta(seconds=1))
        load.drain(running, "first backups" if load.has_backups else "first slots")
    if load.has_backups:
        load.status()
    hour += _OUTAGE_HOURS * _HOUR
    load.go_to(hour + timedelta(seconds=1))
    with load.daemon() as running:
        load.drain(running, f"after an outage of {_OUTAGE_HOURS} hours")
    entries = load.entries()
    finished = Counter(
        (one.details.get("database"), one.details.get("slot"))
        for one in entries
        if one.type is EntryType.BACKUP_FINISHED
    )
    twice = sum(1 for times in finished.values() if times > 1)
    open_slots = len(list(unaccounted(entries, now=load.now)))
    if not load.has_backups:
        return
    click.echo(
        f"{len(finished)} slots backed up, {twice} of them twice; {open_slots} unaccounted for;"
        f" {len(entries)} entries in the log"
    )


if __name__ == "__main__":
    main()
