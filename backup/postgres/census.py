"""Which relations hold rows, how large they are and how many rows, inside one snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from sys import intern
from typing import TYPE_CHECKING, Final

from backup.postgres.database import (
    LockTimeoutError,
    Row,
    Session,
    connect,
    quote_identifier,
    quote_literal,
)
from backup.repository import catalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backup.postgres.dsn import Dsn

# One query counts tables up to this many bytes together, so that thousands of small tables take
# seconds and a session never locks more than a few hundred relations.
_BATCH_BYTES: Final = 64 * 1024 * 1024
_BATCH_RELATIONS: Final = 200

# What pg_dump leaves out: system schemas, other sessions' temporary tables (in pg_temp_<n>).
IN_USER_SCHEMA: Final = (
    r"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'"
)

_RELATIONS: Final = f"""
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name,
       c.relkind::text AS kind, c.relispopulated AS is_populated,
       c.relpersistence = 'u' AS is_unlogged, c.relfilenode::int8 AS file,
       e.extname::text AS extension, t.root::int8 AS root,
       e.oid IS NULL OR coalesce(e.extcondition[array_position(e.extconfig, c.oid)] = '', false)
         AS is_dumped_whole
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
  AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
LEFT JOIN pg_extension e ON e.oid = d.refobjid
LEFT JOIN LATERAL (
  SELECT pg_partition_root(c.oid)::oid AS root
  WHERE (c.relispartition OR c.relkind = 'p') AND EXISTS (
    SELECT FROM pg_partition_ancestors(c.oid) a JOIN pg_partitioned_table p ON p.partrelid = a.relid
    WHERE (SELECT o.oid FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
           WHERE o.opcname = 'enum_ops' AND o.opcnamespace = 'pg_catalog'::regnamespace
             AND m.amname = 'hash') = ANY (p.partclass))) t ON true
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND {IN_USER_SCHEMA}
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""  # noqa: S608 - constants only

_SIZES: Final = """
SELECT c.oid::int8 AS oid, coalesce(pg_table_size(c.oid), 0) AS size_bytes
FROM pg_class c WHERE c.oid = ANY ($1::int8[]::oid[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRelation:
    """A relation with what only this snapshot's making needs: its oid and its file.

    `is_countable`: its rows are dumped and come back as the rows of this very relation.
    """

    oid: int
    file: int
    relation: catalog.Relation
    is_countable: bool

    @property
    def rows_sql(self) -> str:
        """What to select from: rows of children only where they are counted with their root."""
        name = f"{quote_identifier(self.relation.schema)}.{quote_identifier(self.relation.name)}"
        return name if self.relation.kind == "partitioned" else f"ONLY {name}"

    @property
    def can_be_locked(self) -> bool:
        """LOCK TABLE takes ordinary and partitioned tables, not materialised views."""
        return self.relation.kind in {"table", "partitioned"}


_KINDS: Final[dict[str, catalog.RelationKind]] = {
    "r": "table",
    "p": "partitioned",
    "m": "matview",
    "f": "foreign",
}


async def list_relations(session: Session, *, is_standby: bool) -> tuple[ListedRelation, ...]:
    """Return every relation that can hold rows, sizes 0, ordered by schema and name.

    The hash of an enum value depends on its oid, so a row of a table that is hash-partitioned by
    an enum may be in another partition after a restore: pg_dump loads such tables through their
    root, and here the root is countable instead of the partitions.
    """
    rows = await session.fetch(_RELATIONS)
    roots = {row["root"] for row in rows}
    return tuple(_listed(row, roots, is_standby=is_standby) for row in rows)


def _listed(row: Row, roots: set[int | None], *, is_standby: bool) -> ListedRelation:
    relation = catalog.Relation(
        schema=intern(row["schema"]),
        name=row["name"],
        kind=_KINDS[row["kind"]],
        size_bytes=0,
        rows=None,
        is_populated=row["is_populated"],
        extension=row["extension"],
    )
    if relation.kind == "partitioned":
        is_countable = row["oid"] in roots
    else:
        is_countable = (
            relation.kind != "foreign"
            and relation.is_populated
            and row["root"] is None
            and row["is_dumped_whole"]
            and not (row["is_unlogged"] and is_standby)
        )
    return ListedRelation(
        oid=row["oid"], file=row["file"], relation=relation, is_countable=is_countable
    )


async def measure(session: Session, listed: Sequence[ListedRelation]) -> tuple[ListedRelation, ...]:
    """Return the same relations with their sizes on disk, TOAST included, indexes not."""
    rows = await session.fetch(_SIZES, [one.oid for one in listed])
    sizes = {row["oid"]: row["size_bytes"] for row in rows}
    return tuple(
        replace(one, relation=replace(one.relation, size_bytes=sizes.get(one.oid, 0)))
        for one in listed
    )


@asynccontextmanager
async def joined_snapshot(session: Session, snapshot_id: str) -> AsyncIterator[Session]:
    """One transaction that sees what the exporting transaction sees; ends with the block."""
    await session.execute(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
        f"SET TRANSACTION SNAPSHOT {quote_literal(snapshot_id)}"
    )
    # Left by an exception it stays open: whoever opened the session rolls back or closes it, and
    # a second failure here would hide the first.
    yield session
    await session.execute("COMMIT")


def batches(listed: Sequence[ListedRelation]) -> Iterator[tuple[ListedRelation, ...]]:
    """Yield what one query counts together, largest first; a large table stands alone."""
    batch: list[ListedRelation] = []
    size = 0
    for one in sorted(listed, key=lambda one: (-one.relation.size_bytes, one.oid)):
        grown = size + one.relation.size_bytes
        if batch and (grown > _BATCH_BYTES or len(batch) == _BATCH_RELATIONS):
            yield tuple(batch)
            batch, grown = [], one.relation.size_bytes
        batch.append(one)
        size = grown
    if batch:
        yield tuple(batch)


async def count_rows(
    dsn: Dsn,
    holder: Session,
    snapshot_id: str,
    listed: Sequence[ListedRelation],
    *,
    jobs: int,
    application_name: str,
    lock_timeout: timedelta,
) -> dict[int, int]:
    """Return the exact number of rows by oid, of every relation that is countable.

    Each query has a transaction of its own in the snapshot, so that locks on indexes do not pile
    up. A table whose lock someone queues for is counted in the holder's session, which has it.
    """
    pending = list(batches([one for one in listed if one.is_countable]))
    pending.reverse()
    counted: dict[int, int] = {}
    blocked: list[tuple[ListedRelation, ...]] = []

    async def work() -> None:
        async with connect(
            dsn, application_name=application_name, lock_timeout=lock_timeout
        ) as session:
            while pending:
                batch = pending.pop()
                try:
                    async with joined_snapshot(session, snapshot_id):
                        counted.update(await _count(session, batch))
                except LockTimeoutError:
                    await session.execute("ROLLBACK")
                    blocked.append(batch)

    async with first_failure_alone(), asyncio.TaskGroup() as group:
        for _ in range(min(jobs, len(pending))):
            group.create_task(work())
    for batch in blocked:
        counted.update(await _count(holder, batch))
    return counted


@asynccontextmanager
async def first_failure_alone() -> AsyncIterator[None]:
    """Raise, instead of a task group's bundle of failures, the first one itself."""
    try:
        yield
    except BaseExceptionGroup as failures:
        failure: BaseException = failures
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure from failures


async def _count(session: Session, batch: Sequence[ListedRelation]) -> dict[int, int]:
    query = " UNION ALL ".join(
        f"SELECT {one.oid}::int8, count(*) FROM {one.rows_sql}"  # noqa: S608 - quoted names
        for one in batch
    )
    return {row[0]: row[1] for row in await session.fetch(query)}
