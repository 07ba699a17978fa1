"""The runbooks, followed to the letter on real servers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import documents
from tests.e2e.conftest import DATABASE, Situation, rows
from tests.lab.servers import LabServer

RUNBOOKS = documents.ROOT / "docs/runbooks"
ONE_TABLE = "If only one table is gone"
WITH_KEYS, WITHOUT_KEYS = "With the copy of its keys", "Without a copy of its keys"


# Followed on real hosts, by tests/deploy, and by test_offsite.py.
ON_HOSTS = {
    "add-a-replica",
    "add-an-application-role",
    "host-lost",
    "new-host",
    "promote-a-replica",
    "restore-over",
    "rotate-certificates",
    "rotate-passwords",
}
ELSEWHERE = {"off-site"}


def test_every_runbook_is_followed_here() -> None:
    """A new one has to come with its test."""
    assert {path.stem for path in RUNBOOKS.iterdir()} - ON_HOSTS - ELSEWHERE == {
        "daemon",
        "damaged-repository",
        "first-backup",
        "lost-backup-host",
        "pruning",
        "restore-at-0300",
        "restore-test-failed",
        "restore-without-strongroom",
    }


def test_the_first_backup(newcomer: Situation) -> None:
    """A role that only reads makes a backup that is good, and what a restore needs is put aside."""
    source = newcomer.server
    try:
        done = newcomer.follow(RUNBOOKS / "first-backup.md")
    finally:
        source.sql("DROP OWNED BY strongroom_backup; DROP ROLE strongroom_backup", DATABASE)
    assert "bad " not in done.stdout
    assert "every count as in the dump" in done.stdout
    assert f"{DATABASE}_rehearsal" not in source.sql("SELECT datname FROM pg_database")
    assert {path.name for path in newcomer.offline.iterdir()} == {
        "RESTORE.md",
        "allowed_signers",
        "host-keys.tar.age",
        "identity.txt",
        "recipients.txt",
        "recovery-identity.txt",
        "restore.sh",
    }
    for identity in ("identity.txt", "recovery-identity.txt"):
        found = newcomer.json(f"verify --all --identity $OFFLINE/{identity}")
        assert found["is_good"]


def test_at_0300_on_a_new_server(backed_up: Situation, spare: LabServer) -> None:
    """The database stands on a server that had nothing, under its name, with its rows."""
    backed_up.on(spare).follow(RUNBOOKS / "restore-at-0300.md", leave_out=(ONE_TABLE,))
    assert rows(spare) == rows(backed_up.server)


def test_at_0300_beside_the_broken_one(backed_up: Situation, spare: LabServer) -> None:
    """The broken database is put aside, whoever is in it, and stays as it is."""
    spare.sql(f"CREATE DATABASE {DATABASE}")
    spare.sql("CREATE TABLE rubbish ()", DATABASE)
    backed_up.on(spare).follow(RUNBOOKS / "restore-at-0300.md", leave_out=(ONE_TABLE,))
    assert rows(spare) == rows(backed_up.server)
    spare.sql(f"ALTER DATABASE {DATABASE}_broken ALLOW_CONNECTIONS true")
    assert spare.sql("SELECT count(*) FROM rubbish", f"{DATABASE}_broken") == "0"


def test_one_table(backed_up: Situation, spare: LabServer) -> None:
    """One table comes back on its own, as SQL that puts it into the live database."""
    document = RUNBOOKS / "restore-at-0300.md"
    others = documents.sections(document) - {ONE_TABLE}
    here = backed_up.on(spare)
    here.follow(document, leave_out=tuple(others))
    count = backed_up.server.sql("SELECT count(*) FROM portal.messages", DATABASE)
    copied = (backed_up.directory / "rows.sql").read_text().partition("FROM stdin;\n")[2]
    assert copied.partition("\n\\.\n")[0].count("\n") + 1 == int(count)


def test_without_strongroom(backed_up: Situation, spare: LabServer) -> None:
    """Stock tools give the database back; nothing of ours is on the path."""
    here = Situation(
        directory=backed_up.directory,
        server=spare,
        variables={"RESTORE_SH": str(backed_up.offline / "restore.sh")},
        has_strongroom=False,
    )
    assert here.bash("command -v strongroom").code != 0
    done = here.follow(RUNBOOKS / "restore-without-strongroom.md")
    assert "UNPINNED" not in done.stderr
    assert rows(spare) == rows(backed_up.server)


def test_a_restore_test_that_failed(backed_up: Situation) -> None:
    """A new backup, with digests, passes to the end, and the log is whole."""
    done = backed_up.follow(RUNBOOKS / "restore-test-failed.md")
    assert "exit code" not in done.stdout
    assert done.stdout.count("PASS") == 2
    assert backed_up.bash("strongroom log verify --repository $REPOSITORY").code == 0


def test_pruning(backed_up: Situation) -> None:
    """The plan is shown, a backup pinned, and what no rule keeps is gone; the log tells of it."""
    # Three, of one day unless it is midnight: the brakes are taken off for the test's sake, and a
    # rule is set that keeps the last of however many days.
    for _ in range(2):
        assert backed_up.bash("strongroom backup --repository $REPOSITORY").code == 0
    middle = backed_up.json("list --repository $REPOSITORY")[1]["backup_id"]
    held = "strongroom pin --repository $REPOSITORY --reason audit"
    assert backed_up.bash(f"{held} {middle}").code == 0
    settings = backed_up.directory / "strongroom.toml"
    document = RUNBOOKS / "pruning.md"
    # The page's own rules delete nothing that is younger than a day.
    done = backed_up.follow(document)
    assert "younger than" in done.stdout
    assert "Deleted 0 backups" in done.stdout
    assert "pinned: before the migration" in done.stdout
    before, retention, rules = settings.read_text().partition("[retention]\n")
    assert "keep_daily = 14" in rules
    brakes = 'minimum_count = 1\nminimum_age = "PT0S"\n'
    settings.write_text(f"{before}{retention}keep_last = 1\n{brakes}")
    gone = backed_up.json("prune --apply --repository $REPOSITORY")
    assert len(gone["deleted"]) == 1
    assert gone["kept"][0]["backup_id"] == middle
    assert backed_up.bash("strongroom log verify --repository $REPOSITORY").code == 0
    listed = backed_up.json("list --repository $REPOSITORY")
    assert [one["pinned"] is not None for one in listed] == [True, True]


@pytest.mark.parametrize("left_out", [WITH_KEYS, WITHOUT_KEYS])
def test_a_lost_backup_host(backed_up: Situation, left_out: str) -> None:
    """A new host writes on into the same repository, and knows what is stored there."""
    shutil.rmtree(backed_up.state)
    done = backed_up.follow(RUNBOOKS / "lost-backup-host.md", leave_out=(left_out,))
    assert "bad " not in done.stdout
    first, second = backed_up.json("list --repository $REPOSITORY")
    assert second["new_bytes"] < first["new_bytes"] / 2
    assert first["status"] == second["status"] == "signed"


@pytest.mark.parametrize("has_copy", [True, False], ids=["healed from a copy", "no copy"])
def test_a_damaged_repository(
    backed_up: Situation, chunk_of: Callable[[str], Path], has_copy: bool
) -> None:
    """A flipped byte and a missing object are found; the next backup is whole in any case."""
    copy, quarantine = backed_up.directory / "copy", backed_up.directory / "quarantine"
    if has_copy:
        shutil.copytree(backed_up.repository, copy)
    flipped, missing = chunk_of("rest"), chunk_of("globals")
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    missing.unlink()
    here = backed_up.given(COPY=copy, QUARANTINE=quarantine)
    done = here.follow(RUNBOOKS / "damaged-repository.md")
    assert {path.name for path in quarantine.iterdir()} == {flipped.name}
    assert here.json("verify latest --repository $REPOSITORY --identity $IDENTITY")["is_good"]
    all_of_them = here.bash("strongroom verify --all --repository $REPOSITORY")
    assert all_of_them.code == (0 if has_copy else 3)
    assert ("no good copy" in done.stdout) is not has_copy


def test_the_daemon_is_put_to_work_and_finds_its_journal_again(backed_up: Situation) -> None:
    """A job is promised when it is first seen; without a journal the evidence log tells."""
    settings = backed_up.directory / "strongroom.toml"
    settings.write_text(f'repository = "{backed_up.repository}"\n', encoding="utf-8")
    done = backed_up.follow(RUNBOOKS / "daemon.md")
    assert done.stdout.count("0 * * * * Europe/London") == 2
    assert "policy.set" in done.stdout
    assert "found in the evidence log" in done.stderr
