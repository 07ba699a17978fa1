"""The watch on a real repository: messages, pings, metrics, status; and the verbs as processes."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.postgres.dsn import Dsn
from backup.sections import DatabaseSettings
from backup.settings import Settings
from scheduler.events import SlotFinished, Ticked
from scheduler.http import serving
from scheduler.jobs import JobKey
from scheduler.watch import Outlets, Watch
from tests.lab.repositories import Host, LabRepository, lab_repository
from tests.lab.sinks import black_hole, http_sink, mail_sink

PATIENCE = 60.0


@pytest.fixture
def repository() -> Iterator[LabRepository]:
    """A new repository."""
    with lab_repository() as made:
        yield made


def settings(
    repository: LabRepository, *, urls: str = "", ping: str = "", timeout: float = 20
) -> Settings:
    """Settings of a host that backs up `portal` to it, with credentials."""
    credentials = repository.state_directory / "credentials"
    credentials.mkdir(exist_ok=True)
    (credentials / "notify-urls").write_text(urls)
    (credentials / "dead-man-url").write_text(ping or "# nobody")
    return Settings.model_validate(
        {
            "repository": str(repository.directory),
            "state_directory": repository.state_directory,
            "credentials_directory": credentials,
            "databases": {"portal": DatabaseSettings()},
            "notify": {"timeout": timeout},
        }
    )


@contextmanager
def watching(given: Settings) -> Iterator[Watch]:
    """A watch at work."""
    with Watch(given, Outlets.of(given), clock=lambda: datetime.now(UTC)) as watch:
        yield watch


def until(holds: Callable[[], object]) -> None:
    """Wait until it holds, or fail."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.02)


def finished() -> SlotFinished:
    """The daemon's word that a backup was taken."""
    now = datetime.now(UTC)
    return SlotFinished(
        at=now,
        key=JobKey(job="backup", database="portal"),
        due=now,
        attempt=1,
        duration=timedelta(seconds=1),
        result="{}",
    )


def backup_messages(subjects: list[str]) -> list[str]:
    """Those about backups."""
    return [one.split("] ")[1] for one in subjects if "backup of portal" in one]


def test_a_failure_one_mail_its_recovery_one(repository: LabRepository, any_database: Dsn) -> None:
    """No backup: one mail, also over a restart. A backup: one that says it is over."""
    with mail_sink() as mail, http_sink() as http:
        given = settings(repository, urls=mail.url, ping=f"http://127.0.0.1:{http.port}/p")

        def subjects() -> list[str]:
            return backup_messages([str(one["Subject"]) for one in mail.messages])

        for _ in range(2):
            with watching(given) as watch:
                until(watch.status)
                until(subjects)
                watch(finished())
                until(lambda: http.paths)
        assert subjects() == ["CRITICAL: backup of portal"]
        # A run that ended well is no good news while something is critical.
        assert set(http.paths) == {"/p/fail"}

        repository.back_up(any_database, name="portal")
        with watching(given) as watch:
            until(lambda: len(subjects()) == 2)
            watch(finished())
            until(lambda: "/p" in http.paths)
        assert subjects() == ["CRITICAL: backup of portal", "recovered: backup of portal"]


def test_a_notifier_that_hangs_harms_nothing_and_is_seen(repository: LabRepository) -> None:
    """The observer returns at once, metrics are served, and the status names the notifier."""
    with black_hole() as port:
        given = settings(
            repository, urls=f"json://127.0.0.1:{port}/canary-7c1f?rto=60", timeout=0.3
        )
        with watching(given) as watch:
            until(watch.status)
            longest = 0.0
            for _ in range(20):
                began = time.monotonic()
                watch(finished())
                longest = max(longest, time.monotonic() - began)
            assert longest < 20, "as long as nobody answers"
            until(lambda: (found := watch.status()) and found.notifier.failing_since)
            found = watch.status()
            assert found is not None
            assert "notifier_failing" in {one.code for one in found.problems}
            assert "canary" not in str(found)
    # Written down too, so that `status` says so without the daemon.
    done = Host(home=repository.state_directory, has_settings=False).strongroom(
        "status", "--repository", repository.directory, "--state-directory",
        repository.state_directory, "--json",
    )  # fmt: skip
    assert done.json["notifier"]["failing_since"] is not None


def get(port: int, path: str) -> tuple[int, str]:
    """An answer over HTTP."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_health_and_status_are_served(
    repository: LabRepository, any_database: Dsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On loopback; healthy only while the loop moves, whatever the thread that answers does."""
    repository.back_up(any_database, name="portal")
    with (
        watching(settings(repository)) as watch,
        serving("127.0.0.1:0", watch) as port,
    ):
        assert port is not None
        until(watch.status)
        code, text = get(port, "/metrics")
        assert code == 200
        assert 'strongroom_backups{database="portal"} 1.0' in text
        code, text = get(port, "/status")
        assert json.loads(text)["databases"][0]["backups"] == 1
        watch(Ticked(at=datetime.now(UTC), running=(), next_due=None))
        assert get(port, "/healthz")[0] == 200
        monkeypatch.setattr("scheduler.watch.TICK_LIMIT", timedelta(seconds=-1))
        assert get(port, "/healthz")[0] == 503
        assert get(port, "/etc/passwd")[0] == 404
    (kept,) = (repository.state_directory / "log").glob("*.lines")
    assert b'"backup.finished"' in kept.read_bytes(), "for `strongroom status`"


@pytest.fixture
def host(repository: LabRepository, tmp_path: Path) -> Host:
    """A host with settings and the repository's keys."""
    (tmp_path / "strongroom.toml").write_text(
        f'repository = "{repository.directory}"\n'
        f'[databases.portal]\ndsn = "postgresql://backup:canary-7c1f@127.0.0.1/portal"\n'
    )
    return Host(
        home=tmp_path, environment={"STRONGROOM_STATE_DIRECTORY": str(repository.state_directory)}
    )


def test_status_is_a_nagios_check_that_needs_no_daemon(
    host: Host, repository: LabRepository, any_database: Dsn
) -> None:
    """2 without a backup, 1 with one that is not proven, 3 when it cannot be told."""
    none = host.strongroom("status")
    assert none.code == 2
    assert none.stdout.splitlines()[0] == "✖ CRITICAL: portal backup: there is no backup at all"
    assert "the daemon is not running" in none.stdout
    repository.back_up(any_database, name="portal")
    unproven = host.strongroom("status")
    assert unproven.code == 1, unproven.stdout
    assert "no backup that is still there has passed a restore test" in unproven.stdout
    as_json = host.strongroom("status", "--json")
    assert (as_json.code, as_json.json["severity"]) == (1, "warning")
    away = host.strongroom("status", "--repository", "/nowhere")
    assert away.code == 3
    broken = host.strongroom("status", "--config", "/nowhere")
    assert broken.code == 3


def test_a_log_that_was_cut_short_is_critical(
    host: Host, repository: LabRepository, any_database: Dsn
) -> None:
    """Nothing that it says is believed."""
    repository.back_up(any_database, name="portal")
    newest = max((repository.directory / "log" / "entries").iterdir())
    newest.unlink()
    done = host.strongroom("status", "--json")
    assert done.code == 2
    assert "log_inconsistent" in {one["code"] for one in done.json["problems"]}


def test_config_shows_sources_and_no_secret(host: Host, tmp_path: Path) -> None:
    """Each value with where it comes from; passwords are stars; check says what is missing."""
    shown = host.strongroom("config", "show", STRONGROOM_JOBS="3")
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["jobs", "3", "STRONGROOM_JOBS"] in lines
    assert ["databases.portal.dsn", "**********", str(tmp_path / "strongroom.toml")] in lines
    assert ["compression_level", "1", "default"] in lines
    checked = host.strongroom("config", "check")
    assert checked.code == 0, checked.stdout
    assert "database portal: postgresql://backup@127.0.0.1:5432/portal" in checked.stdout
    assert "canary" not in shown.stdout + checked.stdout
    (tmp_path / "strongroom.toml").write_text("shedule = 1\n")
    assert host.strongroom("config", "check").code == 2


@pytest.mark.parametrize("verb", ["unit", "rules", "dashboard", "schema"])
def test_config_prints_what_is_shipped(host: Host, verb: str) -> None:
    """People and deploys use one file."""
    done = host.strongroom("config", verb)
    assert (done.code, done.stderr) == (0, "")
    assert len(done.stdout) > 1000
