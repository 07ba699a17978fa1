"""The daemon as a process: slots, clocks, outages, signals, kills. Real children, a real server."""

from __future__ import annotations

import random
import signal
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backup.evidence.entry import EntryType
from scheduler.journal import FILE_NAME
from scheduler.plan import State
from tests.faults.vault import Vault
from tests.faults.watched import Watched, until
from tests.lab.effort import Numbers

HOUR = timedelta(hours=1)


@pytest.fixture
def watched(vault: Vault) -> Watched:
    """A daemon's settings: the database every hour."""
    return Watched.make(vault)


def next_hour(after: datetime) -> datetime:
    """When an hourly job is due next."""
    return after.replace(minute=0, second=0, microsecond=0) + HOUR


def test_a_slot_is_backed_up_and_logged(watched: Watched) -> None:
    """From the schedule to the evidence log, through a child with its own session."""
    with watched.running() as daemon:
        due = next_hour(watched.now())
        watched.go_to(due + timedelta(seconds=1))
        [finished] = daemon.says("slot_finished")
        assert finished["due"] == f"{due:%Y-%m-%dT%H:%M:%SZ}"
    [entry] = watched.entries(EntryType.BACKUP_FINISHED)
    assert entry.details["slot"] == f"{due:%Y-%m-%dT%H:%M:%SZ}"
    kinds = [entry.type for entry in watched.entries()]
    for kind in ("policy.set", "daemon.started", "heartbeat", "daemon.stopped"):
        assert kind in kinds
    assert watched.unaccounted() == []
    watched.assert_nothing_left()
    assert watched.vault.verified().is_good


def test_a_child_killed_when_its_work_is_done_is_done(watched: Watched) -> None:
    """What the evidence log says counts: the slot is not backed up twice."""
    with watched.running(child=str(Path(__file__).with_name("killedchild.py"))) as daemon:
        due = next_hour(watched.now())
        watched.go_to(due + timedelta(seconds=1))
        daemon.says("slot_finished")
        assert daemon.said("slot_failed") == []
    assert watched.doubled() == []
    assert [record.state for record in watched.records()] == [State.DONE]
    assert len(watched.vault.backups()) == 1


def test_after_an_outage_there_is_one_catch_up(watched: Watched) -> None:
    """14 days without a daemon: one backup, and 335 slots in the log as missed."""
    with watched.running():
        pass
    start = watched.now()
    watched.go_to(next_hour(start) + timedelta(days=14) - HOUR + timedelta(seconds=2))
    with watched.running() as daemon:
        daemon.says("slot_finished")
        [missed] = daemon.said("slot_missed")
        assert (missed["slots"], missed["reason"]) == (335, "down")
    assert len(watched.entries(EntryType.BACKUP_FINISHED)) == 1
    [entry] = watched.entries(EntryType.SLOT_MISSED)
    assert entry.details["slots"] == 335
    assert watched.promised() == 336
    assert watched.unaccounted() == []


def test_steps_of_the_clock_and_a_suspend_lose_and_double_nothing(watched: Watched) -> None:
    """An hour ahead, an hour back, eight hours asleep: every slot is answered for once."""
    watched.go_to(next_hour(watched.now()) + HOUR / 2)
    with watched.running() as daemon:
        due = next_hour(watched.now())

        def step_to(moment: datetime) -> None:
            seen = len(daemon.said("clock_stepped"))
            watched.go_to(moment)
            daemon.says("clock_stepped", seen + 1)

        watched.go_to(due + timedelta(seconds=1))
        daemon.says("slot_finished", 1)
        step_to(due + timedelta(minutes=30))
        step_to(due + HOUR + timedelta(minutes=10))  # ahead
        daemon.says("slot_finished", 2)
        step_to(due + timedelta(minutes=10))  # an hour back
        step_to(due + HOUR + timedelta(minutes=59))
        assert len(daemon.said("slot_started")) == 2
        step_to(due + 9 * HOUR + timedelta(seconds=1))  # eight hours asleep
        daemon.says("slot_finished", 3)
        [missed] = daemon.said("slot_missed")
        assert missed["slots"] == 7
    assert watched.promised() == 10
    assert watched.doubled() == []
    assert watched.unaccounted() == []


def test_a_lost_journal_is_rebuilt_from_the_repository(watched: Watched) -> None:
    """Nothing is done twice, and what was missed meanwhile is known."""
    with watched.running() as daemon:
        due = next_hour(watched.now())
        watched.go_to(due + timedelta(seconds=1))
        daemon.says("slot_finished")
    for path in watched.vault.state.glob(f"{FILE_NAME}*"):
        path.unlink()
    with watched.running() as daemon:
        daemon.says("journal_rebuilt")
        assert not daemon.said("slot_started")
    (watched.vault.state / FILE_NAME).write_bytes(b"no database" * 999)
    watched.go_to(due + 3 * HOUR + timedelta(seconds=1))
    with watched.running() as daemon:
        daemon.says("journal_damaged")
        daemon.says("slot_finished")
        [missed] = daemon.said("slot_missed")
        assert missed["slots"] == 2
    assert len(list(watched.vault.state.glob(f"{FILE_NAME}.damaged-*"))) == 1
    assert watched.doubled() == []
    assert watched.unaccounted() == []


def test_a_journal_that_fails_at_each_call_stops_no_backup(watched: Watched) -> None:
    """The daemon says so once, and goes on from memory."""
    with watched.running(journal="fails") as daemon:
        watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
        daemon.says("slot_finished")
        assert len(daemon.said("journal_trouble")) == 1
    assert len(watched.entries(EntryType.BACKUP_FINISHED)) == 1
    with watched.running() as daemon:  # and the journal of the next one knows it from the log
        daemon.says("journal_rebuilt")
        assert not daemon.said("slot_started")


def test_a_journal_that_fails_at_any_one_call_loses_and_doubles_nothing(
    watched: Watched, numbers: Numbers, chance: random.Random
) -> None:
    """Opening, reading, writing, closing: the slot is backed up once, and it is said."""
    assert watched.start(once=True).ended() == 0
    due = next_hour(watched.now())
    watched.go_to(due + timedelta(seconds=1))
    calls = watched.vault.directory / "calls"
    assert watched.start(once=True, calls=str(calls)).ended() == 0
    total, told = int(calls.read_text(encoding="ascii")), 0
    # A run of this length may have a few calls less than the one that was counted.
    for at in sorted(
        chance.sample(range(1, numbers.of(total // 2, total) + 1), numbers.of(3, total))
    ):
        due += HOUR
        watched.go_to(due + timedelta(seconds=1))
        daemon = watched.start(once=True, journal=at)
        assert daemon.ended() == 0, daemon.text
        assert len(daemon.said("slot_finished")) == 1, daemon.text
        assert len(daemon.said("journal_trouble")) <= 1
        told += len(daemon.said("journal_trouble"))
    assert told
    again = watched.start(once=True)
    assert (again.ended(), again.said("slot_started")) == (0, [])
    assert watched.doubled() == []
    assert watched.unaccounted() == []
    assert len(watched.vault.backups()) == 1 + numbers.of(3, total)
    print(f"{told} of {total} calls failed, and it was said")  # noqa: T201


def test_what_was_promised_cannot_be_read_and_no_slot_is_lost(watched: Watched) -> None:
    """A slot that fell due before such a start is done, and none is done twice."""
    assert watched.start(once=True).ended() == 0
    watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
    daemon = watched.start(once=True, journal="notes")
    assert daemon.ended() == 0, daemon.text
    assert len(daemon.said("journal_trouble")) == 1
    assert len(daemon.said("slot_finished")) == 1, daemon.text
    again = watched.start(once=True)
    assert (again.ended(), again.said("slot_started")) == (0, [])
    assert watched.doubled() == []
    assert watched.unaccounted() == []


def test_bad_settings_are_refused_and_the_old_ones_stay(watched: Watched) -> None:
    """HUP reads them again; a schedule that changed is promised from then on."""
    with watched.running() as daemon:
        watched.write("61 * * * *")
        daemon.tell(signal.SIGHUP)
        daemon.says("settings_refused")
        watched.write("*/30 * * * *")
        daemon.tell(signal.SIGHUP)
        daemon.says("settings_reloaded")
        daemon.tell(signal.SIGUSR1)
        until(lambda: any("Thread 0x" in line for line in daemon.text), lambda: daemon.text)
    policies = watched.entries(EntryType.POLICY_SET)
    assert [entry.details["schedule"] for entry in policies] == ["0 * * * *", "*/30 * * * *"]


SLOW = "\n[daemon]\nretry_after = 1\ndrain_timeout = 1\n"


def test_told_to_stop_it_lets_runs_end_or_ends_them(watched: Watched) -> None:
    """Up to the limit; then the run is interrupted, in good order, and begun again later."""
    lock = watched.vault.lock("clients")
    try:
        watched.write("0 * * * *", SLOW)
        daemon = watched.start()
        daemon.says("daemon_started")
        watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
        daemon.says("slot_started")
        until(lambda: any("strongroom backup@" in one for one in watched.vault.sessions()),
              watched.vault.sessions)  # fmt: skip
        daemon.tell(signal.SIGTERM)
        assert daemon.ended() == 0
    finally:
        watched.vault.end_sql(lock)
    [record] = watched.records()
    assert record.state is State.WAITING
    assert record.outcome == "interrupted"
    watched.assert_nothing_left()
    assert watched.vault.backups() == []
    with watched.running() as daemon:
        daemon.says("slot_finished")
    assert watched.unaccounted() == []


HUNG = "\n[daemon]\nretry_after = 1\nattempts = 9\nsilence_timeout = 5\n"


def test_a_run_that_hangs_is_gone_within_the_limit(watched: Watched) -> None:
    """With its session on the server; then it is tried again."""
    lock = watched.vault.lock("clients")
    try:
        watched.write("0 * * * *", HUNG)
        with watched.running() as daemon:
            watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
            [failed] = daemon.says("slot_failed")
            assert failed["outcome"] == "stalled"
            assert failed["duration"] < 100  # the lock is held for 600
            watched.vault.end_sql(lock)
            daemon.says("slot_finished")
    finally:
        watched.vault.end_sql(lock)
    watched.assert_nothing_left()


def test_a_failure_that_a_retry_can_not_help_is_not_tried_again(watched: Watched) -> None:
    """And it is in the log that the run could not begin."""
    watched.config.write_text(watched.config.read_text().replace("dsn = ", "dsn = 'nonsense' #"))
    with watched.running() as daemon:
        watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
        [failed] = daemon.says("slot_failed")
        assert failed["retry_at"] is None
    [missed] = watched.entries(EntryType.SLOT_MISSED)
    assert missed.details["reason"] == "error"
    assert watched.unaccounted() == []


def test_once_does_what_is_due_and_ends(watched: Watched) -> None:
    """As from cron."""
    first = watched.start(once=True)
    assert first.ended() == 0
    watched.go_to(next_hour(watched.now()) + timedelta(seconds=1))
    second = watched.start(once=True)
    assert second.ended() == 0
    assert len(second.said("slot_finished")) == 1
    assert len(watched.vault.backups()) == 1
