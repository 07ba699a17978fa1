"""Hard databases on a test server: the one with everything, and three that are extreme in size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from backup.postgres.dsn import Dsn
from tests.lab.servers import LabServer

_SQL = Path(__file__).with_name("torture.sql")
_AT_A_TIME = 5000  # tables that are made in less than a statement's time limit


@contextlib.contextmanager
def torture_database(server: LabServer, name: str | None = None) -> Iterator[Dsn]:
    """Yield a new database with everything that has to survive a backup, and drop it."""
    with server.fresh_database(name) as dsn:
        build_torture(server, dsn)
        try:
            yield dsn
        finally:
            forget_subscriptions(server, dsn)


def build_torture(server: LabServer, dsn: Dsn) -> None:
    """Run `torture.sql` in an empty database; the roles are made once a cluster."""
    server.sql(_SQL.read_text(encoding="utf-8"), database=dsn.database)


def forget_subscriptions(server: LabServer, dsn: Dsn) -> None:
    """Drop the database's subscriptions: with one, a database cannot be dropped."""
    server.sql(
        "SELECT format('DROP SUBSCRIPTION %I', subname) FROM pg_subscription s"
        " JOIN pg_database d ON d.oid = s.subdbid WHERE datname = current_database() \\gexec",
        database=dsn.database,
    )


def build_many_tables(server: LabServer, dsn: Dsn, *, tables: int) -> None:
    """Make tables of a few rows, each with a primary key and a sequence, in ten schemas.

    Each in a transaction of its own: a lock table of any size is enough.
    """
    server.sql("".join(f"CREATE SCHEMA s{number};" for number in range(10)), dsn.database)
    for first in range(1, tables + 1, _AT_A_TIME):
        server.sql(
            "SELECT format('CREATE TABLE s%s.t%s (id serial PRIMARY KEY, v text);"
            " INSERT INTO s%s.t%s (v) SELECT %L FROM generate_series(1, %s)',"
            " n % 10, n, n % 10, n, 'row of ' || n, n % 7)"
            f" FROM generate_series({first}, {min(tables, first + _AT_A_TIME - 1)}) n \\gexec",
            database=dsn.database,
        )


def build_large_value(server: LabServer, dsn: Dsn, *, size_bytes: int) -> None:
    """Make one row with one bytea of this many bytes; it does not compress."""
    server.sql(
        "CREATE TABLE large_value (id int PRIMARY KEY, value bytea);"
        " ALTER TABLE large_value ALTER value SET STORAGE EXTERNAL;"
        " INSERT INTO large_value SELECT 1, substring(string_agg(block || n::text::bytea, ''"
        " ORDER BY n) FOR "
        f"{size_bytes}) FROM (SELECT string_agg(sha256(i::text::bytea), '' ORDER BY i) AS block"
        " FROM generate_series(1, 32768) i) b,"
        f" generate_series(0, {size_bytes} / (32 * 32768)) n",
        database=dsn.database,
    )


def build_large_objects(server: LabServer, dsn: Dsn, *, objects: int, each_bytes: int) -> None:
    """Make large objects of equal size and different content, a thousand to a transaction."""
    size = max(1, each_bytes // 32)
    server.sql(
        f"SELECT format('SELECT count(lo_from_bytea(0, decode(repeat(md5(n::text), {size}),"
        " ''hex''))) FROM generate_series(%s, %s) n', first, first + 999)"
        f" FROM generate_series(1, {objects}, 1000) first \\gexec",
        database=dsn.database,
    )
