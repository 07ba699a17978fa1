"""`host recover` where the newest backup has no table: what was never there, and what was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.sites import Site, admin

TABLE = "CREATE TABLE portal.kept (id int); INSERT INTO portal.kept VALUES (4711)"


@pytest.fixture
def empty(site: Site) -> Iterator[Site]:
    """The site as it was first applied: one database without a table, and a backup of that."""
    yield site
    site.put_back(["db1", "backup1"])


def recover(site: Site, *arguments: str | Path) -> tuple[int, str, str]:
    """Run `host recover` of db1 with the identity of the CA keys."""
    done = site.host_verb("recover", "--host", "db1", "--yes", "-i", site.identity, *arguments)
    return done.code, done.stdout, done.stderr


def test_a_database_without_a_table_comes_back_without_one(empty: Site, tmp_path: Path) -> None:
    """There was nothing to prove, and it says so; owner and extensions are as declared."""
    signed = ("--signing-key", empty.files / "audit.key", "--output", tmp_path)
    code, said, problem = recover(empty, *signed)
    assert code == 0, problem
    assert "portal is back: 0 tables, 0 rows" in said
    (path,) = tmp_path.glob("host-recovery-db1-*.json")
    report = json.loads(path.read_bytes())
    (back,) = report["databases"]
    assert back["restore_test"] == "INCONCLUSIVE"
    assert report["failed_checks"] == []
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'portal'"
    assert admin(empty, owner) == "portal_owner"
    extensions = "SELECT extname FROM pg_extension ORDER BY 1"
    assert admin(empty, extensions, "portal").split() == ["pgcrypto", "plpgsql"]
    assert empty.host_verb("plan").code == 0
    empty.hosts.run("backup1", "systemctl is-active strongroom-daemon")


def test_an_empty_backup_does_not_win_over_a_proven_one(empty: Site) -> None:
    """Backed up after everything was lost, the newest has nothing: it is not restored unasked."""
    admin(empty, TABLE, "portal")
    run = empty.hosts.run
    made = run("backup1", "strongroom backup --name portal --json").json["backup_id"]
    run("backup1", f"strongroom restore-test {made} --database portal")
    admin(empty, "DROP TABLE portal.kept", "portal")
    newest = run("backup1", "strongroom backup --name portal --json").json["backup_id"]
    code, _, problem = recover(empty)
    assert code == 1
    assert f"the newest backup of portal, {newest}, has no table, and {made}" in problem
    assert "nothing was restored" in problem
    assert f"--database portal --backup {made}" in problem
    code, _, problem = recover(empty, "--database", "portal", "--backup", made, "--dry-run")
    assert code == 0
    assert f"portal: backup {made}" in problem
