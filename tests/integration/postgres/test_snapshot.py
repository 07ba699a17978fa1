"""A snapshot holds one moment of a database still, and counts in it are exact."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from backup.errors import PostgresError
from backup.postgres.database import LockTimeoutError, connect
from backup.postgres.dsn import Dsn
from backup.postgres.snapshot import hold_snapshot
from backup.repository.catalog import Catalog
from tests.lab.servers import LabServer
from tests.lab.torture import build_many_tables, torture_database

NAME = "strongroom test"
SOON = timedelta(milliseconds=300)


async def catalog_of(dsn: Dsn, jobs: int = 2) -> Catalog:
    async with hold_snapshot(dsn, application_name=NAME) as snapshot:
        return await snapshot.catalog(jobs=jobs)


def rows_of(catalog: Catalog) -> dict[tuple[str, str], int | None]:
    return {(one.schema, one.name): one.rows for one in catalog.relations}


def test_the_catalogue_of_the_hard_database_is_exact(server: LabServer) -> None:
    """Counts are of each table alone; what comes back elsewhere or not at all is not counted."""
    with torture_database(server) as dsn:
        catalog = asyncio.run(catalog_of(dsn))
    rows = rows_of(catalog)
    assert rows["torture", "parent"] == 1
    assert rows["torture", "no_columns"] == 5
    assert rows["torture", "no_rows"] == 0
    assert rows["torture", "guarded"] == 40
    assert rows["torture", "by_list"] is None
    assert rows["torture", "by_list_rest"] == 800
    assert rows["torture", "far_away"] is None
    assert rows["torture", "unpopulated"] is None
    assert rows["torture", "sums"] == 5
    assert rows["odd schema", "Same"] == 1
    assert rows["odd schema", "same"] == 2
    assert rows["public", "odd schema.same"] == 3
    assert {relation.name for relation in catalog.relations if not relation.is_populated} == {
        "unpopulated"
    }
    sequences = {one.name: (one.last_value, one.is_called) for one in catalog.sequences}
    assert sequences["never_called"] == (1, False)
    assert sequences["filled_other_seq"] == (5000, False)
    assert sequences['se.q "q" 😀\nx'] == (-23, True)
    assert catalog.large_objects == 6
    assert catalog.subscriptions == ("sub; odd",)
    assert catalog.bootstrap_superuser == server.dsn.user
    assert catalog.database.owner == "torture_owner"
    assert catalog.database.comment == "hard; 'case'\n😀"
    roles = {role.name: role for role in catalog.roles}
    assert roles["torture_reader"].member_of == ("pg_read_all_data", "torture_group")
    assert roles["torture new\nline"].can_login is False
    assert "plpgsql" in {extension.name for extension in catalog.extensions}
    assert ("server_encoding", "UTF8") in catalog.server_settings


def test_a_tree_hashed_by_an_enum_is_counted_at_its_root(server: LabServer) -> None:
    """Its rows may change partition in a restore, since the hash is of the enum value's oid."""
    with torture_database(server) as dsn:
        rows = rows_of(asyncio.run(catalog_of(dsn)))
    assert rows["torture", "by_enum_hash"] == 7
    assert rows["torture", "by_enum_hash_0"] is None
    assert rows["torture", "by_enum_hash_1"] is None


def test_the_server_says_who_it_is(any_server: LabServer, any_database: Dsn) -> None:
    """Version, identity and place in the log are those of the server that was asked."""

    async def scene() -> None:
        async with hold_snapshot(any_database, application_name=NAME) as snapshot:
            assert snapshot.server.major == any_server.major
            assert snapshot.server.system_identifier == any_server.sql(
                "SELECT system_identifier FROM pg_control_system()"
            )
            assert snapshot.database == any_database.database
            assert not snapshot.server.is_standby
            assert snapshot.started_at.utcoffset() == timedelta(0)
            found = any_server.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'strongroom test'"
                f" AND datname = '{any_database.database}'"
            )
            assert found == "1"

    asyncio.run(scene())


def test_counts_are_of_the_snapshot_and_not_of_later(
    any_server: LabServer, any_database: Dsn
) -> None:
    """Rows written, and tables made or dropped, after the snapshot do not show."""
    name = any_database.database
    any_server.sql("CREATE TABLE t AS SELECT generate_series(1, 10)", name)

    async def scene() -> Catalog:
        async with hold_snapshot(any_database, application_name=NAME) as snapshot:
            any_server.sql("INSERT INTO t VALUES (11); CREATE TABLE later (a int)", name)
            return await snapshot.catalog(jobs=2)

    assert rows_of(asyncio.run(scene())) == {("public", "t"): 10}


@pytest.mark.parametrize(
    "sql",
    [
        "TRUNCATE public.t",
        "DROP TABLE public.t",
        "ALTER TABLE public.t ALTER a TYPE text",
    ],
)
def test_nobody_empties_or_rewrites_a_table_meanwhile(
    any_server: LabServer, any_database: Dsn, sql: str
) -> None:
    """These do not honour a snapshot, so they have to wait for its end."""
    any_server.sql("CREATE TABLE t AS SELECT 1 AS a", any_database.database)

    async def scene() -> None:
        async with (
            hold_snapshot(any_database, application_name=NAME),
            connect(any_database, application_name=NAME, lock_timeout=SOON) as other,
        ):
            with pytest.raises(LockTimeoutError):
                await other.execute(sql)

    asyncio.run(scene())


def test_a_table_is_whole_however_often_others_remake_it(
    any_server: LabServer, any_database: Dsn
) -> None:
    """Tables emptied and filled, dropped and made, renamed and rewritten have 100 rows always."""
    any_server.sql(
        "CREATE TABLE emptied AS SELECT generate_series(1, 100) AS a;"
        "CREATE TABLE remade AS SELECT generate_series(1, 100) AS a;"
        "CREATE TABLE rewritten AS SELECT generate_series(1, 100) AS a",
        any_database.database,
    )
    disturbances = (
        "TRUNCATE public.emptied; INSERT INTO public.emptied SELECT generate_series(1, 100)",
        "DROP TABLE public.remade; CREATE TABLE public.remade AS SELECT generate_series(1, 100)",
        "ALTER TABLE public.rewritten ALTER a TYPE int8 USING a + 1;"
        " ALTER TABLE public.rewritten RENAME TO other;"
        " ALTER TABLE public.other RENAME TO rewritten",
    )

    async def disturb(sql: str) -> None:
        async with connect(any_database, application_name="other", lock_timeout=SOON) as session:
            while True:
                try:
                    await session.execute(f"BEGIN; {sql}; COMMIT")
                except LockTimeoutError:
                    await session.execute("ROLLBACK")

    async def scene() -> None:
        others = [asyncio.create_task(disturb(sql)) for sql in disturbances]
        for _ in range(12):
            rows = rows_of(await catalog_of(any_database))
            assert rows == {("public", name): 100 for name in ("emptied", "remade", "rewritten")}
        for other in others:
            assert not other.done()
            other.cancel()
            with suppress(asyncio.CancelledError):
                await other

    asyncio.run(scene())


def test_counting_passes_by_those_who_queue_for_a_lock(
    any_server: LabServer, any_database: Dsn
) -> None:
    """A waiting ALTER stops every new reader, but not the session that holds the snapshot."""
    any_server.sql("CREATE TABLE t AS SELECT generate_series(1, 7)", any_database.database)

    async def scene() -> Catalog:
        async with (
            hold_snapshot(any_database, application_name=NAME, lock_timeout=SOON) as snapshot,
            connect(any_database, application_name="other") as other,
            connect(any_database, application_name=NAME) as observer,
        ):
            waiting = asyncio.create_task(other.execute("ALTER TABLE public.t ADD b int"))
            while not await observer.fetch_value(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND application_name = 'other')"
            ):
                assert not waiting.done()
            try:
                return await snapshot.catalog(jobs=2)
            finally:
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    await waiting

    assert rows_of(asyncio.run(scene())) == {("public", "t"): 7}


def test_a_lock_that_is_not_given_ends_the_attempt(
    any_server: LabServer, any_database: Dsn
) -> None:
    """The wait is bounded, and the error says what to look for."""
    any_server.sql("CREATE TABLE t (a int)", any_database.database)

    async def scene() -> None:
        async with connect(any_database, application_name="other") as other:
            await other.execute("BEGIN; LOCK TABLE public.t")
            async with hold_snapshot(any_database, application_name=NAME, lock_timeout=SOON):
                pytest.fail("the lock was not to be had")

    with pytest.raises(LockTimeoutError) as caught:
        asyncio.run(scene())
    assert "pg_stat_activity" in (caught.value.hint or "")


def test_a_lost_snapshot_is_an_error_even_when_all_work_was_done(
    any_server: LabServer, any_database: Dsn
) -> None:
    """A dump that joined before the loss may have locked its tables after it."""

    async def scene() -> None:
        async with hold_snapshot(any_database, application_name="holder"):
            any_server.sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                f" WHERE datname = '{any_database.database}' AND application_name = 'holder'"
            )

    with pytest.raises(PostgresError):
        asyncio.run(scene())


def _as_role(server: LabServer, dsn: Dsn, attributes: str) -> Dsn:
    name = f"role_of_{dsn.database}"
    server.sql(f"CREATE ROLE {name} LOGIN {attributes} IN ROLE pg_read_all_data")
    return Dsn(host=dsn.host, port=dsn.port, user=name, database=dsn.database)


def _drop_role(server: LabServer, dsn: Dsn) -> None:
    server.sql(f"DROP OWNED BY {dsn.user}; DROP ROLE {dsn.user}", dsn.database)


def test_pg_read_all_data_and_bypassrls_are_enough(server: LabServer) -> None:
    """A backup role needs no superuser: it reads the same catalogue."""
    with torture_database(server) as dsn:
        role = _as_role(server, dsn, "BYPASSRLS")
        try:
            expected, found = asyncio.run(catalog_of(dsn)), asyncio.run(catalog_of(role))
        finally:
            _drop_role(server, role)
    assert found.relations == expected.relations
    assert found.sequences == expected.sequences
    assert found.database == expected.database


def test_hidden_rows_are_an_error_that_names_the_role(
    any_server: LabServer, any_database: Dsn
) -> None:
    """A role subject to row security would count, and dump, too few rows without a word."""
    any_server.sql(
        "CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY", any_database.database
    )
    role = _as_role(any_server, any_database, "")
    try:
        with pytest.raises(PostgresError, match=f"{role.user} .* lacks BYPASSRLS"):
            asyncio.run(catalog_of(role))
    finally:
        _drop_role(any_server, role)


def test_many_tables_need_few_queries(any_server: LabServer, any_database: Dsn) -> None:
    """Small tables are counted two hundred a query, exactly."""
    build_many_tables(any_server, any_database, tables=450)
    catalog = asyncio.run(catalog_of(any_database, jobs=3))
    assert len(catalog.sequences) == 450
    assert {one.name: one.rows for one in catalog.relations} == {
        f"t{number}": number % 7 for number in range(1, 451)
    }


def test_a_server_that_is_not_there_is_told_as_such(any_database: Dsn) -> None:
    """The error says what to check, and never a password."""
    nowhere = Dsn.parse("postgresql://u:canary-5eCr3t@127.0.0.1:1/d")
    missing = any_database.with_database("no such database")
    for dsn, words in ((nowhere, "could not reach"), (missing, "does not exist")):
        with pytest.raises(PostgresError, match=words) as caught:
            asyncio.run(catalog_of(dsn))
        assert caught.value.hint is not None
        assert "canary" not in caught.value.message + caught.value.hint
