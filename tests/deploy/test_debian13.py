"""Debian 13 with PostgreSQL 17: from bare file systems to a proven backup by one command."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator

import pytest

from tests.lab.hosts import lab
from tests.lab.sites import PORTAL, Site, admin, new_site, passes_every_check, spoilt

PATIENCE = 240
SETTINGS = "/etc/strongroom/strongroom.toml"
CHANGE = """
database_server["package"]["major"] = 17
database_server["databases"][0]["initial_sql"] = f"{_DIRECTORY}/portal.sql"
backup_host["postgresql_majors"] = [17]
"""


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two hosts of Debian 13 that were applied once, with an application's tables in a file."""
    with lab("trixie") as hosts:
        hosts.boot(["db1", "backup1"])
        inventory = spoilt(CHANGE, tmp_path_factory.mktemp("inventory"))
        files = tmp_path_factory.mktemp("operator")
        (files / "portal.sql").write_text(PORTAL.replace("SET ROLE portal_owner;", ""))
        site = new_site(hosts, files, inventory=inventory, python="3.13")
        site.first_apply.append(site.apply())
        yield site


def test_one_command_ends_with_a_proven_backup(trixie: Site) -> None:
    """It says so, and how long it took; what is in the database is the file's, of its owner."""
    (said,) = trixie.first_apply
    *_, proof, took = said.stdout.splitlines()
    print(took)  # noqa: T201 - `pytest -s` quotes the time
    assert re.match(r"proven +backup1: portal: \S+: backed up, restored for a test: PASS", proof)
    assert re.fullmatch(r"from the beginning to a proven backup: [0-9.]+ .*", took)
    assert admin(trixie, "SHOW server_version").startswith("17.")
    tables = "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'portal' ORDER BY 1"
    found = admin(trixie, tables, "portal").split()
    assert found == ["clients|portal_owner", "notes|portal_owner"]
    logged = trixie.hosts.run("backup1", "strongroom log show --type restore_test.finished --json")
    proven = {one["details"]["backup"]: one["details"]["verdict"] for one in logged.json}
    assert [verdict for backup, verdict in proven.items() if backup in proof] == ["PASS"]


def test_once_more_changes_nothing_and_every_check_passes(trixie: Site) -> None:
    """The file is not read again, and both hosts are as declared."""
    again = trixie.json("apply", "--yes")
    assert again["changes"] == again["findings"] == []
    assert (again["operations"]["changed"], again["proofs"][0]["state"]) == (0, "known")
    passes_every_check(trixie)


def test_the_daemon_backs_up_by_itself_and_status_is_good(trixie: Site) -> None:
    """Due every minute now: over TLS 1.3, by certificate, as the role that only reads."""
    hosts = trixie.hosts
    with other_settings(trixie, 's/^schedule = .*/schedule = "* * * * *"/'):
        deadline = time.monotonic() + PATIENCE
        while not (due := daemons_backups(trixie)):
            assert time.monotonic() < deadline, hosts.run(
                "backup1", "journalctl -u strongroom-daemon"
            )
        status = hosts.run("backup1", "strongroom status --json", check=False)
    assert status.code == 0, status.stdout
    assert status.json["databases"][0]["last_backup_id"] >= due[0]
    log = hosts.run("db1", "grep -h authorized: /var/log/postgresql/*.log").stdout
    ours = [line for line in log.splitlines() if "user=strongroom_backup" in line]
    assert ours
    assert all("SSL enabled (protocol=TLSv1.3" in line for line in ours)


def test_the_daemon_tests_a_restore_inside_its_sandbox(trixie: Site) -> None:
    """A scratch cluster starts, is filled and goes away again below the hardened unit."""
    hosts = trixie.hosts
    change = 's/^restore_test_latest = .*/restore_test_latest = "* * * * *"/'
    with other_settings(trixie, change):
        deadline = time.monotonic() + PATIENCE
        while not (verdicts := daemons_verdicts(trixie)):
            assert time.monotonic() < deadline, hosts.run(
                "backup1", "journalctl -u strongroom-daemon"
            )
    assert verdicts[0].startswith("PASS"), hosts.run("backup1", "journalctl -u strongroom-daemon")


@contextlib.contextmanager
def other_settings(site: Site, change: str) -> Iterator[None]:
    """Let the daemon run with its settings edited by sed; they are as declared again afterwards."""
    restart = "systemctl restart strongroom-daemon"
    edit = f"cp -p {SETTINGS} {SETTINGS}.kept && sed -i '{change}' {SETTINGS} && {restart}"
    site.hosts.run("backup1", edit)
    try:
        yield
    finally:
        site.hosts.run("backup1", f"mv {SETTINGS}.kept {SETTINGS} && {restart}")


def daemons_verdicts(site: Site) -> list[str]:
    """What the restore tests concluded that answered a slot of the schedule."""
    show = "strongroom log show --type restore_test.finished --json"
    logged = site.hosts.run("backup1", show).json
    return [one["details"]["verdict"] for one in logged if "slot" in one["details"]]


def daemons_backups(site: Site) -> list[str]:
    """The backups that answered a slot of the schedule."""
    show = "strongroom log show --type backup.finished --json"
    logged = site.hosts.run("backup1", show).json
    return [one["details"]["backup"] for one in logged if "slot" in one["details"]]
