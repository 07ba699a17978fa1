"""COPY read through psql, in pieces: asyncpg hands over whole rows, however large one is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from backup.errors import PostgresError, StalledError
from backup.postgres.answers import answered
from backup.postgres.command import Command
from backup.postgres.database import (
    LOCK_TIMEOUT,
    Doings,
    LockTimeoutError,
    pinned,
    quote_literal,
)
from backup.postgres.dsn import Dsn
from backup.postgres.process import Reader, reading
from backup.postgres.tools import Tools

_PIECE_BYTES: Final = 1024 * 1024
_PAUSE_SECONDS: Final = 0.1
# A large table may be sorted for hours before the first byte of it comes.
_STALL: Final = timedelta(hours=12)
# Linux takes no longer argument (MAX_ARG_STRLEN is 128 KiB).
QUERY_MAX_BYTES: Final = 120 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """Where rows are copied from: a snapshot of a database on a server of this version."""

    tools: Tools
    dsn: Dsn
    snapshot_id: str
    server_version: int
    application_name: str

    async def copy_out(self, query: str, take: Callable[[memoryview], None]) -> None:
        """Give `take`, in a thread, the bytes of `COPY (query) TO STDOUT`, piece by piece.

        What it was given is overwritten afterwards. Cancelled, it ends psql and waits for it.
        Raises `StalledError` when nothing comes and the server is not at it, and
        `LockTimeoutError` where a session that has the lock already could still read.
        """
        readers: list[Reader] = []
        pieces = 0

        def read() -> None:
            nonlocal pieces
            buffer = memoryview(bytearray(_PIECE_BYTES))
            with reading(self._command(query), stall=_STALL) as reader:
                readers.append(reader)
                while count := reader.readinto(buffer):
                    pieces += 1
                    take(buffer[:count])

        working = asyncio.create_task(asyncio.to_thread(read))
        try:
            await answered(
                asyncio.shield(working),
                label=str(self.dsn),
                is_at_work=Doings(self.dsn, self.application_name).are_going_on,
                moved=lambda: pieces,
            )
        except (asyncio.CancelledError, StalledError):
            while not working.done():
                for reader in readers:
                    reader.end()
                await asyncio.wait([working], timeout=_PAUSE_SECONDS)
            working.exception()
            raise
        except PostgresError as error:
            if "lock timeout" in error.message:
                raise LockTimeoutError(error.message, hint=error.hint) from error
            raise

    def _command(self, query: str) -> Command:
        settings = pinned(self.server_version, LOCK_TIMEOUT)
        statements = (
            ";".join(f"SET {name} = {quote_literal(value)}" for name, value in settings),
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            f"SET TRANSACTION SNAPSHOT {quote_literal(self.snapshot_id)}",
            f"COPY ({query}) TO STDOUT",
        )
        dsn = self.dsn.with_option("application_name", self.application_name)
        return Command(
            label="psql that copies a table",
            argv=(
                self.tools.program("psql"),
                *("--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"),
                *(f"--command={statement}" for statement in statements),
                f"--dbname={dsn.conninfo()}",
            ),
            passfile=dsn.passfile_text,
        )
