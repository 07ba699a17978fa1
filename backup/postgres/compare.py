"""Whether two databases hold the same rows, sequences and large objects."""

from __future__ import annotations

from dataclasses import dataclass

from backup.postgres.dsn import Dsn
from backup.postgres.snapshot import Snapshot, hold_snapshot
from backup.repository import catalog
from backup.repository.catalog import LargeObjectDigest, TableDigest


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
    """Return the digests of a whole database in one snapshot: the given one, or one of its own."""
    if snapshot is None:
        async with hold_snapshot(dsn, application_name=application_name) as own:
            return await content_digests(
                dsn, application_name=application_name, jobs=jobs, salt=salt, snapshot=own
            )
    digests = await snapshot.digests(jobs=jobs, salt=salt)
    return Contents(
        tables=digests.tables,
        sequences=snapshot.sequences,
        large_objects=digests.large_objects,
        unpopulated_matviews=tuple(
            f"{one.relation.schema}.{one.relation.name}"
            for one in snapshot.listed
            if not one.relation.is_populated
        ),
    )


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
