"""A role that may only read is enough for a backup, or the backup says why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backup.postgres.dsn import Dsn
from tests.lab.likeness import assert_alike, likeness
from tests.lab.repositories import Host, LabRepository
from tests.lab.servers import LabServer


@pytest.fixture
def source(server: LabServer) -> Iterator[Dsn]:
    """A database, and a role that may connect to it and read all data."""
    with server.fresh_database() as dsn:
        server.sql(
            f"CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader;"
            f"REVOKE ALL ON DATABASE {dsn.database} FROM PUBLIC;"
            f"GRANT CONNECT ON DATABASE {dsn.database} TO reader;"
            "CREATE SCHEMA private; CREATE TABLE private.t (id serial PRIMARY KEY, v text);"
            "INSERT INTO private.t (v) SELECT 'row ' || n FROM generate_series(1, 100) n;"
            "CREATE VIEW private.v AS SELECT v FROM private.t;"
            "CREATE MATERIALIZED VIEW private.m AS SELECT count(*) AS c FROM private.t;"
            "REVOKE ALL ON SCHEMA public FROM PUBLIC",
            dsn.database,
        )
        yield dsn
        server.sql("DROP OWNED BY reader; REVOKE pg_read_all_data FROM reader", dsn.database)
        server.sql(f"DROP DATABASE {dsn.database}; DROP ROLE reader")


@pytest.fixture
def host(repository: LabRepository, tmp_path: Path) -> Host:
    """The machine that writes the repository."""
    return Host(
        home=tmp_path,
        environment={
            "STRONGROOM_REPOSITORY": str(repository.directory),
            "STRONGROOM_STATE_DIRECTORY": str(repository.state_directory),
        },
        has_settings=False,
    )


def checks(host: Host, dsn: Dsn) -> tuple[int, dict[str, dict[str, str]]]:
    """Ask the doctor; return the exit code, and each check by its name."""
    done = host.strongroom("doctor", "--json", DATABASE_URL=str(dsn))
    return done.code, {check["name"]: check for check in done.json["checks"]}


@pytest.mark.parametrize("has_passwords", [True, False])
def test_reading_is_enough(
    server: LabServer, source: Dsn, repository: LabRepository, host: Host, has_passwords: bool
) -> None:
    """pg_read_all_data reads even passwords; grants on tables do not, and that is told."""
    reader = replace(source, user="reader")
    if not has_passwords:
        server.sql(
            "REVOKE pg_read_all_data FROM reader; GRANT USAGE ON SCHEMA private TO reader;"
            "GRANT SELECT ON ALL TABLES IN SCHEMA private TO reader;"
            "GRANT SELECT ON ALL SEQUENCES IN SCHEMA private TO reader",
            source.database,
        )
    code, found = checks(host, reader)
    assert code == 0, found
    assert ("reads role passwords" in found) is not has_passwords
    made = repository.back_up(reader)
    told = any("without passwords" in warning for warning in made.manifest.warnings)
    assert told is not has_passwords
    restored = source.with_database(f"{source.database}_restored")
    repository.restore(made, restored)
    try:
        assert_alike(likeness(server.tools, source), likeness(server.tools, restored))
    finally:
        server.sql(f"DROP DATABASE {restored.database}")


def test_hidden_rows_are_an_error_and_no_backup(
    server: LabServer, source: Dsn, repository: LabRepository, host: Host
) -> None:
    """The doctor says so beforehand, and both name BYPASSRLS."""
    server.sql("ALTER TABLE private.t ENABLE ROW LEVEL SECURITY", source.database)
    reader = replace(source, user="reader")
    code, found = checks(host, reader)
    assert code == 1
    assert found["sees every row"]["status"] == "bad"
    assert "BYPASSRLS" in found["sees every row"]["hint"]
    before = repository.opened.backups()
    done = host.strongroom("backup", DATABASE_URL=str(reader))
    assert done.code == 5
    assert "BYPASSRLS" in done.stderr
    assert repository.opened.backups() == before
    server.sql("ALTER ROLE reader BYPASSRLS")
    assert host.strongroom("backup", DATABASE_URL=str(reader)).code == 0


def test_an_unreadable_large_object_is_an_error_and_no_backup(
    server: LabServer, source: Dsn, repository: LabRepository, host: Host
) -> None:
    """pg_read_all_data does not cover large objects."""
    server.sql("SELECT lo_from_bytea(4711, 'x')", source.database)
    reader = replace(source, user="reader")
    code, found = checks(host, reader)
    assert code == 1
    assert found["reads large objects"]["status"] == "bad"
    before = repository.opened.backups()
    done = host.strongroom("backup", DATABASE_URL=str(reader))
    assert done.code == 5
    assert "large object" in done.stderr
    assert repository.opened.backups() == before
    server.sql("GRANT SELECT ON LARGE OBJECT 4711 TO reader", source.database)
    assert host.strongroom("backup", DATABASE_URL=str(reader)).code == 0


def test_an_unreadable_table_is_an_error_and_no_backup(
    server: LabServer, source: Dsn, repository: LabRepository, host: Host
) -> None:
    """Without pg_read_all_data: the hint names it."""
    server.sql("REVOKE pg_read_all_data FROM reader", source.database)
    reader = replace(source, user="reader")
    code, found = checks(host, reader)
    assert code == 1
    assert "pg_read_all_data" in found["reads every table"]["hint"]
    before = repository.opened.backups()
    done = host.strongroom("backup", DATABASE_URL=str(reader))
    assert done.code == 5
    assert "pg_read_all_data" in done.stderr
    assert repository.opened.backups() == before
