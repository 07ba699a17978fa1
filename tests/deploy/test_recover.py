"""From bare hosts to a proven backup; reboots; and the database host lost and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.crypto.x25519 import X25519Identity
from tests.lab.hostrunbooks import follow
from tests.lab.repositories import ended
from tests.lab.sites import (
    INVENTORY,
    PASSWORDS,
    PORTAL,
    Site,
    admin,
    conninfo,
    passes_every_check,
    psql,
    with_client,
)

CONTENT = """
SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM portal.clients c;
SELECT count(*), sum(client) FROM portal.notes;
SELECT last_value FROM portal.clients_id_seq;
SELECT pg_get_userbyid(lomowner), convert_from(lo_get(oid), 'UTF8') FROM pg_largeobject_metadata;
SELECT relname, pg_get_userbyid(relowner), ARRAY(SELECT a::text FROM unnest(relacl) a ORDER BY 1),
  relrowsecurity FROM pg_class WHERE relnamespace = 'portal'::regnamespace ORDER BY 1;
SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy;
SELECT rolname, rolcanlogin, rolsuper, rolconnlimit FROM pg_roles
  WHERE rolname !~ '^pg_' ORDER BY 1;
SELECT datname, pg_get_userbyid(datdba), ARRAY(SELECT a::text FROM unnest(datacl) a ORDER BY 1)
  FROM pg_database WHERE NOT datistemplate ORDER BY 1;
"""


@pytest.fixture(scope="module")
def proven(site: Site) -> Iterator[Site]:
    """The site with a portal in it, and one backup of that which passed its restore test."""
    hosts = site.hosts
    hosts.run("db1", "runuser -u postgres -- psql -Xq portal", stdin=PORTAL.encode())
    done = site.json("apply", "--yes", "--no-prove", "--limit", "db1")
    assert {one["item"] for one in done["changes"]} == {"database portal"}
    # As the daemon does when a backup is due, at the end of the run that takes it.
    due = f"backup@{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    made = hosts.run("backup1", f"strongroom backup --name portal --slot {due} --json")
    assert "First restore test: PASS" in made.stderr
    yield site
    site.put_back(["db1", "backup1"])


def test_one_command_ends_with_a_backup_that_was_restored(site: Site) -> None:
    """From bare hosts; the time is told. The new database has no table yet, which is no proof.

    Nobody has to come back for it: the daemon proves the first backup that has one.
    """
    (said,) = site.first_apply
    *_, proof, took = said.stdout.splitlines()
    assert proof.startswith("unproven   backup1: portal: ")
    assert "the daemon restore-tests the first backup that has one" in proof
    assert re.fullmatch(r"from the beginning to a backup that was restored: [0-9.]+ .*", took)


def test_hosts_that_could_not_make_a_backup_are_not_done(proven: Site) -> None:
    """`plan` and `apply` ask the doctor; what is bad is said as he says it."""
    proven.hosts.run("db1", "systemctl stop postgresql@15-main")
    try:
        planned = proven.json("plan", "--limit", "backup1")
        done = proven.host_verb("apply", "--yes", "--limit", "backup1")
    finally:
        proven.hosts.run("db1", "systemctl start postgresql@15-main; pg_isready -q -t 60")
    (bad,) = planned["changes"]
    assert bad["item"] == "strongroom doctor"
    assert "connection" in bad["observed"]
    assert done.code == 1
    assert "strongroom doctor: bad" in done.stderr


def content(site: Site) -> str:
    """What the portal holds, who owns it, and who may do what."""
    ask = "runuser -u postgres -- psql -XAt -v ON_ERROR_STOP=1 portal"
    return site.hosts.run("db1", ask, stdin=CONTENT.encode()).stdout


def test_backups_come_over_tls_1_3_by_certificate_as_the_role_that_only_reads(proven: Site) -> None:
    """The server's own log says so; row security hid nothing from the restore test."""
    log = proven.hosts.run("db1", "cat /var/log/postgresql/*.log").stdout
    lines = [line for line in log.splitlines() if "authorized: user=strongroom_backup" in line]
    assert lines
    assert all("SSL enabled (protocol=TLSv1.3" in line for line in lines)
    assert 'identity="CN=strongroom_backup" method=cert' in log


def test_both_hosts_pass_every_check(proven: Site) -> None:
    """With an exposure of the daemon of 1.5 at most."""
    passes_every_check(proven, "db1", "backup1")
    unit = "systemd-analyze security --no-pager strongroom-daemon.service | tail -1"
    exposure = proven.hosts.run("backup1", unit).stdout
    assert float(exposure.split("strongroom-daemon.service: ")[1].split()[0]) <= 1.5


def test_after_restarts_and_a_reboot_of_each_host_everything_is_as_before(proven: Site) -> None:
    """The server and the daemon are back by themselves, the next backup works, nothing drifted."""
    before = content(proven)
    proven.hosts.run("db1", "systemctl restart postgresql")
    proven.hosts.run("backup1", "systemctl restart strongroom-daemon")
    assert content(proven) == before
    for name in ("db1", "backup1"):
        proven.hosts.reboot(name)
        assert proven.hosts.failed_units(name) == []
    assert content(proven) == before
    proven.hosts.run("backup1", "strongroom backup --name portal --json")
    passes_every_check(proven, "db1", "backup1")
    assert proven.host_verb("plan").code == 0


def test_a_database_that_holds_anything_is_not_touched(proven: Site) -> None:
    """Recovering a host that is not lost is refused before anything is done."""
    before = content(proven)
    done = proven.host_verb("recover", "--host", "db1", "--yes", "-i", proven.identity)
    assert done.code == 2
    assert "only an empty one is replaced" in done.stderr
    assert content(proven) == before
    proven.hosts.run("backup1", "systemctl is-active strongroom-daemon")


def test_a_recovery_that_cannot_be_is_refused_with_what_to_do(proven: Site, tmp_path: Path) -> None:
    """With another identity, and without the repository: before anything is done."""
    wrong = tmp_path / "identity.txt"
    wrong.write_text(f"{X25519Identity.generate().text}\n")
    done = proven.host_verb("recover", "--host", "db1", "--yes", "-i", wrong)
    assert (done.code, "hint:" in done.stderr) == (7, True), done.stderr
    proven.hosts.run("backup1", "mv /srv/strongroom /srv/away")
    try:
        done = proven.host_verb("recover", "--host", "db1", "--yes", "-i", proven.identity)
    finally:
        proven.hosts.run("backup1", "mv /srv/away /srv/strongroom")
    assert done.code != 0
    assert "strongroom list on backup1 ended with" in done.stderr
    assert "hint: run it there: strongroom list" in done.stderr
    proven.hosts.run("backup1", "systemctl is-active strongroom-daemon")


def test_bad_data_is_replaced_by_a_restore_beside_it(proven: Site) -> None:
    """By the runbook: looked at, put in its place with its rights; the bad one is kept.

    What is proven is not proven again: `apply` at its end says so.
    """
    before = content(proven)
    admin(proven, "DELETE FROM portal.notes; DROP VIEW portal.names", "portal")
    on_host = " ".join(proven.hosts.ssh("db1"))
    said = follow(proven, "restore-over", INVENTORY, ON_HOST=on_host, DATABASE="portal")
    assert "portal_recovered is back: 2 tables, 40000 rows" in said
    assert "passed its restore test before" in said
    # Nobody gets into the bad one until somebody looks at it.
    admin(proven, "ALTER DATABASE portal_broken ALLOW_CONNECTIONS true")
    assert admin(proven, "SELECT count(*) FROM portal.notes", "portal_broken") == "0"
    admin(proven, "ALTER DATABASE portal_broken RENAME TO portal_recovered")
    again = proven.host_verb(
        *("recover", "--host", "db1", "--beside", "--yes", "-i", proven.identity)
    )
    assert again.code == 2
    assert "portal_recovered is there already" in again.stderr
    admin(proven, "DROP DATABASE portal_recovered")
    assert content(proven) == before
    assert "strongroom_recovery" not in admin(proven, "SELECT rolname FROM pg_roles")


def test_a_wiped_host_comes_back_with_its_data(proven: Site, tmp_path: Path) -> None:
    """A bare Debian becomes the same server: rows, owners, rights, passwords, certificate, checks.

    By the runbook. The report has backup, restore test and the time of every step, and is signed.
    """
    before = content(proven)
    proven.hosts.wipe("db1")
    key = proven.files / "audit.key"
    said = follow(proven, "host-lost", INVENTORY, AUDIT_KEY=key, REPORTS=tmp_path)
    assert "db1 is back after " in said
    print(said)  # noqa: T201 - `pytest -s` quotes the time
    assert content(proven) == before
    (path,) = tmp_path.glob("host-recovery-db1-*.json")
    report = json.loads(path.read_bytes())
    (back,) = report["databases"]
    assert back["restore_test"].startswith("PASS")
    assert (back["tables"], back["rows"]) == (2, 40000)
    assert report["failed_checks"] == []
    assert report["duration_ms"] >= max(step["duration_ms"] for step in report["steps"]) > 0
    with_client(proven.hosts, "app1", proven)
    served = psql(
        proven.hosts,
        "app1",
        conninfo(PASSWORDS["portal_app"]),
        "SELECT count(*) FROM portal.clients",
    )
    assert served.stdout.strip() == "10000", served.stderr
    keys = proven.hosts.run("backup1", "ls /run/strongroom-recovery", check=False)
    assert keys.code != 0
    assert (
        "strongroom_recovery"
        not in proven.hosts.run("db1", "cat /etc/postgresql/15/main/pg_hba.conf").stdout
    )
    proven.hosts.run(
        "backup1", "systemctl is-active strongroom-daemon; strongroom backup --name portal"
    )
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"auditor {key.with_suffix('.key.pub').read_text()}")
    verify = 'ssh-keygen -Y verify -f "$1" -I auditor -n strongroom-evidence@v1 -s "$2.sig" <"$2"'
    assert ended(("/bin/bash", "-c", verify, "bash", str(signers), str(path))).code == 0
