"""A restore's database is new and like the one that was backed up; only our own is ever dropped."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from backup.errors import PostgresError, SettingsError
from backup.postgres.dsn import Dsn
from backup.postgres.snapshot import hold_snapshot
from backup.postgres.target import complete_database, create_database, drop_created
from backup.repository.catalog import DatabaseProperties, DatabaseSetting, Grant
from tests.lab.servers import LabServer
from tests.lab.torture import torture_database

NAME = "strongroom test"
ODD = 'Zi"el \\ %s\t😀'
PLAIN = DatabaseProperties(
    name="x",
    owner="postgres",
    encoding="UTF8",
    collate="C",
    ctype="C",
    locale_provider="c",
    locale=None,
    icu_rules=None,
    collation_version=None,
    connection_limit=-1,
    tablespace="pg_default",
    comment=None,
    grants=None,
    settings=(),
)


async def properties_of(dsn: Dsn) -> DatabaseProperties:
    async with hold_snapshot(dsn, application_name=NAME) as snapshot:
        return (await snapshot.catalog(jobs=1)).database


def make(dsn: Dsn, properties: DatabaseProperties) -> tuple[str, ...]:
    """Create and complete, read back, drop; return the notes."""

    async def scene() -> tuple[str, ...]:
        created = await create_database(dsn, properties, application_name=NAME)
        try:
            notes = await complete_database(dsn, properties, application_name=NAME)
            found = await properties_of(dsn)
            if not created.notes + notes:
                assert replace(found, name=properties.name) == properties
        finally:
            await drop_created(dsn, created, application_name=NAME)
        return created.notes + notes

    return asyncio.run(scene())


def test_the_hard_database_gets_all_its_properties_again(server: LabServer) -> None:
    """Owner, grants, settings of roles and lists, comment and limit are as they were."""
    with torture_database(server) as dsn:
        properties = asyncio.run(properties_of(dsn))
    assert len(properties.settings) == 4
    assert len(properties.grants or ()) == 6
    assert make(server.dsn.with_database(ODD), properties) == ()
    assert server.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'Zi%'") == "0"


@pytest.mark.parametrize(
    "properties",
    [
        PLAIN,
        replace(PLAIN, encoding="LATIN1"),
        replace(PLAIN, encoding="SQL_ASCII"),
        replace(PLAIN, collate="C.UTF-8", ctype="C.UTF-8", grants=()),
        replace(PLAIN, grants=(Grant(grantee=None, privilege="CONNECT", is_grantable=False),)),
    ],
)
def test_encodings_locales_and_grants_are_read_back(
    server: LabServer, properties: DatabaseProperties
) -> None:
    """No privilege at all is something else than the default privileges."""
    properties = replace(properties, owner=server.dsn.user)
    assert make(server.dsn.with_database(ODD), properties) == ()


def test_the_builtin_locale_needs_17(server: LabServer) -> None:
    """An older server is told before anything is made."""
    properties = replace(PLAIN, owner=server.dsn.user, locale_provider="b", locale="C.UTF-8")
    if server.major >= 17:
        properties = replace(properties, collation_version="1")
        assert make(server.dsn.with_database(ODD), properties) == ()
    else:
        with pytest.raises(SettingsError, match="PostgreSQL 17"):
            make(server.dsn.with_database(ODD), properties)


def test_an_icu_locale_comes_back(server: LabServer) -> None:
    """The provider, the locale and, from 16 on, the rules."""
    target = server.dsn.with_database(ODD)
    properties = replace(
        PLAIN,
        owner=server.dsn.user,
        locale_provider="i",
        locale="de-u-co-phonebk",
        icu_rules="&a < g" if server.major >= 16 else None,
    )

    async def version() -> str | None:
        created = await create_database(target, properties, application_name=NAME)
        await drop_created(target, created, application_name=NAME)
        return created.collation_version

    if server.has_icu:
        found = asyncio.run(version())
        assert make(target, replace(properties, collation_version=found)) == ()
    else:
        with pytest.raises(PostgresError, match="not supported in this build"):
            asyncio.run(version())


def test_what_the_cluster_lacks_is_told(any_server: LabServer) -> None:
    """Roles, tablespaces, settings and collation versions that are not there are each noted."""
    properties = replace(
        PLAIN,
        owner="nobody here",
        tablespace="fast disk",
        collation_version="0.1",
        grants=(Grant(grantee="no role", privilege="CONNECT", is_grantable=False),),
        settings=(
            DatabaseSetting(role=None, name="no_such_setting", value="1"),
            DatabaseSetting(role="no role", name="work_mem", value="1MB"),
        ),
    )
    notes = make(any_server.dsn.with_database(ODD), properties)
    for words in (
        "the owner nobody here",
        "the tablespace fast disk",
        "version was 0.1",
        "grant of CONNECT to no role",
        "no_such_setting",
        "setting work_mem of no role",
    ):
        assert sum(words in note for note in notes) == 1, words


def test_a_database_that_exists_is_refused(any_server: LabServer, any_database: Dsn) -> None:
    """A restore never goes into what somebody may use."""
    with pytest.raises(SettingsError, match="exists"):
        make(any_database, PLAIN)
    assert any_server.sql("SELECT 1", any_database.database) == "1"


def test_only_the_database_of_this_run_is_dropped(any_server: LabServer) -> None:
    """One of the same name that somebody else made meanwhile stays."""
    target = any_server.dsn.with_database("made_twice")

    async def scene() -> None:
        created = await create_database(target, PLAIN, application_name=NAME)
        any_server.sql("DROP DATABASE made_twice")
        await drop_created(target, created, application_name=NAME)
        any_server.sql("CREATE DATABASE made_twice")
        with pytest.raises(PostgresError, match="kept"):
            await drop_created(target, created, application_name=NAME)
        any_server.sql("DROP DATABASE made_twice")

    asyncio.run(scene())


def test_a_half_restored_database_with_subscriptions_goes(any_server: LabServer) -> None:
    """The server refuses to drop a database with subscriptions: they are cut loose before."""
    target = any_server.dsn.with_database("subscribed")

    async def scene() -> None:
        created = await create_database(target, PLAIN, application_name=NAME)
        any_server.sql(
            "SET client_min_messages = error; CREATE SUBSCRIPTION \"s;\" CONNECTION 'host=x'"
            " PUBLICATION p WITH (connect = false)",
            "subscribed",
        )
        await drop_created(target, created, application_name=NAME)

    asyncio.run(scene())
    assert any_server.sql("SELECT count(*) FROM pg_database WHERE datname = 'subscribed'") == "0"


def test_a_locale_that_is_not_installed_is_named(any_server: LabServer) -> None:
    """The hint says what the server has to have."""
    properties = replace(PLAIN, collate="xx_XX.UTF-8", ctype="xx_XX.UTF-8")
    with pytest.raises(PostgresError) as caught:
        make(any_server.dsn.with_database(ODD), properties)
    assert "xx_XX.UTF-8" in (caught.value.hint or "")
