"""Sessions on a PostgreSQL server: the only home of asyncpg.

Every session is pinned to the same settings, so that what it reads has one textual form on every
server, and so that rows hidden by row security are an error instead of a smaller number. Who hears
nothing for a while asks over another connection whether the server is still at it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

import asyncpg  # noqa: TID251 - this module is asyncpg's home

from backup.errors import PostgresError
from backup.postgres import locktable
from backup.postgres.answers import answered
from backup.postgres.dsn import Dsn

_Result = TypeVar("_Result")

CONNECT_TIMEOUT: Final = timedelta(seconds=30)
LOCK_TIMEOUT: Final = timedelta(seconds=60)
NO_TIMEOUT: Final = timedelta(0)

# NAMEDATALEN - 1: a longer application_name is cut by the server, and an identifier too.
IDENTIFIER_MAX_BYTES: Final = 63

# What pg_dump pins, and what decides the bytes of a COPY (evidence: content digests).
_PINNED: Final[tuple[tuple[str, str], ...]] = (
    ("search_path", ""),
    ("row_security", "off"),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("lc_monetary", "C"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    ("synchronize_seqscans", "off"),
    ("client_min_messages", "warning"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("client_connection_check_interval", "10s"),  # a query must not outlive us for long
    ("tcp_keepalives_idle", "60"),
    ("jit", "off"),
    ("cursor_tuple_fraction", "1"),  # ours are read to their ends
    ("max_parallel_workers_per_gather", "0"),
)


_CURSOR: Final = "strongroom_rows"

# The second is raised where the server's last word came between two messages of one query.
_BROKEN: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError)


class Row(Protocol):
    """One row of a result, read by column name or position."""

    def __getitem__(self, key: str | int, /) -> Any:  # noqa: ANN401 - a column has any type
        """Return the value of one column."""


class LockTimeoutError(PostgresError):
    """A lock was not to be had in time; a session that holds it already could still do the work."""


class StatementTimeoutError(PostgresError):
    """A statement took longer than it was given."""


class MissingDatabaseError(PostgresError):
    """The server has no database of this name."""


class MissingRelationError(PostgresError):
    """A table that was there a moment ago is gone or has another name."""


def quote_identifier(name: str) -> str:
    """Return the name as an SQL identifier, quoted whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return the text as an SQL string constant that no server setting can read otherwise."""
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    return " E" + quoted if "\\" in text else quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One connection with pinned settings. Not for two queries at the same time."""

    user: str
    where: str
    server_version: int
    _dsn: Dsn
    _process: int
    _connection: asyncpg.Connection[asyncpg.Record]

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone: nothing more can be asked."""
        return self._connection.is_closed()

    async def execute(self, sql: str) -> None:
        """Run one or more statements without parameters and drop what they return."""
        with _translated(self.where, self.user):
            await self._answered(self._connection.execute(sql))

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        """Return all rows of one statement."""
        with _translated(self.where, self.user):
            return list(await self._answered(self._connection.fetch(sql, *arguments)))

    async def fetch_row(self, sql: str, *arguments: object) -> Row:
        """Return the only row of a statement that always has one."""
        rows = await self.fetch(sql, *arguments)
        if len(rows) != 1:
            raise PostgresError(f"{self.where} returned {len(rows)} rows where one was due")
        return rows[0]

    async def fetch_value(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401 - a column has any type
        """Return the first column of the first row, or None when there is no row."""
        with _translated(self.where, self.user):
            return await self._answered(self._connection.fetchval(sql, *arguments))

    async def stream(self, sql: str, *, batch: int = 1000) -> AsyncIterator[Row]:
        """Yield the rows of one statement in constant memory, one statement at a time.

        Needs an open transaction; what was not read to its end stays open as long as that.
        """
        await self.execute(f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {sql}")
        while rows := await self.fetch(f"FETCH {batch} FROM {_CURSOR}"):
            for row in rows:
                yield row
        await self.execute(f"CLOSE {_CURSOR}")

    async def copy_out(self, query: str, sink: Callable[[bytes], Coroutine[Any, Any, None]]) -> int:
        """Send the bytes of `COPY (query) TO STDOUT` to the sink; return the number of rows."""
        pieces = 0

        async def take(data: bytes) -> None:
            nonlocal pieces
            pieces += 1
            await sink(data)

        with _translated(self.where, self.user):
            copying = self._connection.copy_from_query(query, output=take)
            status = await self._answered(copying, moved=lambda: pieces)
        return int(status.removeprefix("COPY "))

    async def _answered(
        self, work: Awaitable[_Result], moved: Callable[[], int] = lambda: 0
    ) -> _Result:
        return await answered(work, label=self.where, is_at_work=self._is_at_work, moved=moved)

    async def _is_at_work(self) -> bool:
        return bool(await asked_beside(self._dsn, _ONE_AT_WORK, self._process))


@asynccontextmanager
async def connect(
    dsn: Dsn,
    *,
    application_name: str,
    lock_timeout: timedelta = LOCK_TIMEOUT,
    statement_timeout: timedelta = NO_TIMEOUT,
) -> AsyncIterator[Session]:
    """Open a pinned session; it is closed on every path, by force when it does not answer.

    Zero as a timeout means none. `application_name` is what `pg_stat_activity` shows.
    """
    where = str(dsn)
    with _translated(where, None):
        connection = await _connected(dsn, application_name)
    timeout = _timeout(dsn)
    try:
        version = _version_number(connection.get_server_version())
        with _translated(where, None):
            await connection.execute(
                _pinning(version, lock_timeout, statement_timeout), timeout=timeout
            )
            [about] = await connection.fetch(
                "SELECT current_user::text, pg_backend_pid()", timeout=timeout
            )
        yield Session(
            user=about[0],
            where=where,
            server_version=version,
            _dsn=dsn,
            _process=about[1],  # not the one of the protocol, which may be a pooler's invention
            _connection=connection,
        )
    finally:
        await _close(connection)


async def _connected(dsn: Dsn, application_name: str) -> asyncpg.Connection[asyncpg.Record]:
    arguments = dsn.asyncpg_arguments()
    arguments["timeout"] = _timeout(dsn)
    arguments["server_settings"]["application_name"] = _cut(application_name)
    return await asyncpg.connect(**arguments, statement_cache_size=0)


def _timeout(dsn: Dsn) -> float:
    """Return how many seconds what is over at once may take: to connect, to set a session up."""
    return dsn.asyncpg_arguments().get("timeout", CONNECT_TIMEOUT.total_seconds())


_ASKING: Final = "strongroom asks"
_ONE_AT_WORK: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state NOT LIKE 'idle%'"
)
_DOINGS: Final = (
    "WITH ours AS (SELECT * FROM pg_stat_activity WHERE datname = current_database()"
    " AND usename = current_user AND pid <> pg_backend_pid()"
    " AND application_name = coalesce($1, application_name) AND application_name <> $2)"
    " SELECT (SELECT count(*) FROM ours WHERE state NOT LIKE 'idle%'"
    # In that state nothing gets through to us, or we take nothing.
    " AND wait_event IS DISTINCT FROM 'ClientWrite')::text || ';' ||"
    " coalesce((SELECT string_agg(concat(pid, state_change), ',' ORDER BY pid) FROM ours), '')"
)
_NO_ROOM: Final = "53"


class Doings:
    """What this role's sessions of one name, or of any, do in a database for whom we wait."""

    def __init__(self, dsn: Dsn, application_name: str | None = None) -> None:
        self._dsn = dsn
        self._name = None if application_name is None else _cut(application_name)
        self._seen: object = None

    async def are_going_on(self) -> bool:
        """Whether one is at work, or did something since this was asked last."""
        found = await asked_beside(self._dsn, _DOINGS, self._name, _ASKING)
        if not isinstance(found, str):
            return bool(found)
        before, self._seen = self._seen, found
        return not found.startswith("0;") or before not in {None, found}


async def asked_beside(dsn: Dsn, sql: str, *arguments: object) -> Any:  # noqa: ANN401 - any type
    """Return a value, asked over a connection of its own; None where none was to be had in time.

    A server that has no room for one more session is there: 1.
    """
    timeout = _timeout(dsn)
    try:
        connection = await _connected(dsn, _ASKING)
        try:
            return await connection.fetchval(sql, *arguments, timeout=timeout)
        finally:
            await _close(connection)
    except asyncpg.PostgresError as error:
        return 1 if (error.sqlstate or "").startswith(_NO_ROOM) else None
    except (*_BROKEN, OSError, TimeoutError):
        return None


async def _close(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    try:
        await connection.close(timeout=5)
    except (asyncpg.PostgresError, *_BROKEN, OSError, TimeoutError):
        connection.terminate()


def _version_number(version: asyncpg.ServerVersion) -> int:
    return version.major * 10000 + version.minor


def pinned(
    version: int, lock_timeout: timedelta, statement_timeout: timedelta = NO_TIMEOUT
) -> tuple[tuple[str, str], ...]:
    """Return the settings of every session on a server of this version (`150004`)."""
    settings = (
        *_PINNED,
        ("lock_timeout", str(_milliseconds(lock_timeout))),
        ("statement_timeout", str(_milliseconds(statement_timeout))),
    )
    return (*settings, ("transaction_timeout", "0")) if version >= 170000 else settings


def _pinning(version: int, lock_timeout: timedelta, statement_timeout: timedelta) -> str:
    return ";".join(
        f"SELECT pg_catalog.set_config('{name}', '{value}', false)"
        for name, value in pinned(version, lock_timeout, statement_timeout)
    )


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _cut(name: str) -> str:
    return name.encode()[:IDENTIFIER_MAX_BYTES].decode(errors="ignore")


@contextmanager
def _translated(where: str, user: str | None) -> Iterator[None]:
    """Turn what asyncpg and the operating system raise into PostgresError, once."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _from_server(error, where, user) from error
    except _BROKEN as error:
        raise PostgresError(f"could not talk to {where}: {error}") from error
    except TimeoutError as error:
        raise PostgresError(
            f"{where} did not answer in time", hint="check host, port and firewall"
        ) from error
    except ssl.SSLError as error:
        raise PostgresError(
            f"no TLS connection to {where}: {error.reason or error}",
            hint="check sslmode and sslrootcert of the DSN and the server's certificate",
        ) from error
    except socket.gaierror as error:
        raise PostgresError(
            f"the host of {where} is not known: {error.strerror}", hint="check the host of the DSN"
        ) from error
    except OSError as error:
        raise PostgresError(
            f"could not reach {where}: {error.strerror or error}",
            hint="check that the server runs, and host, port and socket directory of the DSN",
        ) from error


# SQLSTATE -> hint. https://www.postgresql.org/docs/current/errcodes-appendix.html
_HINTS: Final = {
    "28P01": "check user and password of the DSN",
    "28000": "check the server's pg_hba.conf and that the role may log in",
    "3D000": "check the database of the DSN; `psql -l` lists what exists",
    "42501": "grant the role pg_read_all_data, or use the database's owner",
    "53300": "lower --jobs, or raise max_connections on the server",
    "55P03": "find the session that holds the lock in pg_stat_activity, or raise the lock timeout",
    "57P03": "the server is starting or stopping; try again in a moment",
}

_CLASSES: Final[dict[str, type[PostgresError]]] = {
    "3D000": MissingDatabaseError,
    "3F000": MissingRelationError,
    "42P01": MissingRelationError,
    "55P03": LockTimeoutError,
    "57014": StatementTimeoutError,
}


def _from_server(error: asyncpg.PostgresError, where: str, user: str | None) -> PostgresError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    state = error.sqlstate
    # rls.c: the message is translated on some servers, the name of the function never is.
    if state == "42501" and error.server_source_function == "check_enable_rls":
        role = user or "this role"
        return PostgresError(
            f"role {role} may not see every row, it lacks BYPASSRLS: {text}",
            hint=f"run ALTER ROLE {quote_identifier(role)} BYPASSRLS, or back up as a superuser",
        )
    message = f"{where}: {text}"
    hint = _HINTS.get(state or "")
    if state == "53200" and locktable.is_full(error.hint or ""):
        hint = locktable.HINT
    return _CLASSES.get(state or "", PostgresError)(message, hint=hint)
