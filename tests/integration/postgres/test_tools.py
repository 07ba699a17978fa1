"""Tools are found by the server's major, and their patterns name one table only."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from backup.errors import PostgresError, StalledError, ToolMissingError
from backup.postgres.commands import (
    DumpSource,
    TableName,
    pg_dump_rest,
    pg_dump_table,
    pg_dumpall_globals,
    pg_restore_list,
    psql_script,
)
from backup.postgres.dsn import Dsn
from backup.postgres.process import reading, run
from backup.postgres.tools import Tools, find_tools, installed_tools
from tests.lab.processes import is_gone
from tests.lab.servers import LabServer
from tests.lab.snapshots import exported_snapshot, open_transaction

LIMIT = timedelta(minutes=2)
ODD_NAMES = (
    "plain",
    "UPPER",
    "a.b",
    'q"uote',
    '""',
    "dollar$",
    "$1",
    " space ",
    "new\nline",
    "back\\slash",
    "star*",
    "question?",
    "[abc]",
    "a|b",
    "(a)",
    "^a$",
    "a+",
    "{2}",
    "'",
    "%_",
    "-t",
    "🗄" * 15 + "abc",
    "x" * 63,
    "tab\t",
    "***:a",
    "a",
    "b",
    "planes",
)


def fake_tool(directory: Path, version: str, *names: str) -> Path:
    """A directory of programs that only say their version."""
    directory.mkdir()
    for name in names or ("pg_dump", "pg_dumpall", "pg_restore", "psql"):
        path = directory / name
        path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        path.chmod(0o755)
    return directory


def test_exact_major_first_then_newer(tmp_path: Path) -> None:
    """The server's own major wins over newer ones, the nearest newer one over later ones."""
    directories = (
        fake_tool(tmp_path / "a", "43.2"),
        fake_tool(tmp_path / "b", "41beta1"),
        fake_tool(tmp_path / "c", "40.1 (Distro 40.1-1)"),
        fake_tool(tmp_path / "d", "40.9"),
    )
    assert find_tools(41, bin_directories=directories) == Tools(
        bin=directories[1], version="41beta1"
    )
    assert find_tools(40, bin_directories=directories).bin == directories[2]
    assert find_tools(42, bin_directories=directories).version == "43.2"
    assert find_tools(41, bin_directories=directories).major == 41
    with pytest.raises(ToolMissingError, match="pg_restore of PostgreSQL 42 is not installed"):
        find_tools(42, bin_directories=directories, is_for_restore=True)


def test_older_tools_are_refused(tmp_path: Path) -> None:
    """Without tools that are new enough the message says what is there and what to install."""
    directory = fake_tool(tmp_path / "a", "50.1")
    fake_tool(tmp_path / "incomplete", "60.1", "pg_dump")
    with pytest.raises(
        ToolMissingError, match=r"pg_dump of PostgreSQL 60 or newer.*50\.1"
    ) as caught:
        find_tools(60, bin_directories=(directory, tmp_path / "incomplete", tmp_path / "none"))
    assert "postgresql-client-60" in (caught.value.hint or "")


def test_server_of_the_exact_major(tmp_path: Path) -> None:
    """A server has to be of the major itself, and to be there with its initdb."""
    directory = fake_tool(tmp_path / "a", "50.1")
    with pytest.raises(ToolMissingError, match="the server of PostgreSQL 50"):
        find_tools(50, bin_directories=(directory,), with_server=True)
    for name in ("initdb", "postgres"):
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    assert find_tools(50, bin_directories=(directory,), with_server=True).bin == directory
    with pytest.raises(ToolMissingError):
        find_tools(49, bin_directories=(directory,), with_server=True)


def test_broken_program_is_no_tool(tmp_path: Path) -> None:
    """A pg_dump that cannot even say its version is passed over."""
    directory = fake_tool(tmp_path / "a", "50.1")
    (directory / "pg_dump").write_text("#!/bin/sh\nexit 1\n")
    assert directory not in {tools.bin for tools in installed_tools((directory,))}
    directory = fake_tool(tmp_path / "b", "nonsense")
    assert directory not in {tools.bin for tools in installed_tools((directory,))}


def test_patterns_name_one_table(server: LabServer, database: Dsn) -> None:
    """Whatever a name holds, its pattern takes that table and no other, in both directions."""
    every = tuple(TableName(schema=s, name=n) for s in ("public", 's.*"$') for n in ODD_NAMES)
    quoted = {
        t: ".".join('"' + n.replace('"', '""') + '"' for n in (t.schema, t.name)) for t in every
    }
    server.sql('CREATE SCHEMA "s.*""$"', database.database)
    server.sql("".join(f"CREATE TABLE {name} ();" for name in quoted.values()), database.database)
    oids = {
        t: server.sql(
            f"SELECT '{quoted[t].replace(chr(39), chr(39) * 2)}'::regclass::oid", database.database
        )
        for t in every
    }

    def tables(archive: bytes) -> set[str]:
        text = run(pg_restore_list(server.tools), stdin=archive, timeout=LIMIT).stdout.decode()
        return set(re.findall(r"^\d+; \d+ (\d+) TABLE DATA", text, re.MULTILINE))

    with exported_snapshot(server.tools, database) as snapshot_id:
        source = DumpSource(
            tools=server.tools, dsn=database, snapshot_id=snapshot_id, lock_timeout=LIMIT
        )
        for table in every[:: 1 if server.major == 18 else 5]:
            archive = run(pg_dump_table(source, table), timeout=LIMIT).stdout
            assert tables(archive) == {oids[table]}, table
        rest = run(pg_dump_rest(source, every[1:]), timeout=LIMIT).stdout
        assert tables(rest) == {oids[every[0]]}
        missing = TableName(schema="public", name="plai?")
        with pytest.raises(PostgresError, match="no matching tables"):
            run(pg_dump_table(source, missing), timeout=LIMIT)


@pytest.mark.parametrize("name", ["odd = name", "q'\"uo\\te", "postgresql://x"])
def test_globals_restore(server: LabServer, name: str) -> None:
    """Globals of a server read whole through any database, and its own psql takes them."""
    role = f"glob_{server.major}"
    with server.fresh_database(name) as dsn:
        server.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        script = run(pg_dumpall_globals(server.tools, dsn), timeout=LIMIT).stdout
        bare = run(
            pg_dumpall_globals(server.tools, dsn, with_passwords=False), timeout=LIMIT
        ).stdout
        assert b"SCRAM-SHA-256" in script
        assert b"SCRAM-SHA-256" not in bare
        server.sql(f"DROP ROLE {role}")
        lenient = psql_script(server.tools, dsn, label="globals", stops_at_error=False)
        assert (
            'role "postgres" already exists'
            in run(lenient, stdin=script, timeout=LIMIT).stderr_tail
        )
        assert server.sql(f"SELECT rolcanlogin FROM pg_roles WHERE rolname = '{role}'") == "t"
        strict = psql_script(server.tools, dsn, label="globals")
        with pytest.raises(PostgresError, match="already exists"):
            run(strict, stdin=script, timeout=LIMIT)
        server.sql(f"DROP ROLE {role}")


def test_dump_that_nobody_reads_leaves_the_server(any_server: LabServer, any_database: Dsn) -> None:
    """When our side hangs, the dump is ended and its session goes away."""
    any_server.sql(
        "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)",
        any_database.database,
    )
    table = TableName(schema="public", name="t")
    # Those of this database: one of the test before may not have seen yet that its dump is gone.
    mine = f"datname = '{any_database.database}' AND application_name = 'pg_dump'"
    gone = f"""
        DO $$ BEGIN
            FOR i IN 1..600 LOOP
                PERFORM pg_stat_clear_snapshot();
                IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE {mine})
                THEN RETURN; END IF;
                PERFORM pg_sleep(0.1);
            END LOOP;
            RAISE 'the session is still there';
        END $$;
    """
    with exported_snapshot(any_server.tools, any_database) as snapshot_id:
        source = DumpSource(
            tools=any_server.tools, dsn=any_database, snapshot_id=snapshot_id, lock_timeout=LIMIT
        )
        with (
            pytest.raises(StalledError, match="we asked nothing of it"),
            reading(pg_dump_table(source, table), stall=timedelta(seconds=5)) as reader,
        ):
            buffer = memoryview(bytearray(100_000))
            # Read meanwhile: asking may take longer than the watchdog waits.
            while any_server.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {mine}") != "1":
                assert reader.readinto(buffer)
            assert is_gone(reader.pid)
            any_server.sql(gone)
            while reader.readinto(buffer):
                pass


def test_waiting_for_a_lock_is_bounded(server: LabServer, database: Dsn) -> None:
    """A dump that cannot lock its table in time fails and says which."""
    server.sql("CREATE TABLE taken ()", database.database)
    lock = ("LOCK TABLE taken", "SELECT 'locked'")
    with (
        exported_snapshot(server.tools, database) as snapshot_id,
        open_transaction(server.tools, database, *lock),
        pytest.raises(PostgresError, match=r"timeout.*LOCK TABLE public\.taken"),
    ):
        source = DumpSource(
            tools=server.tools,
            dsn=database,
            snapshot_id=snapshot_id,
            lock_timeout=timedelta(seconds=0.3),
        )
        run(pg_dump_table(source, TableName(schema="public", name="taken")), timeout=LIMIT)
