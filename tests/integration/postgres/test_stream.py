"""Rows of one statement, a batch at a time."""

from __future__ import annotations

import asyncio

import pytest

from backup.errors import PostgresError
from backup.postgres.database import connect
from tests.lab.servers import LabServer

_OPEN = "SELECT count(*) FROM pg_cursors WHERE name <> ''"  # the one that asks has no name


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 25])
def test_every_row_comes_once_and_nothing_stays_open(any_server: LabServer, rows: int) -> None:
    """Wherever the last batch ends; a snapshot's transaction goes on for hours."""

    async def read() -> None:
        async with connect(any_server.dsn, application_name="test") as session:
            await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            for _ in range(2):
                sql = f"WITH n AS MATERIALIZED (SELECT generate_series(1, {rows}) AS i) TABLE n"
                assert [row["i"] async for row in session.stream(sql, batch=10)] == [
                    *range(1, rows + 1)
                ]
                assert await session.fetch_value(_OPEN) == 0
            await session.execute("COMMIT")

    asyncio.run(read())


def test_what_fails_in_the_middle_is_an_error_of_the_server(any_server: LabServer) -> None:
    """And no end of the rows."""

    async def read() -> int:
        seen = 0
        async with connect(any_server.dsn, application_name="test") as session:
            await session.execute("BEGIN")
            async for row in session.stream(
                "SELECT 1 / (15 - i) AS n FROM generate_series(1, 20) i", batch=10
            ):
                seen += row["n"] is not None
        return seen

    with pytest.raises(PostgresError, match="division by zero"):
        asyncio.run(read())


def test_without_a_transaction_nothing_is_read(any_server: LabServer) -> None:
    """A cursor would end with its statement."""

    async def read() -> None:
        async with connect(any_server.dsn, application_name="test") as session:
            async for _ in session.stream("SELECT 1"):
                pass

    with pytest.raises(PostgresError, match="transaction"):
        asyncio.run(read())
