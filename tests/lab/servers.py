"""Real PostgreSQL servers for tests: one of each major for a whole test session."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from backup.errors import ToolMissingError
from backup.postgres.dsn import Dsn
from backup.postgres.process import Command, RunAs, run
from backup.postgres.scratch import scratch_cluster, unprivileged_user
from backup.postgres.tools import Tools, find_tools

MAJORS = (15, 16, 18)
ANY_MAJOR = 18
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "wal_level": "logical",
    "max_locks_per_transaction": "1024",
    "max_connections": "64",
}
_LIMIT = timedelta(minutes=5)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabServer:
    """A running server: its superuser's DSN, and the tools of its own major."""

    dsn: Dsn
    tools: Tools
    major: int
    pid: int
    user: RunAs | None

    @property
    def has_icu(self) -> bool:
        """The server was built with ICU; the embedded ones are not."""
        return int(self.sql("SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu'")) > 0

    def sql(self, text: str, database: str | None = None) -> str:
        """Run SQL as the superuser by psql, stop at the first error; return unaligned rows."""
        dsn = self.dsn if database is None else self.dsn.with_database(database)
        command = Command(
            label="psql",
            argv=(
                self.tools.program("psql"),
                *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only"),
                *("--set=ON_ERROR_STOP=1", "--file=-", f"--dbname={dsn.conninfo()}"),
            ),
        )
        return run(command, stdin=text.encode(), timeout=_LIMIT).stdout.decode().rstrip("\n")

    @contextlib.contextmanager
    def fresh_database(self, name: str | None = None) -> Iterator[Dsn]:
        """Yield a new, empty database, and drop it with whoever is still in it."""
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        quoted = '"' + name.replace('"', '""') + '"'
        self.sql(f"CREATE DATABASE {quoted} TEMPLATE template0")
        try:
            yield self.dsn.with_database(name)
        finally:
            self.sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


# What one module's tests leave in a cluster must not be there for the next module's.
_CLEANING = """
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
  WHERE datname NOT IN ('postgres', 'template0', 'template1') \\gexec
SELECT format('DROP OWNED BY %I', rolname) FROM pg_roles
  WHERE rolname !~ '^pg_' AND oid <> 10 \\gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles
  WHERE rolname !~ '^pg_' AND oid <> 10 \\gexec
SELECT format('DROP TABLESPACE %I', spcname) FROM pg_tablespace
  WHERE spcname NOT IN ('pg_default', 'pg_global') \\gexec
"""


class Servers:
    """Starts a server when it is first asked for."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._running: dict[int, LabServer] = {}

    def of_major(self, major: int) -> LabServer:
        """Return the server of one major; skips the test where it is not installed."""
        if major not in self._running:
            try:
                tools = find_tools(major, with_server=True)
            except ToolMissingError as error:
                pytest.skip(error.message)
            cluster = self._stack.enter_context(
                scratch_cluster(tools, settings=SETTINGS, has_checksums=True)
            )
            self._running[major] = LabServer(
                dsn=cluster.dsn,
                tools=tools,
                major=major,
                pid=cluster.server.pid,
                user=unprivileged_user(),
            )
        return self._running[major]

    def clean(self) -> None:
        """Drop every database, role and tablespace that tests left on the running servers."""
        for server in self._running.values():
            server.sql(_CLEANING)
