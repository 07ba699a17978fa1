"""Content digests are equal after a dump and restore, and differ for the smallest change."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from backup.postgres.compare import Contents, content_digests, differences
from backup.postgres.dsn import Dsn
from backup.postgres.process import Command, run
from backup.postgres.snapshot import hold_snapshot
from tests.lab.servers import LabServer
from tests.lab.torture import forget_subscriptions, torture_database

NAME = "strongroom test"
LIMIT = timedelta(minutes=2)


def contents_of(dsn: Dsn, salt: bytes = b"salt") -> Contents:
    return asyncio.run(content_digests(dsn, application_name=NAME, salt=salt))


def copy_database(server: LabServer, source: Dsn, target: Dsn) -> None:
    """Dump and restore with the stock tools, stopping at the first error."""
    dump = run(
        Command(
            label="pg_dump",
            argv=(server.tools.program("pg_dump"), "-Fc", "-Z0", f"--dbname={source.conninfo()}"),
        ),
        timeout=LIMIT,
    )
    run(
        Command(
            label="pg_restore",
            argv=(
                server.tools.program("pg_restore"),
                "--exit-on-error",
                f"--dbname={target.conninfo()}",
            ),
        ),
        stdin=dump.stdout,
        timeout=LIMIT,
    )


def test_the_hard_database_is_equal_after_dump_and_restore(
    server: LabServer, database: Dsn
) -> None:
    """Every type, table without columns or key, tree and large object has the same digest."""
    with torture_database(server) as source:
        copy_database(server, source, database)
        expected, observed = contents_of(source), contents_of(database)
        forget_subscriptions(server, database)
    assert differences(expected, observed) == ()
    assert len(expected.tables) > 50
    assert len(expected.large_objects) == 6
    assert expected.unpopulated_matviews == ("torture.unpopulated",)


CHANGES = {
    "UPDATE keyed SET v = 'c' WHERE id = 2": "table public.keyed",
    "DELETE FROM keyed WHERE id = 1": "table public.keyed",
    "ALTER TABLE keyed ALTER n TYPE numeric(11, 2)": "table public.keyed",
    "ALTER TABLE keyed RENAME v TO w": "table public.keyed",
    "UPDATE keyed SET v = NULL WHERE v = ''": "table public.keyed",
    "INSERT INTO bag VALUES (1, 'a')": "table public.bag",
    "UPDATE bag SET a = 2 WHERE ctid = '(0,1)'": "table public.bag",
    "DROP TABLE bag": "table public.bag",
    "INSERT INTO bare DEFAULT VALUES": "table public.bare",
    "SELECT setval('counter', 5, false)": "sequence public.counter",
    "SELECT lo_put(77, 2000000, '\\x02')": "large object 77",
    "SELECT lo_unlink(78)": "large object 78",
    "REFRESH MATERIALIZED VIEW view WITH NO DATA": "materialised view public.view",
}
CONTENT = """
CREATE TABLE keyed (id int PRIMARY KEY, v text, n numeric(10, 2));
INSERT INTO keyed VALUES (1, 'a', 1.1), (2, 'b', 2.2), (3, '', NULL);
CREATE TABLE bag (a int, b text); INSERT INTO bag VALUES (1, 'a'), (1, 'a'), (NULL, NULL);
CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES;
CREATE SEQUENCE counter; SELECT setval('counter', 5);
SELECT lo_create(77), lo_put(77, 2000000, '\\x01'), lo_from_bytea(78, 'x');
CREATE MATERIALIZED VIEW view AS SELECT 1 AS a;
"""


@pytest.fixture(scope="module")
def content(any_server: LabServer) -> Contents:
    with any_server.fresh_database() as dsn:
        any_server.sql(CONTENT, dsn.database)
        return contents_of(dsn)


@pytest.mark.parametrize("change", CHANGES)
def test_the_smallest_change_is_found_and_named(
    any_server: LabServer, any_database: Dsn, content: Contents, change: str
) -> None:
    """One difference for one change, told by the name of what is not the same."""
    any_server.sql(CONTENT, any_database.database)
    assert differences(content, contents_of(any_database)) == ()
    any_server.sql(change, any_database.database)
    assert [one.what for one in differences(content, contents_of(any_database))] == [
        CHANGES[change]
    ]


def test_the_order_on_disk_and_of_columns_does_not_matter(
    any_server: LabServer, any_database: Dsn, content: Contents
) -> None:
    """A restore may write rows in another order, and columns where tables inherit."""
    any_server.sql(
        CONTENT + "CREATE TABLE other (b text, a int); DROP TABLE bag;"
        " INSERT INTO other VALUES (NULL, NULL), ('a', 1), ('a', 1);"
        " ALTER TABLE other RENAME TO bag; UPDATE keyed SET v = v WHERE id = 1",
        any_database.database,
    )
    assert differences(content, contents_of(any_database)) == ()


def test_digests_are_of_the_given_snapshot(any_server: LabServer, any_database: Dsn) -> None:
    """What others write meanwhile is not in them."""
    any_server.sql(CONTENT, any_database.database)

    async def scene() -> Contents:
        async with hold_snapshot(any_database, application_name=NAME) as snapshot:
            any_server.sql("DELETE FROM keyed; DELETE FROM bag", any_database.database)
            return await content_digests(
                any_database, application_name=NAME, salt=b"salt", snapshot=snapshot
            )

    assert {(one.name, one.rows) for one in asyncio.run(scene()).tables} == {
        ("keyed", 3),
        ("bag", 3),
        ("bare", 1),
    }


def test_another_salt_gives_other_digests(
    any_server: LabServer, any_database: Dsn, content: Contents
) -> None:
    """Nobody can look up the digest of a small table without the salt."""
    any_server.sql(CONTENT, any_database.database)
    other = contents_of(any_database, salt=b"other")
    assert {one.sha256 for one in other.tables}.isdisjoint({one.sha256 for one in content.tables})
