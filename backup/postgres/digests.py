"""Content digests: what every table and large object of a snapshot holds, small enough to keep.

A table's digest is SHA-256 over the salt, its name, the names and types of its columns, and its
rows in COPY's text form. With a primary key the rows are hashed in its order; without one, where
rows may be equal and no order is theirs, their own SHA-256s are added modulo 2^256. Either way the
memory that we need stays constant; server and psql hold the largest single row, which COPY sends
whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from backup.postgres import census
from backup.postgres.census import ListedRelation
from backup.postgres.copying import QUERY_MAX_BYTES, Copying
from backup.postgres.database import LockTimeoutError, Session, connect, quote_identifier
from backup.repository.catalog import Digests, LargeObjectDigest, TableDigest

# A table of this size on the disk, compressed as it may be, has no row that is too large for us.
_NARROW_BYTES: Final = 256 * 1024
_LARGE_OBJECT_PIECE: Final = 1024 * 1024
_LARGE_OBJECT_BATCH: Final = 500

# Keys of these types have one order on every server; all others are ordered by their text.
_ORDERED_ALIKE: Final = (
    "{int2,int4,int8,numeric,oid,uuid,bool,bytea,date,time,timestamp,timestamptz}"
)

# Sorted by name: pg_dump puts columns of inheriting tables into another order.
_COLUMNS: Final = """
SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_attribute a WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attname COLLATE "C"
"""

_KEY: Final = """
SELECT a.attname::text AS name, t.typname = ANY ($2::text[]) AND t.typnamespace = 11 AS is_plain
FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, position)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
JOIN pg_type t ON t.oid = a.atttypid
WHERE i.indrelid = $1::int8::oid AND i.indisprimary AND k.position <= i.indnkeyatts
ORDER BY k.position
"""


async def take_digests(
    copying: Copying,
    holder: Session,
    listed: Sequence[ListedRelation],
    *,
    jobs: int,
    salt: bytes,
) -> Digests:
    """Return the digests of all tables and large objects in the snapshot of `copying`.

    Materialised views are left out: a restore computes them. A table that somebody waits to change
    is read in the session that holds the snapshot.
    """
    pending = sorted(
        (one for one in listed if one.is_countable and one.relation.kind != "matview"),
        key=lambda one: one.relation.size_bytes,
    )
    tables: list[TableDigest] = []
    blocked: list[ListedRelation] = []

    async def work() -> None:
        async with connect(copying.dsn, application_name=copying.application_name) as session:
            while pending:
                one = pending.pop()
                try:
                    async with census.joined_snapshot(session, copying.snapshot_id):
                        tables.append(await _digest_table(session, one, salt, copying))
                except LockTimeoutError:
                    await session.execute("ROLLBACK")
                    blocked.append(one)

    async with census.first_failure_alone(), asyncio.TaskGroup() as group:
        for _ in range(min(jobs, len(pending))):
            group.create_task(work())
    tables += [await _digest_table(holder, one, salt, None) for one in blocked]
    async with (
        connect(copying.dsn, application_name=copying.application_name) as session,
        census.joined_snapshot(session, copying.snapshot_id),
    ):
        large_objects = await _digest_large_objects(session)
    return Digests(
        salt=salt.hex(),
        tables=tuple(sorted(tables, key=lambda table: (table.schema, table.name))),
        large_objects=large_objects,
    )


@dataclass(slots=True)
class _InOrder:
    """Hashes the stream of rows as it comes; the text form of COPY has a line feed a row."""

    count: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def take(self, data: bytes | memoryview) -> None:
        self.digest.update(data)
        self.count += bytes(data).count(b"\n")

    def finish(self) -> bytes:
        return self.digest.digest()


@dataclass(slots=True)
class _AnyOrder:
    """Adds up the hashes of rows."""

    count: int = 0
    total: int = 0
    row: hashlib._Hash = field(default_factory=hashlib.sha256)

    def take(self, data: bytes | memoryview) -> None:
        *ended, rest = bytes(data).split(b"\n")
        for piece in ended:
            self.row.update(piece)
            self.total += int.from_bytes(self.row.digest(), "big")
            self.row = hashlib.sha256()
        self.row.update(rest)
        self.count += len(ended)

    def finish(self) -> bytes:
        return (self.total % (1 << 256)).to_bytes(32, "big")


async def _digest_table(
    session: Session, one: ListedRelation, salt: bytes, copying: Copying | None
) -> TableDigest:
    """Return the digest; without `copying` it is all read in this session, row by row."""
    columns = await session.fetch(_COLUMNS, one.oid)
    key = await session.fetch(_KEY, one.oid, _ORDERED_ALIKE.strip("{}").split(","))
    order = ", ".join(
        quote_identifier(column["name"])
        if column["is_plain"]
        else f'{quote_identifier(column["name"])}::text COLLATE "C"'
        for column in key
    )
    names = ", ".join(quote_identifier(column["name"]) for column in columns)
    query = f"SELECT {names} FROM {one.rows_sql}"  # noqa: S608 - quoted names
    query += f" ORDER BY {order}" if order else ""
    rows: _InOrder | _AnyOrder = _InOrder() if order else _AnyOrder()

    async def take(data: bytes) -> None:
        rows.take(data)

    may_be_wide = one.relation.size_bytes > _NARROW_BYTES
    if copying and may_be_wide and len(query.encode()) < QUERY_MAX_BYTES:
        await copying.copy_out(query, rows.take)
    else:
        await session.copy_out(query, take)
    digest = hashlib.sha256()
    described = [one.relation.schema, one.relation.name, "ordered" if order else "sum"]
    for column in columns:
        described += [column["name"], column["type"]]
    for field_ in (salt, *(text.encode() for text in described), str(rows.count).encode()):
        digest.update(len(field_).to_bytes(8, "big") + field_)
    digest.update(rows.finish())
    return TableDigest(
        schema=one.relation.schema,
        name=one.relation.name,
        rows=rows.count,
        sha256=digest.hexdigest(),
    )


async def _digest_large_objects(session: Session) -> tuple[LargeObjectDigest, ...]:
    """Small ones are hashed by the server, five hundred a query; large ones come here in pieces."""
    oids = [
        row["oid"]
        for row in await session.fetch(
            "SELECT oid::int8 AS oid FROM pg_largeobject_metadata ORDER BY 1"
        )
    ]
    digests: list[LargeObjectDigest] = []
    for start in range(0, len(oids), _LARGE_OBJECT_BATCH):
        rows = await session.fetch(
            "SELECT o.oid, length(p.piece) AS size, sha256(p.piece) AS sha256"
            " FROM unnest($1::int8[]) WITH ORDINALITY AS o(oid, position),"
            " LATERAL (SELECT lo_get(o.oid::oid, 0, $2) AS piece OFFSET 0) p ORDER BY o.position",
            oids[start : start + _LARGE_OBJECT_BATCH],
            _LARGE_OBJECT_PIECE,
        )
        for row in rows:
            oid, size, sha256 = row["oid"], row["size"], row["sha256"].hex()
            if size == _LARGE_OBJECT_PIECE:
                size, sha256 = await _digest_large_object(session, oid)
            digests.append(LargeObjectDigest(oid=oid, size_bytes=size, sha256=sha256))
    return tuple(digests)


async def _digest_large_object(session: Session, oid: int) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while piece := await session.fetch_value(
        "SELECT lo_get($1::int8::oid, $2, $3)", oid, size, _LARGE_OBJECT_PIECE
    ):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()
