"""A restore test that is broken off: nothing of it is left but what the log says."""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM

import pytest

from backup.errors import PostgresError
from backup.evidence.entry import Entry, EntryType
from backup.evidence.log import read_log
from backup.evidence.selection import Choice
from backup.journeys.progress import Silent
from backup.journeys.restoretest import Concluded, restore_test
from backup.journeys.threads import Running
from backup.journeys.verify import verify
from backup.postgres.dsn import Dsn
from tests.faults.vault import Vault, eventually, finish
from tests.lab.effort import Numbers
from tests.lab.processes import command_lines
from tests.lab.repositories import LabRepository, lab_repository
from tests.lab.restoretests import codes, examiner_of, run_restore_test

OVER = {EntryType.RESTORE_TEST_FINISHED, EntryType.RESTORE_TEST_ABORTED}


class Interrupting:
    """A clock that cancels the journey when it is read for the n-th time; 0: never."""

    def __init__(self, at: int) -> None:
        self.count = 0
        self._at = at
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()

    def __call__(self) -> datetime:
        """The time."""
        self.count += 1
        if self.count == self._at and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        return datetime.now(UTC)


def run_until(repository: LabRepository, scratch: Path, at: int) -> tuple[Concluded | None, int]:
    """Test the newest backup, and break it off; return what came of it, and the clock's count."""

    async def test() -> tuple[Concluded | None, int]:
        clock = Interrupting(at)
        try:
            done = await restore_test(
                examiner_of(repository, scratch=scratch),
                Choice(rule="latest"),
                clock=clock,
                random=os.urandom,
                progress=Silent(),
            )
        except asyncio.CancelledError:
            return None, clock.count
        return done, clock.count

    return asyncio.run(test())


def at_work(scratch: Path) -> list[str]:
    """Command lines of processes that work in the scratch directory."""
    return [line for _, line in command_lines() if str(scratch) in line]


@pytest.fixture
def scratch(shared_directory: Path) -> Path:
    """Where clusters are made."""
    shared_directory.chmod(0o777)
    return shared_directory


def test_interrupted_at_each_step_nothing_is_left(
    portal: Dsn, scratch: Path, numbers: Numbers, chance: random.Random
) -> None:
    """No cluster, no process, no directory; the log has its end, and is whole."""
    with lab_repository() as repository:
        repository.back_up(portal)
        done, steps = run_until(repository, scratch, 0)
        assert done is not None
        assert codes(done.report) == set()
        every = list(range(1, steps + 1))
        for at in sorted(chance.sample(every, numbers.of(8, len(every)))):
            done, _ = run_until(repository, scratch, at)
            assert list(scratch.iterdir()) == [], f"interrupted at {at} of {steps}"
            assert eventually(lambda: not at_work(scratch)), at_work(scratch)
            log = list(read_log(repository.opened.store).entries())
            assert open_tests(log) == []
            last = log[-1]
            if done is None and last.type is EntryType.RESTORE_TEST_ABORTED:
                assert last.details["error"] == "CancelledError"
        assert codes(run_restore_test(repository).report) == set()


def test_killed_it_leaves_what_the_next_test_removes(
    vault: Vault, scratch: Path, numbers: Numbers, chance: random.Random
) -> None:
    """Its server ends with it; the next test clears its directory and logs the abandoned one."""
    assert vault.backup().code == 0
    store = vault.repository().store
    arguments = ("--identity", vault.identity_file, "--scratch-directory", scratch, "--json")
    for _ in range(numbers.of(3, 30)):
        process = vault.start("restore-test", *arguments)
        time.sleep(chance.uniform(0.5, 4.0))
        process.kill()
        finish(process)
        assert eventually(lambda: not at_work(scratch)), at_work(scratch)
        abandoned = open_tests(list(read_log(store).entries()))
        done = vault.run("restore-test", *arguments)
        assert (done.code, done.json["codes"]) == (0, []), done.stderr
        assert list(scratch.iterdir()) == []
        log = list(read_log(store).entries())
        assert open_tests(log) == []
        for report in abandoned:
            [end] = [one for one in log if one.type in OVER and one.details["report"] == report]
            assert end.details["codes"] == "ABANDONED"


# Which program is at work then; on a busy machine one may end before it is seen, and a later
# one is.
PHASES = ("initdb", "pg_restore", "sleep 86399")
STEPS = [(phase, number) for phase in range(3) for number in (SIGINT, SIGTERM, SIGKILL)]


def test_a_signal_in_each_phase_leaves_nothing(
    vault: Vault, scratch: Path, numbers: Numbers, chance: random.Random
) -> None:
    """While the cluster is made, while it is restored, while it is asked.

    Ctrl-C and SIGTERM end it with an entry that says so; after SIGKILL the next test says it.
    """
    settings = vault.config.read_text()
    vault.config.write_text(
        f'{settings}smoke_command = ["/bin/sleep", "86399"]\ncheck_timeout = "PT1H"\n'
    )
    assert vault.backup().code == 0
    store = vault.repository().store
    arguments = ("--identity", vault.identity_file, "--scratch-directory", scratch)
    for phase, number in chance.sample(STEPS, numbers.of(4, len(STEPS))):
        process = vault.start("restore-test", *arguments)
        assert eventually(partial(is_at, process.pid, PHASES[phase:]), 60), PHASES[phase]
        process.send_signal(number)
        done = finish(process)
        assert done.code == (-SIGKILL if number is SIGKILL else 130), (phase, done)
        assert "Traceback" not in done.stderr
        assert eventually(lambda: not at_work(scratch)), at_work(scratch)
        log = list(read_log(store).entries())
        if number is SIGKILL:
            assert len(open_tests(log)) == 1
        else:
            assert list(scratch.iterdir()) == [], PHASES[phase]
            assert open_tests(log) == []
            assert log[-1].type is EntryType.RESTORE_TEST_ABORTED
    vault.config.write_text(settings)
    done = vault.run("restore-test", *arguments, "--json")
    assert (done.code, done.json["codes"]) == (0, []), done.stderr
    assert list(scratch.iterdir()) == []
    assert open_tests(list(read_log(store).entries())) == []


def is_at(pid: int, programs: tuple[str, ...]) -> bool:
    """Whether one of the programs works for a process."""
    return any(program in line for line in under(pid) for program in programs)


def under(pid: int) -> list[str]:
    """Command lines of a process's children, and of theirs."""
    parents: dict[int, int] = {}
    lines = dict(command_lines())
    for child in lines:
        with suppress(OSError, IndexError):
            status = Path(f"/proc/{child}/stat").read_text()
            parents[child] = int(status.rpartition(")")[2].split()[1])
    # Numbers begin anew at some point: a child's may be lower than its parent's.
    found: list[str] = []
    those = {pid}
    while those:
        those = {child for child, parent in parents.items() if parent in those}
        found += (lines[child] for child in those)
    return found


def open_tests(log: list[Entry]) -> list[str]:
    """The report ids of tests that began and have no end."""
    ended = {one.details["report"] for one in log if one.type in OVER}
    return [
        str(one.details["report"])
        for one in log
        if one.type is EntryType.RESTORE_TEST_STARTED and one.details["report"] not in ended
    ]


def test_reading_ends_when_it_is_told_to(portal: Dsn) -> None:
    """A large backup is not read to its end first: the next object is the last."""
    with lab_repository() as repository:
        made = repository.back_up(portal)
        running = Running()
        running.end()
        with pytest.raises(PostgresError, match="ended because"):
            verify(
                repository.opened,
                [made.manifest.key],
                repository.allowed,
                identities=[repository.identity],
                jobs=2,
                progress=Silent(),
                running=running,
            )


def test_interrupted_while_its_beginning_is_logged_it_has_an_end(
    portal: Dsn, scratch: Path
) -> None:
    """The first reading of the clock cancels the test before its first entry is written."""
    with lab_repository() as repository:
        repository.back_up(portal)
        done, _ = run_until(repository, scratch, 1)
        assert done is None
        log = list(read_log(repository.opened.store).entries())
    assert [entry.type for entry in log[-2:]] == [
        EntryType.RESTORE_TEST_STARTED,
        EntryType.RESTORE_TEST_ABORTED,
    ]
    assert open_tests(log) == []
