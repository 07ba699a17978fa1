"""A daemon to hurt: its process, its clock, what it says, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - the daemon itself is what is started and killed here
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backup.evidence.accounting import due_slots, unaccounted
from backup.evidence.entry import Entry, EntryType
from backup.evidence.log import read_log
from scheduler.journal import FILE_NAME, Journal
from scheduler.plan import SlotRecord
from tests.faults.vault import ROOT, Vault, eventually
from tests.lab.processes import command_lines

LIMIT = 120.0
PATIENT = "\n[daemon]\nretry_after = 1\ndrain_timeout = 20\n"


@dataclass
class Running:
    """A daemon's process, and the events that it logged."""

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.text.append(line)
            if line.startswith("{"):
                self.lines.append(json.loads(line))

    def said(self, action: str) -> list[dict[str, Any]]:
        """What it logged of one kind."""
        return [line for line in list(self.lines) if line["action"] == action]

    def says(self, action: str, times: int = 1, seconds: float = LIMIT) -> list[dict[str, Any]]:
        """Wait until it has said that so often."""
        assert eventually(
            lambda: len(self.said(action)) >= times or self.process.poll() is not None, seconds
        ), self.text
        assert len(self.said(action)) >= times, self.text
        return self.said(action)

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self, seconds: float = LIMIT) -> int:
        """Wait for its end and return its exit code."""
        code = self.process.wait(seconds)
        self.close()
        return code

    def close(self) -> None:
        """Take in its last words."""
        self._reader.join(60)
        assert self.process.stderr is not None
        self.process.stderr.close()


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A repository, a database and a schedule, for daemons that come and go."""

    vault: Vault
    config: Path

    @classmethod
    def make(cls, vault: Vault, schedule: str = "0 * * * *", more: str = PATIENT) -> Watched:
        """Write the settings, with a clock of a month ago.

        Children go by the real one: what they log must not be older than the slot that it answers.
        """
        watched = cls(vault=vault, config=vault.directory / "daemon.toml")
        watched.write(schedule, more)
        watched.begin(-timedelta(days=30))
        return watched

    def write(self, schedule: str, more: str = PATIENT) -> None:
        """Write the settings anew."""
        self.config.write_text(
            f'repository = "{self.vault.address}"\nstate_directory = "{self.vault.state}"\n'
            f'identity = "{self.vault.identity_file}"\nschedule = "{schedule}"\n'
            f"{more}\n{self.vault.store_table}\n[databases.portal]\n"
            f'dsn = "{self.vault.dsn.conninfo()}"\n',
            encoding="utf-8",
        )

    @property
    def clock_file(self) -> Path:
        """How far the clock is ahead."""
        return self.vault.directory / "clock"

    def set_ahead(self, by: timedelta) -> None:
        """Set the clock; at once, also for a daemon at work."""
        new = self.clock_file.with_suffix(".new")
        new.write_text(str(by.total_seconds()))
        new.replace(self.clock_file)

    def now(self) -> datetime:
        """What that clock says."""
        return datetime.now(UTC) + timedelta(seconds=float(self.clock_file.read_text()))

    def begin(self, by: timedelta = timedelta()) -> None:
        """Set the clock so far ahead, to the middle of that hour: none passes by itself then."""
        self.go_to((datetime.now(UTC) + by).replace(minute=30, second=0, microsecond=0))

    def go_to(self, moment: datetime) -> None:
        """Set the clock to a moment."""
        self.set_ahead(moment - datetime.now(UTC))

    def start(self, *, environment: Mapping[str, str] | None = None, **asked: Any) -> Running:
        """Start a daemon."""
        asked = {"clock": str(self.clock_file), **asked}
        return Running(
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.daemondriver", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.vault.directory),
                    "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
                    "DAEMON": json.dumps(asked),
                    **(environment or {}),
                },
            )
        )

    @contextmanager
    def running(self, **asked: Any) -> Iterator[Running]:
        """Have a daemon at work while the block lasts; it ends in good order."""
        daemon = self.start(**asked)
        try:
            daemon.says("daemon_started")
            yield daemon
            daemon.tell(signal.SIGTERM)
            assert daemon.ended() == 0, daemon.text
        finally:
            daemon.process.kill()
            daemon.process.wait()
            daemon.close()

    def entries(self, *types: EntryType) -> list[Entry]:
        """The evidence log's entries, of some types or all."""
        found = list(read_log(self.vault.repository().store).entries())
        return [entry for entry in found if not types or entry.type in types]

    def records(self) -> list[SlotRecord]:
        """What the journal knows, latest due first."""
        with closing(Journal.read_only(self.vault.state / FILE_NAME)) as journal:
            return journal.records(newest=500)

    def unaccounted(self) -> list[str]:
        """The promised slots that no entry answers for, an hour after now."""
        found = unaccounted(self.entries(), now=self.now() + timedelta(seconds=1))
        return [f"{slot.job} {slot.due}" for slot in found]

    def doubled(self) -> list[str]:
        """Slots for which more than one backup exists."""
        finished = [entry.details.get("slot") for entry in self.entries(EntryType.BACKUP_FINISHED)]
        return [str(slot) for slot in set(finished) if slot and finished.count(slot) > 1]

    def promised(self) -> int:
        """How many slots were promised up to now."""
        return len(list(due_slots(self.entries(), now=self.now())))

    def assert_nothing_left(self) -> None:
        """No process of ours, no session, no scratch cluster, nothing half-made."""
        mine = str(self.vault.directory)

        def left() -> list[str]:
            return [line for pid, line in command_lines() if mine in line and pid != os.getpid()]

        assert eventually(lambda: not left()), left()
        self.vault.assert_nobody_left()


def until(holds: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait until something holds, and say what does not."""
    assert eventually(holds, LIMIT), what()
