"""Lines of `pg_restore --list`: which stand alone, which are restored together; a few tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from backup.postgres.commands import TableName
from backup.postgres.database import Session, quote_identifier
from backup.repository.catalog import Sequence

# Entries of `pg_restore --list` that need no rows of other tables: "2606 16390 CONSTRAINT …".
_STANDS_ALONE: Final = re.compile(
    rb"\d+; \d+ \d+ (?:ACL|CHECK CONSTRAINT|COMMENT|CONSTRAINT|DEFAULT ACL|INDEX|INDEX ATTACH|"
    rb"POLICY|ROW SECURITY|RULE|SECURITY LABEL|STATISTICS|TRIGGER) "
)

# What comments and labels are on is in the same line; with it they are left out.
_NOT_STANDING_ALONE: Final = re.compile(
    rb"\d+; \d+ \d+ (?:COMMENT|SECURITY LABEL) .*"
    rb"(?: CONSTRAINT | EVENT TRIGGER | PUBLICATION | SUBSCRIPTION )"
)

# What takes longest, and locks the table that it is about and no other of the same tree.
_LOCKS_ONE_TABLE: Final = re.compile(
    rb"\d+; \d+ \d+ (?:CONSTRAINT|INDEX(?! ATTACH )|MATERIALIZED VIEW DATA) "
)
# What locks, or may lock, what is above or below its table in a tree of partitions.
_LOCKS_A_TREE: Final = re.compile(
    rb"\d+; \d+ \d+ (?:FK CONSTRAINT|INDEX ATTACH|POLICY|ROW SECURITY|RULE|TRIGGER) "
)

_LEAVES: Final = """
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class t JOIN pg_namespace s ON s.oid = t.relnamespace,
     pg_partition_tree(t.oid) p JOIN pg_class c ON c.oid = p.relid
     JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE s.nspname = $1 AND t.relname = $2 AND p.isleaf ORDER BY 1, 2
"""

_OWNED_SEQUENCES: Final = """
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class t JOIN pg_namespace s ON s.oid = t.relnamespace
     JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
       AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
     JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
     JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE s.nspname = $1 AND t.relname = $2 ORDER BY 1, 2
"""


def standing_alone(listing: bytes) -> bytes:
    """Return the lines of `pg_restore --list` that hold while other tables are empty.

    Left out: foreign keys, refreshes of materialised views, event triggers, publications and
    subscriptions; and the comments on constraints, of which only some are foreign keys.
    """
    return b"".join(
        line
        for line in listing.splitlines(keepends=True)
        if _STANDS_ALONE.match(line) and not _NOT_STANDING_ALONE.match(line)
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """Lines of `pg_restore --list` that are restored when those of the stages before are there."""

    listing: bytes
    is_parallel: bool


def stages(listing: bytes) -> Iterator[Stage]:
    """Yield the lines in their order, cut where several sessions may begin or have to end.

    For a database with partitioned tables: sessions of one `pg_restore --jobs` that each lock
    several tables of a tree wait for each other now and then, which the server ends as a deadlock.
    No line of a list stands before what it needs.
    """
    lines: list[bytes] = []
    is_parallel = True
    for line in listing.splitlines(keepends=True):
        changes = _LOCKS_A_TREE if is_parallel else _LOCKS_ONE_TABLE
        if changes.match(line):
            if lines:
                yield Stage(b"".join(lines), is_parallel)
            lines, is_parallel = [], not is_parallel
        lines.append(line)
    yield Stage(b"".join(lines), is_parallel)


async def leaves(session: Session, table: TableName) -> tuple[TableName, ...]:
    """Return the tables that hold the rows of a partitioned one; itself if it has no partitions."""
    rows = await session.fetch(_LEAVES, table.schema, table.name)
    found = tuple(TableName(schema=row["schema"], name=row["name"]) for row in rows)
    return found or (table,)


async def owned_sequences(session: Session, table: TableName) -> tuple[TableName, ...]:
    """Return the sequences that feed a table's columns."""
    rows = await session.fetch(_OWNED_SEQUENCES, table.schema, table.name)
    return tuple(TableName(schema=row["schema"], name=row["name"]) for row in rows)


async def set_sequence(session: Session, state: Sequence) -> None:
    """Give a sequence the state that it had in the backup."""
    name = f"{quote_identifier(state.schema)}.{quote_identifier(state.name)}"
    await session.fetch_value(
        "SELECT setval($1::text::regclass, $2, $3)", name, state.last_value, state.is_called
    )
