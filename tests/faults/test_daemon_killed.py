"""The daemon is killed with SIGKILL at its state transitions: the next one finishes or records."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backup.evidence import slot
from backup.evidence.bundle import SUMS
from backup.evidence.entry import EntryType
from backup.postgres.dsn import Dsn
from backup.repository.manifest import sha256_hex
from scheduler.plan import OPEN, State
from tests.faults.test_daemon import next_hour
from tests.faults.vault import Vault
from tests.faults.watched import PATIENT, Watched, until
from tests.lab.effort import Numbers
from tests.lab.servers import LabServer

KILLED = -9
# The next start has this long to finish or record what the last one left; where much else is at
# work on the machine it is waited for longer.
LIMIT, BUSY_LIMIT = 60.0, 120.0
JOBS = {
    "backup": "",
    "restore-test-latest": "\n[schedules]\nrestore_test_latest = '0 * * * *'\n",
    "restore-test-oldest": "\n[schedules]\nrestore_test_oldest = '0 * * * *'\n",
    "restore-test-random": "\n[schedules]\nrestore_test_random = '0 * * * *'\n",
    "verify": "\n[schedules]\nverify = '0 * * * *'\n",
    "prune": "\n[schedules]\nprune = '0 * * * *'\n\n[retention]\nkeep_last = 1\nminimum_age = 0\n",
    "report": "\n[schedules]\nreport = '0 6 1 * *'\n",
    "copy": "\n[schedules]\ncopies = '0 * * * *'\n\n[[copies]]\nname = 'second'\n"
    "repository = 'HERE/second'\n[copies.retention]\nkeep_last = 1\nminimum_age = 0\n",
}
# How often each is killed when it is short; what differs between restore tests is not the daemon.
SHORT = {"backup": 6, "restore-test-oldest": 1, "restore-test-random": 1}


def test_no_kind_of_job_is_left_out() -> None:
    """Whatever a schedule can ask for is killed here."""
    assert set(JOBS) == set(slot.JOBS)


def make(directory: Path, server: LabServer, dsn: Dsn, job: str) -> Watched:
    """A daemon that does that job, and backups if it needs one."""
    vault = Vault.make(directory, server, dsn)
    watched = Watched.make(vault, more=PATIENT + JOBS[job].replace("HERE", str(directory)))
    if job != "backup":
        assert vault.run(
            "backup", "--config", watched.config, "--name", "portal"
        ).code == 0  # fmt: skip
        text = watched.config.read_text(encoding="utf-8")
        watched.config.write_text(text.replace('schedule = "0 * * * *"\n', ""), encoding="utf-8")
    if job == "report":  # a pack is of the month before, which has to be over
        watched.begin(-timedelta(days=3 * 365))
        watched.go_to(watched.now().replace(day=15))
    return watched


def due_after(moment: datetime, job: str) -> datetime:
    """When a job is due next: packs on the first of each month, all else every hour."""
    if job != "report":
        return next_hour(moment)
    first = (moment.replace(day=1) + timedelta(days=31)).replace(day=1)
    return first.replace(hour=6, minute=0, second=0, microsecond=0)


def assert_packs_are_whole(watched: Watched) -> None:
    """Each has what its list of sums says, and the log names each that was not set aside."""
    published = watched.entries(EntryType.PERIOD_PUBLISHED)
    packs = sorted((watched.vault.state / "reports").glob("period-*"))
    sums = {pack.name: (pack / SUMS).read_bytes() for pack in packs}
    for pack in packs:
        for line in sums[pack.name].decode().splitlines():
            digest, name = line.split()
            assert sha256_hex((pack / name).read_bytes()) == digest
    assert sorted(str(entry.details["sums_sha256"]) for entry in published) == sorted(
        sha256_hex(data) for name, data in sums.items() if "unpublished" not in name
    )


def transitions(watched: Watched) -> int:
    """How many transitions there are from a start to the end of one slot."""
    report = watched.vault.directory / "report"
    daemon = watched.start(once=True, report=str(report))
    assert daemon.ended() == 0, daemon.text
    return int(report.read_text(encoding="ascii"))


@pytest.fixture
def trials(numbers: Numbers, chance: random.Random) -> tuple[Numbers, random.Random]:
    """How often, and at which moments."""
    return numbers, chance


@pytest.mark.parametrize("job", JOBS)
def test_the_next_start_finishes_or_records(
    tmp_path: Path,
    any_server: LabServer,
    portal: Dsn,
    trials: tuple[Numbers, random.Random],
    job: str,
) -> None:
    """Within a minute; nothing half-made is visible, and no process or cluster is left."""
    numbers, chance = trials
    watched = make(tmp_path, any_server, portal, job)
    assert watched.start(once=True).ended() == 0  # the job begins now
    due = due_after(watched.now(), job)
    watched.go_to(due + timedelta(seconds=1))
    total = transitions(watched)
    # A run may have a few transitions less than the one that was counted.
    every = list(range(1, numbers.of(total * 3 // 4, total) + 1))
    wanted = numbers.of(SHORT.get(job, 2), total)
    killed = 0
    for at in sorted(chance.sample(every, min(wanted, total))):
        due = due_after(due, job)
        watched.go_to(due + timedelta(seconds=1))
        daemon = watched.start(once=True, kill_at=at)
        killed += daemon.ended(120) == KILLED
        began = time.monotonic()
        with watched.running():
            until(
                lambda due=due: [  # type: ignore[misc]
                    one for one in watched.records() if one.due == due and one.state not in OPEN
                ],
                watched.records,
            )
            assert time.monotonic() - began < numbers.of(BUSY_LIMIT, LIMIT)
        watched.assert_nothing_left()
        assert watched.vault.verified().is_good
        assert watched.unaccounted() == []
        assert_packs_are_whole(watched)
    assert killed
    states = {one.state for one in watched.records()}
    assert states <= {State.DONE, State.FAILED, State.MISSED}
    print(f"{job}: {killed} kills at {total} transitions")  # noqa: T201
