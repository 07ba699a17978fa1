"""Restore tests of real databases: a healthy backup passes, and everybody can see how deep."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.evidence.checks import LEVELS
from backup.evidence.verdict import Word
from backup.postgres.dsn import Dsn
from tests.integration.round_trip.test_writers import writers
from tests.lab.repositories import Host, LabRepository, lab_repository
from tests.lab.restoretests import codes, run_restore_test
from tests.lab.servers import LabServer
from tests.lab.torture import torture_database

ROUNDS = 4
CANARY = "canary-of-a-row-4711"


@pytest.fixture
def repository() -> Iterator[LabRepository]:
    """A repository of its own."""
    with lab_repository() as made:
        yield made


def test_the_hard_database_passes_on_every_major(
    server: LabServer, repository: LabRepository
) -> None:
    """To level 6; level 7 needs the operator's own checks. Every check of the list is answered."""
    with torture_database(server) as dsn:
        made = repository.back_up(dsn, digests="always")
    report = run_restore_test(repository, made.manifest.backup_id).report
    assert codes(report) == set(), report.verdict.findings
    assert (report.verdict.word, report.verdict.level) == (Word.PASS, 6)
    assert {check.id: check.level for check in report.checks} == dict(LEVELS)
    assert report.coverage.tables_counted == report.coverage.tables_in_scope > 50
    assert report.objectives.rto_ms is not None
    assert {message.classified for message in report.messages} <= {"expected"}


def test_without_digests_the_proof_ends_at_the_counts(
    any_server: LabServer, repository: LabRepository
) -> None:
    """It is a PASS, at level 5, and the report says what it does not prove."""
    with any_server.fresh_database() as dsn:
        any_server.sql("CREATE TABLE t AS SELECT 1 AS a", dsn.database)
        made = repository.back_up(dsn, digests="never")
    report = run_restore_test(repository, made.manifest.backup_id).report
    assert (codes(report), report.verdict.sentence, report.verdict.level) == (set(), "PASS", 5)
    assert any("not digested" in limit for limit in report.limits)


def test_writers_do_not_disturb_the_proof(server: LabServer, repository: LabRepository) -> None:
    """Each backup of a database that is written to is proven to level 6, every time."""
    with server.fresh_database() as dsn:
        with writers(server, dsn):
            made = [repository.back_up(dsn, digests="always") for _ in range(ROUNDS)]
        for one in made:
            report = run_restore_test(repository, one.manifest.backup_id).report
            assert codes(report) == set(), report.verdict.findings
            assert report.verdict.level == 6


@pytest.fixture
def small(any_server: LabServer) -> Iterator[Dsn]:
    """A database with a value that must be nowhere but in the backup."""
    with any_server.fresh_database() as dsn:
        any_server.sql(
            "CREATE TABLE people (id int PRIMARY KEY, name text);"
            f"INSERT INTO people VALUES (1, '{CANARY}'), (2, 'b')",
            dsn.database,
        )
        yield dsn


@pytest.fixture
def host(repository: LabRepository) -> Host:
    """The host that writes the repository."""
    home = repository.directory.parent
    (home / "strongroom.toml").write_text(
        f'repository = "{repository.directory}"\nidentity = "{repository.identity_file}"\n'
        'rto_target = "PT1H"\n'
    )
    return Host(home=home, environment={"TMPDIR": os.environ.get("TMPDIR", "/tmp")})


def test_the_command_line_tells_verdict_level_and_report(
    repository: LabRepository, host: Host, small: Dsn
) -> None:
    """0 for a PASS; programs get the same as JSON; the report is in the log, and verifies."""
    made = repository.back_up(small)
    done = host.strongroom("restore-test")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("PASS  level 6, seal S2\n")
    path = Path(done.stdout.rstrip().rsplit("Report: ", 1)[1])
    found = host.strongroom("report", "verify", path)
    assert found.code == 0, found.stderr
    members = zipfile.ZipFile(path)
    for name in members.namelist():
        content = members.read(name)
        assert CANARY.encode() not in content, name
        assert repository.identity.text.encode() not in content, name
    asked = (made.manifest.backup_id, "--table-parallel", "1", "--json")
    found = host.strongroom("restore-test", *asked).json
    assert (found["verdict"], found["level"], found["codes"]) == ("PASS", 6, [])
    assert found["is_logged"]
    assert host.strongroom("log", "verify").code == 0


def test_a_fail_ends_with_1_and_an_unproven_one_with_2(
    repository: LabRepository, host: Host, small: Dsn
) -> None:
    """The codes are named."""
    repository.back_up(small)
    done = host.strongroom("restore-test", STRONGROOM_RTO_TARGET="0.001")
    assert (done.code, "RTO_EXCEEDED" in done.stdout) == (1, True)
    assert done.stdout.startswith("FAIL  level 6")
    done = host.strongroom("restore-test", "--scratch-directory", "/nowhere", "--json")
    assert (done.code, done.json["codes"]) == (2, ["ENVIRONMENT_FAILURE"])


def test_what_cannot_start_ends_with_3(
    repository: LabRepository, host: Host, small: Dsn, tmp_path: Path
) -> None:
    """No backup, no identity, no keys, wrong options: nothing is logged, nothing published."""
    assert host.strongroom("restore-test").code == 3
    repository.back_up(small)
    entries = len(list((repository.directory / "log/entries").iterdir()))
    for arguments in (
        ("20260114T020000Z-000000",),
        ("latest", "--oldest"),
        ("--seed", "ff"),
        ("--random", "--seed", "no hex"),
        ("--nonsense",),
        ("--identity", tmp_path / "none"),
        ("--state-directory", tmp_path),
        ("--config", tmp_path / "none"),
    ):
        done = host.strongroom("restore-test", *arguments)
        assert done.code == 3, (arguments, done.stderr)
        assert done.stdout == ""
    assert len(list((repository.directory / "log/entries").iterdir())) == entries


def test_a_random_backup_is_chosen_by_a_seed_that_is_logged(
    repository: LabRepository, host: Host, small: Dsn
) -> None:
    """A dry run says which it would be; anybody can work it out again."""
    for _ in range(3):
        repository.back_up(small)
    seed = "00" * 16
    planned = host.strongroom("restore-test", "--random", "--seed", seed, "--dry-run", "--json")
    done = host.strongroom("restore-test", "--random", "--seed", seed, "--json")
    assert done.code == 0, done.stdout
    assert done.json["backup_id"] == planned.json["backup_id"]
    started = [
        json.loads(path.read_text())["details"]
        for path in (repository.directory / "log/entries").iterdir()
        if '"restore_test.started"' in path.read_text()
    ]
    assert [(one["seed"], one["population"], one["rule"]) for one in started] == [
        (seed, 3, "random")
    ]
    oldest = host.strongroom("restore-test", "--oldest", "--dry-run")
    assert "number 1 of 3" in oldest.stdout


def test_a_database_must_be_named_where_there_are_several(
    repository: LabRepository, host: Host, small: Dsn
) -> None:
    """Unless the id says it."""
    made = repository.back_up(small, name="one")
    repository.back_up(small, name="two")
    assert host.strongroom("restore-test", "--dry-run").code == 3
    assert host.strongroom("restore-test", "--dry-run", "--database", "two").code == 0
    assert host.strongroom("restore-test", "--dry-run", made.manifest.backup_id).code == 0
