"""Everything by which two databases are compared: definitions, rights, content, roles."""

from __future__ import annotations

import asyncio
import difflib
import re
from dataclasses import dataclass, replace
from datetime import timedelta

from backup.postgres.command import Command
from backup.postgres.commands import pg_dumpall_globals
from backup.postgres.compare import Contents, content_digests, differences
from backup.postgres.dsn import Dsn
from backup.postgres.globals import parse
from backup.postgres.process import run
from backup.postgres.snapshot import hold_snapshot
from backup.postgres.tools import Tools
from backup.repository.catalog import DatabaseProperties

NAME = "strongroom test"
_LIMIT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """A database as it can be seen from outside; equal databases have equal ones but for `name`.

    `schema` is `pg_dump --schema-only` with owners and grants.
    """

    schema: str
    contents: Contents
    properties: DatabaseProperties
    globals: tuple[str, ...]


def likeness(tools: Tools, dsn: Dsn) -> Likeness:
    """Look at a database."""
    return Likeness(
        schema=schema_of(tools, dsn),
        contents=asyncio.run(content_digests(dsn, application_name=NAME)),
        properties=asyncio.run(_properties(dsn)),
        globals=globals_of(tools, dsn),
    )


def assert_alike(expected: Likeness, found: Likeness, *, same_globals: bool = True) -> None:
    """Compare the short things first, so that a failure can be read."""
    content = differences(expected.contents, found.contents)
    assert content == (), "\n".join(map(str, content))
    one, other = (replace(alike.properties, name="") for alike in (expected, found))
    assert one == other, f"{one}\n{other}"
    different = list(
        difflib.unified_diff(expected.schema.splitlines(), found.schema.splitlines(), lineterm="")
    )
    assert different == [], "\n".join(different)
    if same_globals:
        different = list(difflib.unified_diff(expected.globals, found.globals, lineterm=""))
        assert different == [], "\n".join(different)


def schema_of(tools: Tools, dsn: Dsn) -> str:
    """Return definitions, owners and grants as SQL, without what differs from run to run."""
    argv = (tools.program("pg_dump"), "--schema-only", f"--dbname={dsn.conninfo()}")
    text = run(Command(label="pg_dump", argv=argv), timeout=_LIMIT).stdout.decode()
    text = re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)
    # pg_dump names a policy's roles in the order in which pg_authid happens to hold them.
    return re.sub(
        r"^(CREATE POLICY .* TO )(\w+(?:, \w+)+)",
        lambda found: found[1] + ", ".join(sorted(found[2].split(", "))),
        text,
        flags=re.MULTILINE,
    )


def globals_of(tools: Tools, dsn: Dsn) -> tuple[str, ...]:
    """Return roles with their passwords, memberships and settings, a statement each."""
    command = pg_dumpall_globals(tools, dsn.with_database("postgres"))
    return tuple(one.text for one in parse(run(command, timeout=_LIMIT).stdout.decode()))


async def _properties(dsn: Dsn) -> DatabaseProperties:
    async with hold_snapshot(dsn, application_name=NAME) as snapshot:
        return (await snapshot.catalog(jobs=1)).database
