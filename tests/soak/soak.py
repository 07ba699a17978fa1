"""Hundreds of days of a daemon: killed, with a store and a server that fail, while data changes.

At the end every promised slot is accounted for in the evidence log, none was done twice, the newest
backup restores equal, and memory and descriptors are flat.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess  # noqa: TID251 - the daemon itself is what is started and killed here
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup.errors import PostgresError
from backup.evidence.accounting import due_slots, unaccounted
from backup.evidence.entry import EntryType
from backup.evidence.log import check_log, read_log
from backup.postgres.compare import content_digests, differences
from scheduler.journal import FILE_NAME, Journal
from tests.faults.vault import ROOT, Vault
from tests.lab.processes import command_lines

SETTINGS = """
repository = "{vault.root}"
state_directory = "{vault.state}"
identity = "{vault.identity_file}"
zone = "Europe/London"
digests = "weekly"

[daemon]
retry_after = 300
attempts = 5

[schedules]
restore_test_latest = "0 5 * * 0"
verify = "0 4 1 * *"
prune = "0 6 * * 1,3,5"
report = "0 6 1 * *"

[retention]
keep_last = 8
minimum_age = 0

[databases.portal]
schedule = "0 2 * * *"
dsn = "{dsn}"
"""
CHURN = """
UPDATE clients SET note = md5(random()::text) WHERE id % 97 = (random() * 96)::int;
INSERT INTO prices (paper, price, at) SELECT n, random(), now() FROM generate_series(1, 20) n;
DELETE FROM prices WHERE id IN (SELECT id FROM prices ORDER BY random() LIMIT 15);
"""


@dataclass(kw_only=True)
class Figures:
    """What came of it."""

    days: int = 0
    seconds: float = 0.0
    promised: int = 0
    unaccounted: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    log_problems: tuple[str, ...] = ()
    outcomes: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    daemon_kills: int = 0
    child_kills: int = 0
    died_holding_a_lease: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    outages: int = 0
    backups: int = 0
    pruned: int = 0
    packs: int = 0
    restore_tests: Counter[str] = field(default_factory=Counter)
    is_equal: bool = False
    longest_life_days: int = 0
    memory_kib: tuple[int, int] = (0, 0)
    descriptors: tuple[int, int] = (0, 0)
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in vars(self).items())


class Soak:
    """A daemon, what happens to it, and what is found afterwards."""

    def __init__(self, vault: Vault, *, days: int, seed: int, faults: int) -> None:
        self._vault = vault
        self._days = days
        self._chance = random.Random(seed)
        self._seed = seed
        self._faults = faults
        self._config = vault.directory / "soak.toml"
        self._clock = vault.directory / "clock"
        self._sizes = vault.directory / "sizes"
        self._log = vault.directory / "daemon.log"
        self.figures = Figures(days=days)
        # All of it lies in the past, so that nothing is dated later than what children say of it.
        self._start = datetime.now(UTC) - timedelta(days=days + 10)
        self._end = self._start + timedelta(days=days)
        self._config.write_text(
            SETTINGS.format(vault=vault, dsn=vault.dsn.conninfo()), encoding="utf-8"
        )
        self._clock.write_text(str(self._start.timestamp()))
        self._sizes.touch()

    def run(self) -> Figures:
        """Let the days pass; the last third of them nobody kills the daemon."""
        began = time.monotonic()
        quiet = self._start + timedelta(days=self._days * 2 / 3)
        with self._writing():
            while self._now() < quiet:
                self._live(until=quiet, is_harmed=True)
            self._live(until=self._end, is_harmed=False)
        # Nobody writes any more, and no crash sets a sequence forward after the newest backup.
        self._live(until=self._end + timedelta(days=2), is_harmed=False, is_calm=True)
        self._look()
        self.figures.seconds = round(time.monotonic() - began, 1)
        return self.figures

    def _now(self) -> datetime:
        return datetime.fromtimestamp(float(self._clock.read_text()), UTC)

    def _live(self, *, until: datetime, is_harmed: bool, is_calm: bool = False) -> None:
        """One life of a daemon: to its end, or until it is killed."""
        asked = {
            "clock": str(self._clock),
            "until": until.timestamp(),
            "seed": self._seed,
            "faults": self._faults if is_harmed else self._faults // 2,
            "killed_prunes": 50 if is_harmed else 0,
            "sizes": str(self._sizes),
        }
        with self._log.open("a", encoding="utf-8") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.driver", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self._vault.directory),
                    "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
                    "SOAK": json.dumps(asked),
                },
            )
        try:
            life = self._chance.uniform(5.0, 60.0) if is_harmed else 1e9
            if is_calm:
                daemon.wait()
            self._harm(daemon, life)
        finally:
            daemon.kill()
            daemon.wait()
        if is_harmed and self._now() < until and self._chance.random() < 0.4:
            self.figures.outages += 1
            ahead = min(self._now() + timedelta(days=self._chance.uniform(0.5, 6)), until)
            self._clock.write_text(str(ahead.timestamp()))

    def _harm(self, daemon: subprocess.Popen[bytes], life: float) -> None:
        born = time.monotonic()
        while daemon.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(self._chance.uniform(2.0, 10.0))
            if daemon.poll() is not None:
                break
            if time.monotonic() - born > life:
                self.figures.daemon_kills += 1
                daemon.kill()
            elif self._chance.random() < 0.12:
                self._kill_a_child(daemon.pid)
            elif self._chance.random() < 0.06:
                self._restart_server()
        if daemon.returncode not in {0, -9}:
            raise AssertionError(f"the daemon ended with {daemon.returncode}: see {self._log}")

    def _kill_a_child(self, pid: int) -> None:
        for child, line in command_lines():
            if "soak/child.py" in line and f"PPid:\t{pid}\n" in _status(child):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                    self.figures.child_kills += 1

    def _restart_server(self) -> None:
        """Kill a process of the server's: it ends all sessions, recovers and goes on."""
        sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
        with suppress(PostgresError, ProcessLookupError, ValueError):
            os.kill(int(self._vault.server.sql(sql, database="postgres")), signal.SIGKILL)
            self.figures.restarts += 1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        ended = threading.Event()

        def write() -> None:
            while not ended.wait(0.3):
                with suppress(PostgresError):
                    self._vault.server.sql(CHURN, database=self._vault.dsn.database)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            yield
        finally:
            ended.set()
            writer.join()

    def _look(self) -> None:
        figures, vault = self.figures, self._vault
        repository = vault.repository()
        log = read_log(repository.store)
        entries = list(log.entries())
        now = self._now()
        figures.promised = len(list(due_slots(entries, now=now)))
        figures.unaccounted = [f"{one.job} {one.due}" for one in unaccounted(entries, now=now)]
        finished = [
            str(entry.details["slot"])
            for entry in entries
            if entry.type is EntryType.BACKUP_FINISHED and "slot" in entry.details
        ]
        figures.doubled = [slot for slot, count in Counter(finished).items() if count > 1]
        signers = vault.signers(repository)
        assert signers is not None
        figures.log_problems = check_log(
            log,
            repository_id=repository.id,
            keys=[signer.public_key for signer in signers.signers],
        )
        figures.missed = sum(
            int(str(entry.details["slots"]))
            for entry in entries
            if entry.type is EntryType.SLOT_MISSED
        )
        figures.backups = len(vault.backups())
        figures.pruned = sum(
            entry.type is EntryType.PRUNE_EXECUTED and "backup" in entry.details
            for entry in entries
        )
        figures.packs = sum(entry.type is EntryType.PERIOD_PUBLISHED for entry in entries)
        figures.restore_tests = Counter(
            str(entry.details["verdict"])
            for entry in entries
            if entry.type is EntryType.RESTORE_TEST_FINISHED
        )
        with closing(Journal.read_only(vault.state / FILE_NAME)) as journal:
            figures.outcomes = Counter(
                f"{attempt.key.job} {attempt.outcome}" for attempt in journal.attempts(newest=9999)
            )
        figures.died_holding_a_lease = Counter(
            path.read_text(encoding="ascii").partition("leases/")[2].partition("-")[0]
            for path in (vault.state / "leases").glob("*.held")
        )
        self._compare()
        self._measure()
        mine = str(vault.directory)
        figures.left = [line for _, line in command_lines() if mine in line and "soak" in line]

    def _compare(self) -> None:
        """Restore the newest backup, and compare it with the database, which rests now."""
        vault = self._vault
        name = f"{vault.dsn.database}_restored"
        vault.server.sql(f'DROP DATABASE IF EXISTS "{name}"', database="postgres")
        target = vault.dsn.with_database(name)
        done = vault.run(
            "restore", "latest", "--database", "portal", "--to", target.conninfo(),
            "--identity", vault.identity_file, "--yes",
        )  # fmt: skip
        assert done.code == 0, done.stderr
        source, restored = (
            asyncio.run(content_digests(dsn, application_name="strongroom soak"))
            for dsn in (vault.dsn, target)
        )
        self.figures.is_equal = bool(source.tables) and not differences(source, restored)
        vault.server.sql(f'DROP DATABASE "{name}"', database="postgres")

    def _measure(self) -> None:
        """Compare memory and descriptors early and late in the longest life."""
        lives: dict[str, list[tuple[int, int]]] = {}
        for line in self._sizes.read_text(encoding="ascii").splitlines():
            pid, _, kib, descriptors = line.split()
            lives.setdefault(pid, []).append((int(kib), int(descriptors)))
        longest = max(lives.values(), key=len)
        third = max(1, len(longest) // 3)
        early, late = longest[:third], longest[-third:]
        self.figures.longest_life_days = len(longest)
        self.figures.memory_kib = (max(k for k, _ in early), max(k for k, _ in late))
        self.figures.descriptors = (max(d for _, d in early), max(d for _, d in late))


def _status(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return ""


def faults_of(figures: Figures, *, memory_slack_kib: int = 4096) -> list[str]:
    """What must not be, a sentence each."""
    wrong = []
    if figures.unaccounted:
        wrong.append(f"slots that nothing accounts for: {figures.unaccounted}")
    if figures.doubled:
        wrong.append(f"slots that were done twice: {figures.doubled}")
    if figures.log_problems:
        wrong.append(f"the evidence log: {figures.log_problems}")
    if any(verdict.startswith("FAIL") for verdict in figures.restore_tests):
        wrong.append(f"healthy backups whose restore test failed: {figures.restore_tests}")
    if not figures.is_equal:
        wrong.append("the newest backup does not restore equal")
    if figures.memory_kib[1] > figures.memory_kib[0] + memory_slack_kib:
        wrong.append(f"memory grows: {figures.memory_kib} KiB")
    if figures.descriptors[1] > figures.descriptors[0] + 3:
        wrong.append(f"descriptors grow: {figures.descriptors}")
    if "prune" in figures.died_holding_a_lease and not figures.outcomes["prune succeeded"]:
        wrong.append("no prune came through after one that was killed")
    if figures.left:
        wrong.append(f"processes are left: {figures.left}")
    return wrong
