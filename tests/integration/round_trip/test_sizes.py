"""Nothing, very many tables, and one value that is larger than all memory we may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.postgres.scratch import THROW_AWAY, scratch_cluster
from tests.lab.likeness import assert_alike, likeness
from tests.lab.repositories import Host, LabRepository
from tests.lab.servers import LabServer, Servers
from tests.lab.torture import build_large_value, build_many_tables

MEMORY_BYTES = 256 * 1024 * 1024
MANY = 5000
LARGE_BYTES = 300_000_000


@pytest.fixture
def host(repository: LabRepository, tmp_path: Path) -> Host:
    """The machine that writes the repository, as it would call us."""
    return Host(
        home=tmp_path,
        environment={
            "STRONGROOM_REPOSITORY": str(repository.directory),
            "STRONGROOM_STATE_DIRECTORY": str(repository.state_directory),
            "STRONGROOM_IDENTITY": str(repository.identity_file),
        },
        has_settings=False,
    )


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "CREATE VIEW one AS SELECT 1 AS n; CREATE VIEW two AS SELECT n + 1 AS n FROM one;"
        "CREATE RECURSIVE VIEW three (n) AS SELECT n FROM two UNION SELECT n + 1 FROM three"
        " WHERE n < 9",
    ],
    ids=["empty", "views"],
)
def test_a_database_without_tables(server: LabServer, repository: LabRepository, sql: str) -> None:
    """It comes back, and is no special case."""
    with server.fresh_database() as dsn:
        server.sql(sql, dsn.database)
        restored = dsn.with_database(f"{dsn.database}_restored")
        done = repository.restore(repository.back_up(dsn), restored)
        try:
            assert (done.tables, done.rows) == (0, 0)
            assert_alike(likeness(server.tools, dsn), likeness(server.tools, restored))
        finally:
            server.sql(f"DROP DATABASE {restored.database}")


@pytest.fixture(scope="module")
def plain_server(servers: Servers) -> Iterator[LabServer]:
    """A server with the lock table that PostgreSQL has by default."""
    lab = servers.of_major(18)
    settings = {**THROW_AWAY, "max_locks_per_transaction": "64", "max_connections": "100"}
    with scratch_cluster(lab.tools, settings=settings) as cluster:
        yield LabServer(
            dsn=cluster.dsn,
            tools=lab.tools,
            major=18,
            pid=cluster.server.pid,
            user=lab.user,
        )


def test_five_thousand_tables_on_a_default_server(
    plain_server: LabServer, repository: LabRepository, host: Host
) -> None:
    """Locks and memory are enough for them."""
    with plain_server.fresh_database() as dsn:
        build_many_tables(plain_server, dsn, tables=MANY)
        peak = host.peak_bytes("backup", "--dsn", str(dsn), "--jobs", "2")
        restored = dsn.with_database(f"{dsn.database}_restored")
        named = ("restore", "latest", "--database", dsn.database)
        back = host.peak_bytes(*named, "--to", str(restored), "--jobs", "2")
        assert_alike(likeness(plain_server.tools, dsn), likeness(plain_server.tools, restored))
        plain_server.sql(f"DROP DATABASE {restored.database} WITH (FORCE)")
    assert max(peak, back) < MEMORY_BYTES


def test_a_value_larger_than_our_memory(any_server: LabServer, host: Host) -> None:
    """It goes through in pieces, both ways."""
    digest = "SELECT length(value), sha256(value) FROM large_value"
    with any_server.fresh_database() as dsn:
        build_large_value(any_server, dsn, size_bytes=LARGE_BYTES)
        before = any_server.sql(digest, dsn.database)
        peak = host.peak_bytes("backup", "--dsn", str(dsn), "--jobs", "2")
        restored = dsn.with_database(f"{dsn.database}_restored")
        named = ("restore", "latest", "--database", dsn.database)
        back = host.peak_bytes(*named, "--to", str(restored), "--jobs", "2")
        assert any_server.sql(digest, restored.database) == before
        any_server.sql(f"DROP DATABASE {restored.database} WITH (FORCE)")
    assert before.startswith(f"{LARGE_BYTES}|")
    assert max(peak, back) < MEMORY_BYTES
