"""Content digests: whether two databases hold the same rows, sequences and large objects.

A table's digest is SHA-256 over the salt, its name, the names and types of its columns, and its
rows in COPY's text form. With a primary key the rows are hashed in its order; without one, where
rows may be equal and no order is theirs, their own SHA-256s are added modulo 2^256. Either way the
server's memory and ours stay constant but for the largest single row, which COPY sends whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Final

from backup.postgres import census, properties
from backup.postgres.census import ListedRelation
from backup.postgres.database import Session, connect, quote_identifier
from backup.postgres.dsn import Dsn
from backup.postgres.snapshot import Snapshot, hold_snapshot
from backup.repository import catalog
from backup.repository.catalog import LargeObjectDigest, TableDigest

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything in one database that is data, small enough to keep."""

    tables: tuple[TableDigest, ...]
    sequences: tuple[catalog.Sequence, ...]
    large_objects: tuple[LargeObjectDigest, ...]
    unpopulated_matviews: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not the same; None: it is not there at all."""

    what: str
    expected: str | None
    observed: str | None

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected or 'none'}, found {self.observed or 'none'}"


async def content_digests(
    dsn: Dsn,
    *,
    application_name: str,
    jobs: int = 2,
    salt: bytes = b"",
    snapshot: Snapshot | None = None,
) -> Contents:
    """Return the digests of a whole database in one snapshot: the given one, or one of its own.

    Sequences are read as they are at that moment: PostgreSQL does not version them.
    """
    if snapshot is None:
        async with hold_snapshot(dsn, application_name=application_name) as own:
            return await _digest(dsn, own, application_name, jobs, salt)
    return await _digest(dsn, snapshot, application_name, jobs, salt)


def differences(expected: Contents, observed: Contents) -> tuple[Difference, ...]:
    """Return all that differs, ordered by what it is; empty when the content is equal. Pure."""
    before, after = _described(expected), _described(observed)
    return tuple(
        Difference(what=what, expected=before.get(what), observed=after.get(what))
        for what in sorted(before.keys() | after.keys())
        if before.get(what) != after.get(what)
    )


def _described(contents: Contents) -> dict[str, str]:
    described = {
        f"table {table.schema}.{table.name}": f"{table.rows} rows, SHA-256 {table.sha256}"
        for table in contents.tables
    }
    described |= {
        f"sequence {one.schema}.{one.name}": f"{one.last_value}{', called' * one.is_called}"
        for one in contents.sequences
    }
    described |= {
        f"large object {one.oid}": f"{one.size_bytes} bytes, SHA-256 {one.sha256}"
        for one in contents.large_objects
    }
    described |= {
        f"materialised view {name}": "not populated" for name in contents.unpopulated_matviews
    }
    return described


async def _digest(
    dsn: Dsn, snapshot: Snapshot, application_name: str, jobs: int, salt: bytes
) -> Contents:
    listed = snapshot.listed
    pending = sorted(
        (one for one in listed if one.is_countable and one.relation.kind != "matview"),
        key=lambda one: one.relation.size_bytes,
    )
    tables: list[TableDigest] = []

    async def work() -> None:
        async with connect(dsn, application_name=application_name) as session:
            while pending:
                one = pending.pop()
                async with census.joined_snapshot(session, snapshot.snapshot_id):
                    tables.append(await _digest_table(session, one, salt))

    async with census.first_failure_alone(), asyncio.TaskGroup() as group:
        for _ in range(min(jobs, len(pending))):
            group.create_task(work())
    async with connect(dsn, application_name=application_name) as session:
        sequences = await properties.read_sequences(
            session, snapshot.snapshot_id, is_standby=snapshot.server.is_standby
        )
        async with census.joined_snapshot(session, snapshot.snapshot_id):
            large_objects = await _digest_large_objects(session)
    return Contents(
        tables=tuple(sorted(tables, key=lambda table: (table.schema, table.name))),
        sequences=sequences,
        large_objects=large_objects,
        unpopulated_matviews=tuple(
            f"{one.relation.schema}.{one.relation.name}"
            for one in listed
            if not one.relation.is_populated
        ),
    )


@dataclass(slots=True)
class _InOrder:
    """Hashes the stream of rows as it comes."""

    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    async def take(self, data: bytes) -> None:
        self.digest.update(data)

    def finish(self) -> bytes:
        return self.digest.digest()


@dataclass(slots=True)
class _AnyOrder:
    """Adds up the hashes of rows; the text form of COPY has one line feed a row, at its end."""

    total: int = 0
    row: hashlib._Hash = field(default_factory=hashlib.sha256)

    async def take(self, data: bytes) -> None:
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self.row.update(piece)
            self.total += int.from_bytes(self.row.digest(), "big")
            self.row = hashlib.sha256()
        self.row.update(rest)

    def finish(self) -> bytes:
        return (self.total % (1 << 256)).to_bytes(32, "big")


async def _digest_table(session: Session, one: ListedRelation, salt: bytes) -> TableDigest:
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
    rows: _InOrder | _AnyOrder = _InOrder() if order else _AnyOrder()
    count = await session.copy_out(f"{query} ORDER BY {order}" if order else query, rows.take)
    digest = hashlib.sha256()
    described = [one.relation.schema, one.relation.name, "ordered" if order else "sum"]
    for column in columns:
        described += [column["name"], column["type"]]
    for field_ in (salt, *(text.encode() for text in described), str(count).encode()):
        digest.update(len(field_).to_bytes(8, "big") + field_)
    digest.update(rows.finish())
    return TableDigest(
        schema=one.relation.schema,
        name=one.relation.name,
        rows=count,
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
