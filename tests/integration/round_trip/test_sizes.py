"""Nothing, very many tables, and one value that is larger than all memory we may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backup.postgres.dsn import Dsn
from backup.postgres.scratch import THROW_AWAY, scratch_cluster
from tests.lab.effort import Numbers
from tests.lab.likeness import assert_alike, likeness
from tests.lab.repositories import Host, LabRepository
from tests.lab.servers import LabServer, Servers
from tests.lab.torture import build_large_objects, build_large_value, build_many_tables

MEMORY_BYTES = 256 * 1024 * 1024
SOME = 1000
A_WHILE = 4_000_000  # rows that are made in less than a statement's time limit
MANY = 50_000
LARGE_BYTES = 300_000_000
# As text that is 1,024,000,000 characters: COPY takes no value of a gigabyte.
LARGEST_BYTES = 512_000_000
# What is in each table and sequence, one statement each: none has to lock all of them at once.
_OURS = "FROM pg_class c WHERE relnamespace::regnamespace::text ~ '^s[0-9]$'"
CONTENT = (
    "SELECT CASE relkind WHEN 'S' THEN format('SELECT %L, last_value, is_called FROM %1$s', r)"
    " ELSE format('SELECT %L, count(*), sum(hashtextextended(t::text, 1)::numeric) FROM %1$s t', r)"
    " END FROM (SELECT relkind, c.oid::regclass::text AS r "
    f"{_OURS} AND relkind IN ('r', 'S')) AS names ORDER BY r COLLATE \"C\" \\gexec"
)
INDEXES = (
    "SELECT string_agg(pg_get_indexdef(c.oid), ';' ORDER BY relname COLLATE \"C\")"
    f" {_OURS} AND relkind = 'i'"
)


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


@contextmanager
def server_with(servers: Servers, **settings: str) -> Iterator[LabServer]:
    """A server of its own with these settings."""
    lab = servers.of_major(18)
    with scratch_cluster(lab.tools, settings={**THROW_AWAY, **settings}) as cluster:
        yield LabServer(
            dsn=cluster.dsn,
            tools=lab.tools,
            major=18,
            pid=cluster.server.pid,
            user=lab.user,
        )


def test_very_many_tables(
    servers: Servers, repository: LabRepository, host: Host, numbers: Numbers
) -> None:
    """They come back, even into a server whose lock table is too small to back them up.

    There `doctor` and `backup` say so, and what `doctor` names is enough.
    """
    many = numbers.of(SOME, MANY)
    small = numbers.of(
        {"max_connections": "20", "max_locks_per_transaction": "10"},
        {"max_connections": "100", "max_locks_per_transaction": "64"},
    )
    with server_with(servers, **small) as tight:
        needed = -(-many * 3 // (int(small["max_connections"]) * 64)) * 64
        enough = {**small, "max_locks_per_transaction": str(needed)}
        with server_with(servers, **enough) as roomy:
            dsn = roomy.dsn.with_database("many")
            roomy.sql("CREATE DATABASE many")
            build_many_tables(roomy, dsn, tables=many)
            peak = host.peak_bytes("backup", "--dsn", str(dsn), "--jobs", "2")
            named = ("latest", "--database", dsn.database)
            restored = tight.dsn.with_database("restored")
            back = host.peak_bytes("restore", *named, "--to", str(restored), "--jobs", "2")
            print(f"peak in bytes of {many} tables: {peak}, {back}")  # noqa: T201
            assert host.strongroom("verify", *named).code == 0
            content = tight.sql(CONTENT, restored.database)
            assert len(content.splitlines()) == 2 * many
            assert content == roomy.sql(CONTENT, dsn.database)
            indexes = tight.sql(INDEXES, restored.database)
            assert indexes.count("CREATE UNIQUE INDEX") == many
            assert indexes == roomy.sql(INDEXES, dsn.database)
        looked = host.strongroom("doctor", "--dsn", str(restored), "--json")
        failed = host.strongroom("backup", "--dsn", str(restored), "--jobs", "2")
        listed = host.strongroom("list", "--json")
    assert f"set max_locks_per_transaction to {needed} or more" in looked.stdout
    assert failed.code == 5
    assert "raise max_locks_per_transaction" in failed.stderr
    assert "`strongroom doctor` says how far" in failed.stderr
    assert restored.database not in listed.stdout
    assert max(peak, back) < MEMORY_BYTES


@pytest.mark.parametrize("major", [16, 18])
def test_very_many_large_objects(
    servers: Servers, host: Host, numbers: Numbers, major: int
) -> None:
    """They come back; from 17 on pg_dump writes them down in another way."""
    server, many = servers.of_major(major), numbers.of(1000, 100_000)
    digest = (
        "SELECT count(*), sha256(string_agg(sha256(lo_get(oid)), '' ORDER BY oid)),"
        " sha256(string_agg(oid::text, ',' ORDER BY oid)::bytea) FROM pg_largeobject_metadata"
    )
    with server.fresh_database() as dsn:
        build_large_objects(server, dsn, objects=many, each_bytes=128)
        before = server.sql(digest, dsn.database)
        assert before.startswith(f"{many}|")
        assert_comes_back(server, host, dsn, digest, before)


def test_very_many_rows(any_server: LabServer, host: Host, numbers: Numbers) -> None:
    """A table of narrow rows comes back, of more than 2 GiB in its archive with the full number."""
    many = numbers.of(100_000, 52_000_000)
    digest = "SELECT count(*), sum(hashtextextended(n::text || v, 1)::numeric) FROM narrow"
    with any_server.fresh_database() as dsn:
        any_server.sql("CREATE TABLE narrow (n int, v text)", dsn.database)
        for first in range(1, many, A_WHILE):
            any_server.sql(
                "INSERT INTO narrow SELECT n, md5(n::text) || n % 97"
                f" FROM generate_series({first}, {min(many, first + A_WHILE - 1)}) n",
                dsn.database,
            )
        before = any_server.sql(digest, dsn.database)
        assert before.startswith(f"{many}|")
        assert_comes_back(any_server, host, dsn, digest, before)


def assert_comes_back(server: LabServer, host: Host, dsn: Dsn, query: str, before: str) -> None:
    """Back up, verify, restore; the query gives the same, and our process stays small."""
    peak = host.peak_bytes("backup", "--dsn", str(dsn), "--jobs", "2")
    restored = dsn.with_database(f"{dsn.database}_restored")
    named = ("latest", "--database", dsn.database)
    assert host.strongroom("verify", *named).code == 0
    back = host.peak_bytes("restore", *named, "--to", str(restored), "--jobs", "2")
    assert server.sql(query, restored.database) == before
    server.sql(f"DROP DATABASE {restored.database} WITH (FORCE)")
    print(f"peak in bytes: {peak}, {back}")  # noqa: T201
    assert max(peak, back) < MEMORY_BYTES


def test_a_value_larger_than_our_memory(
    any_server: LabServer, host: Host, numbers: Numbers
) -> None:
    """It goes through in pieces, both ways."""
    size_bytes = numbers.of(LARGE_BYTES, LARGEST_BYTES)
    digest = "SELECT length(value), sha256(value) FROM large_value"
    with any_server.fresh_database() as dsn:
        build_large_value(any_server, dsn, size_bytes=size_bytes)
        before = any_server.sql(digest, dsn.database)
        assert before.startswith(f"{size_bytes}|")
        assert_comes_back(any_server, host, dsn, digest, before)
