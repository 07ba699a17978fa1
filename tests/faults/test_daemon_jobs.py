"""What a daemon does beside backing up: packs for auditors, standing back, telling people."""

from __future__ import annotations

import csv
import io
import json
import os
import select
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.errors import PostgresError
from backup.evidence.bundle import READ_ME
from backup.evidence.entry import EntryType
from backup.postgres.process import Command, serving
from backup.postgres.scratch import Cluster, scratch_cluster, unprivileged_user
from backup.postgres.tools import find_tools
from scheduler.plan import State
from tests.faults.vault import Vault, eventually, finish
from tests.faults.watched import PATIENT, Running, Watched, until
from tests.lab.repositories import ended
from tests.lab.servers import ANY_MAJOR, SETTINGS, LabServer
from tests.lab.sinks import MailSink, mail_sink

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def watched(vault: Vault) -> Watched:
    """A daemon's settings: the database every hour."""
    return Watched.make(vault)


def last_pack_slot() -> datetime:
    """The last time that `0 6 1 * *` was due, a day ago at least: children go by the real clock."""
    day = datetime.now(UTC) - timedelta(days=1, hours=6)
    return day.replace(day=1, hour=6, minute=0, second=0, microsecond=0)


def test_the_monthly_pack_is_made_and_verifies(watched: Watched) -> None:
    """Of the month before and no day more, with what was missed; by the commands in it."""
    slot = last_pack_slot()
    watched.write("0 * * * *", PATIENT + '[schedules]\nreport = "0 6 1 * *"\n')
    done = slot - 42 * HOUR
    watched.go_to(done - HOUR / 2)
    with watched.running() as daemon:
        watched.go_to(done + SECOND)
        daemon.says("slot_finished")
    watched.go_to(slot + SECOND)
    with watched.running() as daemon:
        finished = daemon.says("slot_finished", 2)
        assert [one["key"]["job"] for one in finished] == ["backup", "report"]
        assert daemon.said("slot_failed") == []

    [published] = watched.entries(EntryType.PERIOD_PUBLISHED)
    assert published.details["slot"] == f"{slot:%Y-%m-%dT%H:%M:%SZ}"
    assert published.details["last"] == f"{slot:%Y-%m-01T00:00:00Z}"
    month = slot - timedelta(days=1)
    [pack] = (watched.vault.state / "reports").iterdir()
    assert pack.name == f"period-{month:%Y-%m}"
    period = json.loads((pack / "period.json").read_text(encoding="utf-8"))
    assert [sum(one["due"] for one in period["schedules"]), period["log_problems"]] == [36, []]
    table = list(csv.DictReader(io.StringIO((pack / "population.csv").read_text())))
    assert [(one["due"], one["outcome"]) for one in table] == [
        (f"{done + hours * HOUR:%Y-%m-%dT%H:%M:%SZ}", "missed") for hours in range(1, 36)
    ]

    keys = watched.vault.keys_directory(watched.vault.repository())
    (pack.parent / "allowed_signers").write_bytes((keys / "allowed_signers").read_bytes())
    text = (pack / READ_ME).read_text(encoding="utf-8")
    commands = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    checked = ended(("/bin/bash", "-c", f"cd '{pack}'\nset -eux\n{commands}"), {"PATH": "/usr/bin"})
    assert checked.code == 0, checked.stderr
    assert checked.stdout.endswith("GOOD\n")


def test_somebody_else_at_work_is_no_failure(watched: Watched) -> None:
    """A backup that another run keeps from beginning waits for it, and counts as no attempt."""
    lock = watched.vault.lock("clients")
    other = watched.vault.start_backup(
        "--name", "portal", environment={"STRONGROOM_LOCK_TIMEOUT": "900"}
    )
    try:
        until(lambda: any("strongroom" in one for one in watched.vault.sessions()),
              watched.vault.sessions)  # fmt: skip
        with watched.running() as daemon:
            due = (watched.now() + HOUR).replace(minute=0, second=0, microsecond=0)
            watched.go_to(due + SECOND)
            [busy] = daemon.says("slot_failed")
            assert (busy["outcome"], busy["retry_at"] is not None) == ("busy", True)
            assert [one.attempts for one in watched.records()] == [0]
            watched.vault.end_sql(lock)
            assert finish(other).code == 0
            watched.go_to(due + timedelta(minutes=2))
            [finished] = daemon.says("slot_finished")
            assert finished["attempt"] == 1
    finally:
        watched.vault.end_sql(lock)
        other.kill()
        finish(other)
    assert watched.entries(EntryType.BACKUP_FAILED) == []
    assert watched.unaccounted() == []


def test_a_run_that_outlasts_its_next_slots_is_no_failure(watched: Watched) -> None:
    """It is begun once; of the slots meanwhile the newest is done after it, the rest is missed."""
    watched.write("0 * * * *", f"lock_timeout = 900\n{PATIENT}")
    lock = watched.vault.lock("clients")
    try:
        with watched.running() as daemon:
            due = (watched.now() + HOUR).replace(minute=0, second=0, microsecond=0)
            watched.go_to(due + SECOND)
            daemon.says("slot_started")
            for later in (1, 2):
                watched.go_to(due + later * HOUR + SECOND)
                until(lambda known=later + 1: len(watched.records()) == known, watched.records)  # type: ignore[misc]
            assert len(daemon.said("slot_started")) == 1
            watched.vault.end_sql(lock)
            daemon.says("slot_finished", 2)
            assert daemon.said("slot_failed") == []
            [missed] = daemon.said("slot_missed")
            assert (missed["slots"], missed["reason"]) == (1, "busy")
    finally:
        watched.vault.end_sql(lock)
    assert [one.state for one in watched.records()] == [State.DONE, State.MISSED, State.DONE]
    assert watched.unaccounted() == []


def own_vault(directory: Path, cluster: Cluster) -> Vault:
    """A repository for a small database of a server that this test stops and starts."""
    server = LabServer(
        dsn=cluster.dsn,
        tools=find_tools(ANY_MAJOR, with_server=True),
        major=ANY_MAJOR,
        pid=cluster.server.pid,
        user=unprivileged_user(),
    )
    server.sql("CREATE TABLE clients AS SELECT generate_series(1, 9) n")
    return Vault.make(directory, server, cluster.dsn)


def stop_server(cluster: Cluster) -> Command:
    """Stop it, and return what starts it again."""
    argv = Path(f"/proc/{cluster.server.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    os.kill(cluster.server.pid, signal.SIGINT)
    assert cluster.server.ended_within(timedelta(minutes=1))
    return Command(
        label="the server again",
        argv=tuple(argv),
        user=unprivileged_user(),
        death_signal=signal.SIGQUIT,
    )


def is_up(vault: Vault) -> bool:
    """Whether the server takes sessions."""
    with suppress(PostgresError):
        return vault.server.sql("SELECT 1") == "1"
    return False


def about_backups(mail: MailSink) -> list[str]:
    """The messages about backups; that none is proven yet is told in one of its own."""
    subjects = [str(one["Subject"]).partition("] ")[2] for one in mail.messages]
    assert set(subjects) <= {
        "WARNING: restore test of portal",
        "CRITICAL: backup of portal",
        "recovered: backup of portal",
    }
    return [one for one in subjects if "backup of portal" in one]


def test_a_failure_is_told_once_and_its_recovery_once(tmp_path: Path) -> None:
    """By mail, from a daemon whose server went down; while no mail goes out, it backs up."""
    tools = find_tools(ANY_MAJOR, with_server=True)
    with mail_sink() as mail, scratch_cluster(tools, settings=SETTINGS) as cluster:
        credentials = tmp_path / "credentials"
        credentials.mkdir()
        (credentials / "notify-urls").write_text(mail.url)
        vault = own_vault(tmp_path / "vault", cluster)
        watched = Watched.make(vault)
        watched.write("* * * * *", '\n[daemon]\nattempts = 1\n[monitoring]\nlisten = ""\n')
        watched.set_ahead(timedelta())
        assert vault.backup("--name", "portal").code == 0

        def next_slot() -> None:
            minute = watched.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
            watched.go_to(minute + SECOND)

        with watched.running(credentials=str(credentials)) as daemon:
            start = stop_server(cluster)
            next_slot()
            assert daemon.says("slot_failed")[0]["retry_at"] is None
            until(lambda: about_backups(mail), lambda: daemon.text)
            mail.is_refusing = True
            with serving(start, stop=signal.SIGQUIT):
                assert eventually(lambda: is_up(vault), 60)
                next_slot()
                daemon.says("slot_finished")
                daemon.says("notify_failed")
                mail.is_refusing = False
                next_slot()
                daemon.says("slot_finished", 2)
                until(lambda: len(about_backups(mail)) == 2, lambda: daemon.text)
                next_slot()
                daemon.says("slot_finished", 3)
        actions = [line["action"] for line in daemon.lines]
        untold = actions[actions.index("notify_failed") :]
        assert "slot_finished" in untold
        assert "slot_failed" not in untold
    assert about_backups(mail) == ["CRITICAL: backup of portal", "recovered: backup of portal"]


# What docs/monitoring.md promises at least, each with a value once a backup was taken and proven.
PROVEN_METRICS = (
    "backup_last_success_timestamp_seconds", "restore_test_last_pass_timestamp_seconds",
    "proven_backup_timestamp_seconds", "restore_test_last_rto_seconds", "backup_slots_missed",
    "backup_last_duration_seconds", "backup_last_plain_bytes", "backup_last_stored_bytes",
    "backup_last_new_bytes", "backup_dedup_ratio", "verify_last_damages",
    "verify_last_timestamp_seconds", "evidence_log_checkpoint_entries",
    "expiry_timestamp_seconds", "daemon_last_tick_timestamp_seconds",
)  # fmt: skip
EVERY_HOUR = """
[schedules]
restore_test_latest = "0 * * * *"
verify = "0 * * * *"

[monitoring]
listen = "127.0.0.1:0"
"""


def answer(port: int, path: str) -> str:
    """What the daemon answers over HTTP; nothing before it has looked at everything once."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as got:
            return str(got.read().decode())
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        return ""


@contextmanager
def listening(manager: socket.socket) -> Iterator[list[str]]:
    """Listen as systemd does, and yield what was said, first lines only."""
    told: list[str] = []
    is_over = threading.Event()

    def listen() -> None:
        while not is_over.is_set() or select.select([manager], [], [], 0)[0]:
            if select.select([manager], [], [], 0.1)[0]:
                told.append(manager.recv(4096).decode().partition("\n")[0])

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield told
    finally:
        is_over.set()
        thread.join()


def test_what_a_daemon_at_work_tells_systemd_and_prometheus(
    watched: Watched, tmp_path: Path
) -> None:
    """Ready, alive, reloading, stopping; each metric has a value when a backup was proven."""
    keys = watched.vault.keys_directory(watched.vault.repository())
    pins = keys / "allowed_signers"
    pins.write_text(
        pins.read_text().replace(" namespaces=", ' valid-before="20990101Z",namespaces=')
    )
    (tmp_path / "credentials").mkdir()
    watched.write("0 * * * *", PATIENT + EVERY_HOUR)
    watched.begin()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, ExitStack() as stack:
        manager.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "180000000"}
        with watched.running(
            credentials=str(tmp_path / "credentials"), environment=environment
        ) as daemon:
            [served] = daemon.says("http_served")
            port = int(served["message"].rpartition(" ")[2])
            due = (watched.now() + HOUR).replace(minute=0, second=0, microsecond=0)
            watched.go_to(due + SECOND)
            daemon.says("slot_finished")  # a systemd that listens to nobody holds nothing up
            told = stack.enter_context(listening(manager))

            daemon.says("slot_finished", 3, seconds=240)

            def without_value() -> list[str]:
                lines = answer(port, "/metrics").splitlines()
                samples = {line.split("{")[0].split(" ")[0] for line in lines if line[:1] != "#"}
                return [one for one in PROVEN_METRICS if f"strongroom_{one}" not in samples]

            until(lambda: without_value() == [], lambda: (without_value(), daemon.text))
            assert answer(port, "/healthz")
            [database] = json.loads(answer(port, "/status"))["databases"]
            assert database["proven_backup_at"] is not None
            daemon.tell(signal.SIGHUP)
            daemon.says("settings_reloaded")
            until(lambda: "RELOADING=1" in told, lambda: told)
            until(lambda: "READY=1" in told[told.index("RELOADING=1") :], lambda: told)
        stack.close()
        assert told[0] == "READY=1"
        assert told.count("WATCHDOG=1") > 3
        assert "STOPPING=1" in told[told.index("RELOADING=1") :]


def three_databases(watched: Watched, daemon_table: str) -> None:
    """Settings for the same database under three names, of which `c` matters most."""
    watched.write("0 * * * *", f"lock_timeout = 900\n[daemon]\nconcurrency = 2\n{daemon_table}\n")
    text = watched.config.read_text(encoding="utf-8").partition("[databases.portal]")[0]
    dsn = watched.vault.dsn.conninfo()
    for name, priority in (("a", 10), ("b", 50), ("c", 90)):
        text += f'[databases.{name}]\npriority = {priority}\ndsn = "{dsn}"\n'
    watched.config.write_text(text, encoding="utf-8")


def at_once(daemon: Running) -> int:
    """How many runs were at work at one time, at most."""
    running = most = 0
    for line in list(daemon.lines):
        running += line["action"] == "slot_started"
        running -= line["action"] in {"slot_finished", "slot_failed"}
        most = max(most, running)
    return most


def test_several_databases_as_many_at_once_as_allowed_none_beyond_its_deadline(
    watched: Watched,
) -> None:
    """Three databases, two at once, the important ones first; what is not done in time is ended."""
    three_databases(watched, "attempts = 1\ndeadline = 3")
    lock = watched.vault.lock("clients")
    try:
        with watched.running() as daemon:
            due = (watched.now() + HOUR).replace(minute=0, second=0, microsecond=0)
            watched.go_to(due + SECOND)
            failed = daemon.says("slot_failed", 3)
            started = [one["key"]["database"] for one in daemon.said("slot_started")]
            assert (started, at_once(daemon)) == (["c", "b", "a"], 2)
            assert {one["outcome"] for one in failed} == {"stalled"}
            assert all("not done at its deadline" in one["message"] for one in failed)
            until(lambda: not any("strongroom" in one for one in watched.vault.sessions()),
                  watched.vault.sessions)  # fmt: skip
            watched.vault.end_sql(lock)

            three_databases(watched, "retry_after = 1")
            daemon.tell(signal.SIGHUP)
            daemon.says("settings_reloaded")
            watched.go_to(due + HOUR + SECOND)
            daemon.says("slot_finished", 3)
            started = [one["key"]["database"] for one in daemon.said("slot_started")]
            assert (started[3:], at_once(daemon)) == (["c", "b", "a"], 2)
    finally:
        watched.vault.end_sql(lock)
    assert {key.database for key in watched.vault.backups()} == {"a", "b", "c"}
    assert watched.unaccounted() == []
    watched.assert_nothing_left()
