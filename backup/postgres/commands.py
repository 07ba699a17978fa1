"""The command lines of PostgreSQL's own client tools, as pure values.

PostgreSQL manual, "PostgreSQL Client Applications". No maker puts a password anywhere but into
`Command.passfile`, and `--no-password` keeps a tool from asking for one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal

from backup.postgres.command import ATTACHED, STANDARD_INPUT, Command
from backup.postgres.dsn import Dsn
from backup.postgres.tools import Tools

# Nobody uses the database before the restore is complete, and its last commit waits for the disk:
# that one makes all before it durable. Sorting an index in memory halves the time of its making.
_RESTORE_SETTINGS: Final = ("-c synchronous_commit=off", "-c maintenance_work_mem=256MB")

RestoreSection = Literal["pre-data", "data", "post-data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableName:
    """A table by schema and name, both exactly as the catalogue has them."""

    schema: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpSource:
    """What every dump of one backup shares; `lock_timeout` is how long it waits for a lock."""

    tools: Tools
    dsn: Dsn
    snapshot_id: str
    lock_timeout: timedelta


def exact_pattern(schema: str, name: str) -> str:
    """Return the pattern for `--table` and its like that fits this relation and nothing else.

    Within double quotes every character but the double quote stands for itself (psql manual,
    "Patterns").
    """
    return f"{_quoted(schema)}.{_quoted(name)}"


def pg_dump_schema(source: DumpSource) -> Command:
    """Dump everything but rows to standard output.

    Not `--schema-only`, which leaves out the REFRESH of materialised views.
    """
    return _pg_dump(source, "schema", "--section=pre-data", "--section=post-data")


def pg_dump_rest(source: DumpSource, apart: Iterable[TableName]) -> Command:
    """Dump all rows to standard output, but those of tables `apart`; sequences, large objects."""
    without = (f"--exclude-table-data={exact_pattern(table.schema, table.name)}" for table in apart)
    return _pg_dump(source, "rest", "--section=data", *without)


def pg_dump_table(source: DumpSource, table: TableName) -> Command:
    """Dump one table's rows to standard output; a table that is not there is an error."""
    return _pg_dump(
        source,
        f"table {table.schema}.{table.name}",
        "--section=data",
        "--strict-names",
        f"--table={exact_pattern(table.schema, table.name)}",
    )


def pg_dumpall_globals(tools: Tools, dsn: Dsn, *, with_passwords: bool = True) -> Command:
    """Dump roles, memberships, role settings and tablespaces as SQL to standard output.

    Only a superuser can read the password hashes.
    """
    return Command(
        label="pg_dumpall of globals",
        argv=(
            tools.program("pg_dumpall"),
            "--globals-only",
            "--encoding=UTF8",
            "--no-password",
            *(() if with_passwords else ("--no-role-passwords",)),
            # Otherwise it tries `postgres` and `template1`, which one may not be let into. It
            # would read a name with '=' as a connection string.
            *(
                ()
                if "=" in dsn.database or "://" in dsn.database
                else (f"--database={dsn.database}",)
            ),
            f"--dbname={dsn.conninfo()}",
        ),
        passfile=dsn.passfile_text,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTarget:
    """Where a restore goes, and whether objects get the owners, grants and tablespaces they had.

    A superuser restores post-data with `session_replication_role` at replica: `pg_restore` makes
    event triggers before it refreshes materialised views, so that they would fire. Foreign keys
    are validated all the same.
    """

    tools: Tools
    dsn: Dsn
    is_superuser: bool = True
    has_owners: bool = True
    has_privileges: bool = True
    has_tablespaces: bool = True


def pg_restore_streamed(
    target: RestoreTarget,
    section: RestoreSection,
    *,
    part: str,
    table: TableName | None = None,
) -> Command:
    """Restore one section of an archive that is written to its standard input, in one session."""
    return replace(_pg_restore(target, section, part, table), has_large_buffer=True)


def pg_restore_seekable(
    target: RestoreTarget,
    section: RestoreSection,
    *,
    part: str,
    jobs: int = 1,
    listing: bytes | None = None,
) -> Command:
    """Restore one section in `jobs` sessions; standard input must be seekable, as `run` gives.

    `listing` are the lines of `pg_restore --list` to restore, in their order; None: all.
    """
    chosen = () if listing is None else ("--use-list", ATTACHED)
    command = _pg_restore(target, section, part, None, f"--jobs={jobs}", *chosen, STANDARD_INPUT)
    return replace(command, attached=listing)


def pg_restore_list(tools: Tools, section: RestoreSection | None = None) -> Command:
    """List the archive on standard input, which must be seekable, or one section of it."""
    chosen = () if section is None else (f"--section={section}",)
    return Command(
        label="pg_restore --list",
        argv=(tools.program("pg_restore"), "--list", *chosen, STANDARD_INPUT),
    )


def psql_script(tools: Tools, dsn: Dsn, *, label: str, stops_at_error: bool = True) -> Command:
    """Run the SQL on standard input; without `stops_at_error` the exit code is 0 despite errors."""
    return Command(
        label=label,
        argv=(
            tools.program("psql"),
            "--no-psqlrc",
            "--no-password",
            "--quiet",
            "--no-align",
            "--tuples-only",
            f"--set=ON_ERROR_STOP={int(stops_at_error)}",
            "--file=-",
            f"--dbname={dsn.conninfo()}",
        ),
        passfile=dsn.passfile_text,
    )


def _pg_dump(source: DumpSource, part: str, *arguments: str) -> Command:
    return Command(
        label=f"pg_dump of {part}",
        argv=(
            source.tools.program("pg_dump"),
            "--format=custom",
            "--compress=0",
            "--no-password",
            f"--snapshot={source.snapshot_id}",
            f"--lock-wait-timeout={int(source.lock_timeout.total_seconds() * 1000)}",
            *arguments,
            f"--dbname={source.dsn.conninfo()}",
        ),
        passfile=source.dsn.passfile_text,
        has_large_buffer=True,
    )


def _pg_restore(
    target: RestoreTarget,
    section: RestoreSection,
    part: str,
    table: TableName | None,
    *arguments: str,
) -> Command:
    options = [dict(target.dsn.options).get("options", ""), *_RESTORE_SETTINGS]
    if target.is_superuser and section == "post-data":
        options.append("-c session_replication_role=replica")
    dsn = target.dsn.with_option("options", " ".join(options).strip())
    chosen = () if table is None else (f"--schema={table.schema}", f"--table={table.name}")
    return Command(
        label=f"pg_restore of {part}, {section}",
        argv=(
            target.tools.program("pg_restore"),
            "--exit-on-error",
            "--no-password",
            f"--section={section}",
            *(() if target.has_owners else ("--no-owner",)),
            *(() if target.has_privileges else ("--no-privileges",)),
            *(() if target.has_tablespaces else ("--no-tablespaces",)),
            *chosen,
            f"--dbname={dsn.conninfo()}",
            *arguments,
        ),
        passfile=target.dsn.passfile_text,
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
