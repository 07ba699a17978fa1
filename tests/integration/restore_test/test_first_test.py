"""A database that nothing was proven of does not wait for its schedule: `restore_test_first`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backup.evidence.entry import Entry, EntryType
from backup.evidence.log import read_log
from backup.postgres.dsn import Dsn
from tests.lab.repositories import Ended, Host, LabRepository, lab_repository
from tests.lab.servers import LabServer

DAEMON = ("--slot", "backup@2026-01-14T02:00:00Z")


@pytest.fixture
def source(any_server: LabServer) -> Iterator[Dsn]:
    """A database without a table."""
    with any_server.fresh_database("fresh") as dsn:
        yield dsn
        any_server.sql("DROP DATABASE fresh")


@pytest.fixture
def repository() -> Iterator[LabRepository]:
    """A new repository, and the settings of a daemon that tests what is new."""
    with lab_repository() as made:
        yield made


def backup(repository: LabRepository, dsn: Dsn, *arguments: str, more: str = "") -> Ended:
    """Back up as the daemon does."""
    home = repository.state_directory.parent
    identity = more or f'identity = "{repository.identity_file}"'
    (home / "strongroom.toml").write_text(
        f'repository = "{repository.directory}"\n{identity}\n'
        "[schedules]\nrestore_test_first = true\n"
        f'[databases.fresh]\ndsn = "{dsn.conninfo()}"\n'
    )
    done = Host(home=home).strongroom("backup", "--name", "fresh", "--json", *arguments)
    assert done.code == 0, done.stderr
    return done


def outcomes(repository: LabRepository) -> list[Entry]:
    """The restore tests that the log has the end of."""
    ends = {EntryType.RESTORE_TEST_FINISHED, EntryType.RESTORE_TEST_ABORTED}
    return [one for one in read_log(repository.opened.store).entries() if one.type in ends]


def test_the_first_backup_with_a_table_is_proven_by_the_daemon_itself(
    any_server: LabServer, repository: LabRepository, source: Dsn
) -> None:
    """Not the empty one before it, not one by hand, and none after it: those have a schedule."""
    assert backup(repository, source, *DAEMON).json["tables"] == 0
    any_server.sql("CREATE TABLE t AS SELECT 1 AS a", source.database)
    assert backup(repository, source).json["tables"] == 1
    assert outcomes(repository) == []
    made = backup(repository, source, *DAEMON)
    (test,) = outcomes(repository)
    assert test.details["backup"] == made.json["backup_id"]
    assert test.details["verdict"] == "PASS"
    assert "First restore test: PASS" in made.stderr
    backup(repository, source, *DAEMON)
    # Nor if this host has forgotten it: the log has not.
    for known in (repository.state_directory / "judged").iterdir():
        known.unlink()
    backup(repository, source, *DAEMON)
    assert len(outcomes(repository)) == 1


def test_a_first_test_that_cannot_be_made_leaves_the_backup(
    any_server: LabServer, repository: LabRepository, source: Dsn
) -> None:
    """It is said why, the backup counts, and the next one tries again."""
    any_server.sql("CREATE TABLE t AS SELECT 1 AS a", source.database)
    made = backup(repository, source, *DAEMON, more='identity = "/nowhere/identity.txt"')
    assert "/nowhere/identity.txt" in made.stderr
    assert outcomes(repository) == []
    backup(repository, source, *DAEMON)
    assert [one.details["verdict"] for one in outcomes(repository)] == ["PASS"]
