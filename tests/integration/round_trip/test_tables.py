"""`--table`: the rows of a few tables, with all definitions around them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from backup.errors import NotFoundError
from backup.postgres import parts
from backup.postgres.compare import Contents, content_digests
from backup.postgres.dsn import Dsn
from tests.integration.round_trip.conftest import Hard
from tests.lab.likeness import NAME
from tests.lab.repositories import LabRepository
from tests.lab.servers import LabServer
from tests.lab.torture import forget_subscriptions

ODD_SCHEMA = "Schéma \"q\" 'a' \\ %s $1 . 😀"
ODD_PARENT = f"{ODD_SCHEMA}.ta.ble \"q\" 'a' \\ %s $1 😀"


@pytest.fixture
def target(server: LabServer) -> Iterator[Dsn]:
    """A name for a database that does not exist yet, dropped afterwards."""
    dsn = server.dsn.with_database("some_tables")
    yield dsn
    if server.sql("SELECT 1 FROM pg_database WHERE datname = 'some_tables'"):
        forget_subscriptions(server, dsn)
        server.sql("DROP DATABASE some_tables")


def contents(dsn: Dsn) -> Contents:
    return asyncio.run(content_digests(dsn, application_name=NAME))


def filled(found: Contents) -> set[tuple[str, str]]:
    return {(table.schema, table.name) for table in found.tables if table.rows}


@pytest.mark.parametrize(
    ("tables", "holding"),
    [
        (("torture.texts",), {("torture", "texts")}),
        (("torture.filled", "odd schema.Same"), {("torture", "filled"), ("odd schema", "Same")}),
        (("public.odd schema.same",), {("public", "odd schema.same")}),
        (("odd schema.ta*ble?[x]",), {("odd schema", "ta*ble?[x]")}),
        (("public.-t",), {("public", "-t")}),
        (("torture.hen", "torture.guarded"), {("torture", "hen"), ("torture", "guarded")}),
        (
            (ODD_PARENT,),
            {
                ("new\nline\ttab", "part\n1\tof.2"),
                ("63_bytes_" + "a" * 50 + "😀", "t_63_bytes_" + "a" * 48 + "😀"),
            },
        ),
        (
            ("torture.by_list",),
            {
                ("torture", name)
                for name in (
                    *("by_list_a_old", "by_list_a_new_0", "by_list_a_new_1", "by_list_a_new_2"),
                    "by_list_rest",
                )
            },
        ),
        (("torture.by_enum_hash",), {("torture", "by_enum_hash")}),
        (("torture.parent",), {("torture", "parent")}),
    ],
)
def test_only_these_have_their_rows(
    hard: Hard, target: Dsn, tables: tuple[str, ...], holding: set[tuple[str, str]]
) -> None:
    """The same rows as in the source; every other table is there and empty."""
    done = hard.repository.restore(hard.made, target, tables=tables)
    found = contents(target)
    assert filled(found) == holding
    expected = {table for table in hard.likeness.contents.tables if filled_one(table, holding)}
    assert expected <= set(found.tables)
    assert {(one.schema, one.name) for one in found.tables} == {
        (one.schema, one.name) for one in hard.likeness.contents.tables
    }
    assert (done.tables, done.rows) == (len(holding), sum(table.rows for table in expected))
    assert any("tables that were not named are empty" in note for note in done.notes)


def filled_one(table: object, holding: set[tuple[str, str]]) -> bool:
    return (getattr(table, "schema", ""), getattr(table, "name", "")) in holding


def test_sequences_of_the_table_go_on_where_they_were(hard: Hard, target: Dsn) -> None:
    """Identity and serial columns of the chosen table; others begin anew."""
    hard.repository.restore(hard.made, target, tables=("torture.filled",))
    found = {(one.schema, one.name): one for one in contents(target).sequences}
    expected = {(one.schema, one.name): one for one in hard.likeness.contents.sequences}
    for name in ("filled_id_seq", "filled_other_seq", "filled_ser_seq"):
        assert found["torture", name] == expected["torture", name]
    assert found["torture", "audit_at_seq"].is_called is False


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torture.no_such_table", "no table torture.no_such_table"),
        ("texts", "no table texts"),
        ("torture.sums", "no rows of it"),
        ("torture.far_away", "no rows of it"),
    ],
)
def test_what_is_no_table_is_refused(hard: Hard, target: Dsn, name: str, words: str) -> None:
    """Before anything is made."""
    with pytest.raises(NotFoundError, match=words):
        hard.repository.restore(hard.made, target, tables=(name,))
    assert hard.server.sql("SELECT 1 FROM pg_database WHERE datname = 'some_tables'") == ""


def test_a_table_with_a_part_of_its_own(
    server: LabServer, repository: LabRepository, target: Dsn
) -> None:
    """Only its part and the definitions are read, not the rest."""
    rows = 2 * parts.THRESHOLD_BYTES // 8192
    with server.fresh_database() as dsn:
        server.sql(
            "CREATE TABLE big (id bigserial PRIMARY KEY, v text);"
            "ALTER TABLE big ALTER v SET STORAGE PLAIN;"
            "INSERT INTO big (v) SELECT repeat(md5(n::text), 200)"
            f" FROM generate_series(1, {rows}) n;"
            "CREATE TABLE little AS SELECT 1 AS one",
            dsn.database,
        )
        made = repository.back_up(dsn)
        expected = contents(dsn)
        whole = repository.restore(made, target)
        assert contents(target) == expected
        server.sql("DROP DATABASE some_tables")
        one = repository.restore(made, target, tables=("public.big",))
    assert [part.name for part in made.manifest.parts if part.kind == "table"] == ["table-1"]
    assert (whole.tables, one.tables) == (2, 1)
    found = contents(target)
    assert filled(found) == {("public", "big")}
    assert [one for one in found.tables if one.name == "big"] == [
        one for one in expected.tables if one.name == "big"
    ]
    assert found.sequences == expected.sequences
