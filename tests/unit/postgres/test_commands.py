"""Command lines are values: they can be read, and no secret is in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from backup.postgres.command import ATTACHED, STANDARD_INPUT, Command, child_environment
from backup.postgres.commands import (
    DumpSource,
    RestoreTarget,
    TableName,
    exact_pattern,
    pg_dump_rest,
    pg_dump_schema,
    pg_dump_table,
    pg_dumpall_globals,
    pg_restore_list,
    pg_restore_seekable,
    pg_restore_streamed,
    psql_script,
)
from backup.postgres.dsn import Dsn
from backup.postgres.tools import Tools

CANARY = "canary-5eCr3t"
TOOLS = Tools(bin=Path("/pg/bin"), version="16.14")
DSN = Dsn(host="h", user="u", database="d", password=SecretStr(CANARY))
SOURCE = DumpSource(
    tools=TOOLS, dsn=DSN, snapshot_id="00000003-0000001B-1", lock_timeout=timedelta(seconds=1.5)
)
TARGET = RestoreTarget(tools=TOOLS, dsn=DSN)
TABLE = TableName(schema="public", name='a"b')
DUMP = (
    *("/pg/bin/pg_dump", "--format=custom", "--compress=0", "--no-password"),
    *("--snapshot=00000003-0000001B-1", "--lock-wait-timeout=1500"),
)
INTO = "--dbname=host=h port=5432 user=u dbname=d"
SETTINGS = "-c synchronous_commit=off -c maintenance_work_mem=256MB"
RESTORE_INTO = INTO + f" options='{SETTINGS}'"
POST_DATA_INTO = INTO + f" options='{SETTINGS} -c session_replication_role=replica'"


def every_command() -> Iterator[Command]:
    """One of each that connects."""
    yield pg_dump_schema(SOURCE)
    yield pg_dump_rest(SOURCE, [TABLE])
    yield pg_dump_table(SOURCE, TABLE)
    yield pg_dumpall_globals(TOOLS, DSN)
    yield pg_restore_streamed(TARGET, "data", part="rest")
    yield pg_restore_seekable(TARGET, "post-data", part="schema", jobs=2)
    yield psql_script(TOOLS, DSN, label="globals")


@pytest.mark.parametrize("command", tuple(every_command()), ids=lambda command: command.label)
def test_password_is_in_the_passfile_only(command: Command) -> None:
    """Every command that connects has the password in its passfile and nowhere else."""
    assert command.passfile is not None
    assert command.passfile.get_secret_value() == f"*:*:*:*:{CANARY}\n"
    assert CANARY not in repr(command)
    assert CANARY not in " ".join((*command.argv, *command.environment.values()))
    assert "--no-password" in command.argv


def test_dumps() -> None:
    """Each part's dump is of its sections, from the snapshot, uncompressed, with names quoted."""
    pattern = '"public"."a""b"'
    assert pg_dump_schema(SOURCE).argv == (
        *DUMP,
        *("--section=pre-data", "--section=post-data", INTO),
    )
    assert pg_dump_rest(SOURCE, [TABLE, TABLE]).argv == (
        *(*DUMP, "--section=data"),
        *(f"--exclude-table-data={pattern}", f"--exclude-table-data={pattern}", INTO),
    )
    assert pg_dump_table(SOURCE, TABLE).argv == (
        *(*DUMP, "--section=data", "--strict-names"),
        *(f"--table={pattern}", INTO),
    )


def test_globals() -> None:
    """Globals go through the database that one may connect to, unless its name is misread."""
    start = ("/pg/bin/pg_dumpall", "--globals-only", "--encoding=UTF8", "--no-password")
    assert pg_dumpall_globals(TOOLS, DSN).argv == (*start, "--database=d", INTO)
    odd = DSN.with_database("a=b")
    assert pg_dumpall_globals(TOOLS, odd, with_passwords=False).argv == (
        *(*start, "--no-role-passwords"),
        "--dbname=host=h port=5432 user=u dbname=a=b",
    )


def test_restores() -> None:
    """Restores stop at the first error, and event triggers are off where the user may do it."""
    start = ("/pg/bin/pg_restore", "--exit-on-error", "--no-password")
    assert pg_restore_streamed(TARGET, "data", part="rest").argv == (
        *start,
        "--section=data",
        RESTORE_INTO,
    )
    assert pg_restore_seekable(TARGET, "post-data", part="schema", jobs=3).argv == (
        *(*start, "--section=post-data", POST_DATA_INTO),
        *("--jobs=3", STANDARD_INPUT),
    )
    plain = RestoreTarget(
        tools=TOOLS, dsn=DSN, has_owners=False, has_privileges=False, is_superuser=False
    )
    assert pg_restore_streamed(plain, "post-data", part="schema", table=TABLE).argv == (
        *(*start, "--section=post-data", "--no-owner", "--no-privileges"),
        *("--schema=public", '--table=a"b', RESTORE_INTO),
    )
    options = RestoreTarget(tools=TOOLS, dsn=DSN.with_option("options", "-c a=b"))
    assert (
        f"options='-c a=b {SETTINGS} -c session_replication_role=replica'"
        in (pg_restore_streamed(options, "post-data", part="schema").argv[-1])
    )
    listed = pg_restore_seekable(TARGET, "post-data", part="schema", listing=b"5152; a line\n")
    assert listed.argv[-4:] == ("--jobs=1", "--use-list", ATTACHED, STANDARD_INPUT)
    assert listed.attached == b"5152; a line\n"
    assert "a line" not in repr(listed)
    lists = ("/pg/bin/pg_restore", "--list")
    assert pg_restore_list(TOOLS).argv == (*lists, STANDARD_INPUT)
    assert pg_restore_list(TOOLS, "post-data").argv == (
        *(*lists, "--section=post-data", STANDARD_INPUT),
    )


def test_script_stops_at_errors_or_not() -> None:
    """A script stops at its first error unless it is told to go on."""
    assert "--set=ON_ERROR_STOP=1" in psql_script(TOOLS, DSN, label="x").argv
    lenient = psql_script(TOOLS, DSN, label="x", stops_at_error=False)
    assert "--set=ON_ERROR_STOP=0" in lenient.argv


def test_exact_pattern() -> None:
    """Both names are quoted, with double quotes doubled."""
    assert exact_pattern("S.x", 'a"*') == '"S.x"."a""*"'


def test_child_environment() -> None:
    """A child's environment is a short list, and its command's own values win."""
    assert child_environment({"A": "b", "TZ": "Europe/Berlin"}, "/home/x") == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/home/x",
        "LANG": "C.UTF-8",
        "LC_MESSAGES": "C",
        "TZ": "Europe/Berlin",
        "A": "b",
    }


def test_major() -> None:
    """The major is the number before the first point, for releases and betas."""
    assert [Tools(bin=Path("/"), version=v).major for v in ("16.14", "19beta1", "9")] == [16, 19, 9]
    assert TOOLS.program("psql") == "/pg/bin/psql"


def test_what_moves_rows_has_a_large_buffer() -> None:
    """pg_dump, and pg_restore where it reads a pipe, move a database."""
    moving = {command.label for command in every_command() if command.has_large_buffer}
    assert moving == {
        *("pg_dump of schema", "pg_dump of rest", 'pg_dump of table public.a"b'),
        "pg_restore of rest, data",
    }
