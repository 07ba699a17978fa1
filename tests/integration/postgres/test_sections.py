"""A backup's parts, dumped and restored apart, make the same database as one dump does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from backup.errors import PostgresError
from backup.postgres.command import Command
from backup.postgres.commands import (
    DumpSource,
    RestoreTarget,
    TableName,
    pg_dump_rest,
    pg_dump_schema,
    pg_dump_table,
    pg_restore_list,
    pg_restore_seekable,
    pg_restore_streamed,
)
from backup.postgres.dsn import Dsn
from backup.postgres.process import run, writing
from backup.postgres.tools import Tools
from tests.lab.servers import LabServer, Servers
from tests.lab.snapshots import exported_snapshot

LIMIT = timedelta(minutes=2)
APART = (
    TableName(schema="public", name="child"),
    TableName(schema="public", name="measurement_2024"),
    TableName(schema="Odd.Schema", name='a "quoted".$name *?'),
)

NOTES_OF_ITS_OWN = "pg_attver"
OPTIONS = "SELECT attoptions FROM pg_attribute WHERE attrelid = 't'::regclass"

EXTENSIONS = """
CREATE EXTENSION hstore;
CREATE SCHEMA ext;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE TABLE tagged (tags hstore, word text);
INSERT INTO tagged VALUES ('a=>1', 'word');
CREATE INDEX ON tagged USING gin (word ext.gin_trgm_ops);
"""


@pytest.fixture
def source(server: LabServer) -> Iterator[Dsn]:
    """A database with whatever falls between the sections."""
    with server.fresh_database() as dsn:
        roles = {name: f"{dsn.database}_{name}" for name in ("reader", "owner")}
        text = (Path(__file__).parent / "sections.sql").read_text()
        for name, role in roles.items():
            text = text.replace(f":{name}", role)
        if server.major == 15:  # the embedded servers have no contrib modules
            server.sql(EXTENSIONS, dsn.database)
        server.sql(text, dsn.database)
        try:
            yield dsn
        finally:
            server.sql(
                f"DROP DATABASE {dsn.database} WITH (FORCE);"
                + "".join(f"DROP ROLE {role};" for role in roles.values())
            )


def plain_dump(server: LabServer, dsn: Dsn) -> str:
    """Everything in a database as SQL; what differs from run to run is left out."""
    argv = (server.tools.program("pg_dump"), f"--dbname={dsn.conninfo()}")
    text = run(Command(label="pg_dump", argv=argv), timeout=LIMIT).stdout.decode()
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)


def dump_parts(
    server: LabServer, tools: Tools, dsn: Dsn, apart: tuple[TableName, ...]
) -> dict[str, bytes]:
    """Every part's archive, from one snapshot."""
    with exported_snapshot(server.tools, dsn) as snapshot_id:
        source = DumpSource(tools=tools, dsn=dsn, snapshot_id=snapshot_id, lock_timeout=LIMIT)
        commands = {"schema": pg_dump_schema(source), "rest": pg_dump_rest(source, apart)}
        for number, table in enumerate(apart):
            commands[f"table-{number}"] = pg_dump_table(source, table)
        return {part: run(command, timeout=LIMIT).stdout for part, command in commands.items()}


def restore_parts(target: RestoreTarget, archives: dict[str, bytes]) -> None:
    """Pre-data, then all rows side by side down pipes, then post-data in two sessions."""
    schema = archives["schema"]
    run(pg_restore_seekable(target, "pre-data", part="schema"), stdin=schema, timeout=LIMIT)

    def restore_rows(part: str) -> None:
        command = pg_restore_streamed(target, "data", part=part)
        with writing(command, stall=LIMIT) as writer:
            writer.write(archives[part])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(restore_rows, sorted(archives.keys() - {"schema"})))
    command = pg_restore_seekable(target, "post-data", part="schema", jobs=2)
    run(command, stdin=schema, timeout=LIMIT)


def listed(tools: Tools, archive: bytes) -> set[str]:
    """The kinds of entries in an archive, such as TABLE DATA."""
    text = run(pg_restore_list(tools), stdin=archive, timeout=LIMIT).stdout.decode()
    return set(re.findall(r"^\d+; \d+ \d+ ([A-Z ]+?) (?:- |[a-z]|\d|BLOBS)", text, re.MULTILINE))


def test_parts_make_the_same_database(server: LabServer, source: Dsn) -> None:
    """Schema, rest and table parts, restored apart, give the source again in every detail."""
    archives = dump_parts(server, server.tools, source, APART)
    with server.fresh_database() as restored:
        restore_parts(RestoreTarget(tools=server.tools, dsn=restored), archives)
        assert plain_dump(server, restored) == plain_dump(server, source)


def test_empty_database(server: LabServer, database: Dsn) -> None:
    """A database with nothing in it has parts that restore to nothing."""
    archives = dump_parts(server, server.tools, database, ())
    with server.fresh_database() as restored:
        restore_parts(RestoreTarget(tools=server.tools, dsn=restored), archives)
        assert plain_dump(server, restored) == plain_dump(server, database)


@pytest.mark.parametrize("major", [15, 16])
def test_newer_tools_only_dump(servers: Servers, major: int) -> None:
    """A newer pg_dump reads an older server, but what it wrote restores into a newer one only.

    pg_restore 17 and later set `transaction_timeout`, which servers before 17 do not know, and
    older ones cannot read the archive.
    """
    server, newest = servers.of_major(major), servers.of_major(18)
    with server.fresh_database() as dsn, newest.fresh_database() as restored:
        server.sql("CREATE TABLE t AS SELECT 1 AS one; SELECT lo_from_bytea(5, 'x')", dsn.database)
        table = TableName(schema="public", name="t")
        archives = dump_parts(server, newest.tools, dsn, (table,))
        target = RestoreTarget(tools=newest.tools, dsn=restored)
        if NOTES_OF_ITS_OWN in server.sql(OPTIONS, dsn.database):
            # 15.20 knows what its own pg_dump must not write down; a pg_dump 18.4 does not.
            with pytest.raises(PostgresError, match=NOTES_OF_ITS_OWN):
                restore_parts(target, archives)
        else:
            restore_parts(target, archives)
            assert newest.sql("SELECT one, lo_get(5) FROM t", restored.database) == "1|\\x78"
    with server.fresh_database() as restored:
        with pytest.raises(PostgresError, match="transaction_timeout"):
            restore_parts(RestoreTarget(tools=newest.tools, dsn=restored), archives)
        with pytest.raises(PostgresError, match="unsupported version"):
            restore_parts(RestoreTarget(tools=server.tools, dsn=restored), archives)


def test_where_large_objects_are(server: LabServer, database: Dsn) -> None:
    """Owners, grants and comments of large objects are schema up to 16, and data from 17 on."""
    server.sql("SELECT lo_from_bytea(7, 'x'); COMMENT ON LARGE OBJECT 7 IS 'c'", database.database)
    archives = dump_parts(server, server.tools, database, ())
    schema = listed(server.tools, archives["schema"])
    rest = listed(server.tools, archives["rest"])
    if server.major >= 17:
        assert "BLOB METADATA" in rest
        assert "BLOB" not in schema
    else:
        assert "BLOB" in schema
    assert "BLOBS" in rest


def test_foreign_keys_are_validated_when_triggers_are_off(any_server: LabServer) -> None:
    """What post-data is restored with does not let a broken foreign key through."""
    with any_server.fresh_database() as dsn:
        any_server.sql(
            "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (p int); INSERT INTO c VALUES (1)",
            dsn.database,
        )
        with pytest.raises(PostgresError, match="violates foreign key"):
            any_server.sql(
                "SET session_replication_role = replica;"
                "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p",
                dsn.database,
            )


def test_configuration_tables_of_extensions(any_server: LabServer, shared_directory: Path) -> None:
    """Rows that an extension marks as its configuration are in the rest part."""
    extensions = shared_directory / "extension"
    extensions.mkdir()
    (extensions / "kit.control").write_text("default_version = '1'\nrelocatable = true\n")
    (extensions / "kit--1.sql").write_text(
        "CREATE TABLE kit_setting (k text, is_own boolean);"
        "INSERT INTO kit_setting VALUES ('built in', false);"
        "SELECT pg_extension_config_dump('kit_setting', 'WHERE is_own');"
    )
    options = f"-c extension_control_path={shared_directory}:$system"
    with any_server.fresh_database() as one, any_server.fresh_database() as other:
        source, restored = (dsn.with_option("options", options) for dsn in (one, other))
        any_server.sql(
            f"SET extension_control_path = '{shared_directory}:$system';"
            "CREATE EXTENSION kit; INSERT INTO kit_setting VALUES ('our own', true);"
            "CREATE TABLE t (a int); INSERT INTO t VALUES (1)",
            source.database,
        )
        table = TableName(schema="public", name="t")
        archives = dump_parts(any_server, any_server.tools, source, (table,))
        restore_parts(RestoreTarget(tools=any_server.tools, dsn=restored), archives)
        rows = any_server.sql("SELECT k FROM kit_setting ORDER BY 1", restored.database)
        assert rows == "built in\nour own"
