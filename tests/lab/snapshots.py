"""Transactions held open by a psql of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from backup.postgres.dsn import Dsn
from backup.postgres.process import Command, reading
from backup.postgres.tools import Tools


@contextlib.contextmanager
def exported_snapshot(tools: Tools, dsn: Dsn) -> Iterator[str]:
    """Yield the identifier of a snapshot that other sessions can take until the block is left."""
    with open_transaction(tools, dsn, "SELECT pg_export_snapshot()") as line:
        yield line


@contextlib.contextmanager
def open_transaction(tools: Tools, dsn: Dsn, *statements: str) -> Iterator[str]:
    """Yield the first line that the statements print; their transaction stays open in the block."""
    script = ("BEGIN ISOLATION LEVEL REPEATABLE READ", *statements, "SELECT pg_sleep(600)")
    command = Command(
        label="psql that holds a transaction",
        argv=(
            tools.program("psql"),
            *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only"),
            *(f"--command={statement}" for statement in script),
            f"--dbname={dsn.conninfo()}",
        ),
        passfile=dsn.passfile_text,
    )

    class Done(Exception):  # noqa: N818  (it is no error: the transaction is no longer wanted)
        pass

    with contextlib.suppress(Done), reading(command, stall=timedelta(minutes=10)) as reader:
        line = bytearray()
        buffer = memoryview(bytearray(1024))
        while not line.endswith(b"\n"):
            line += buffer[: reader.readinto(buffer)]
        yield line.decode().strip()
        raise Done
