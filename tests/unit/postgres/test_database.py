"""What a broken connection is told as."""

from __future__ import annotations

import asyncpg  # noqa: TID251 - what it raises is what is translated
import pytest

from backup.errors import PostgresError
from backup.postgres.database import _translated


@pytest.mark.parametrize("kind", [asyncpg.InterfaceError, asyncpg.InternalClientError])
def test_a_connection_that_broke_is_a_failure_of_the_server(kind: type[Exception]) -> None:
    """Also where the server ends a session between two messages of one query."""
    with (
        pytest.raises(PostgresError, match="could not talk to db1: cannot switch to state 12"),
        _translated("db1", None),
    ):
        raise kind("cannot switch to state 12; another operation (2) is in progress")
