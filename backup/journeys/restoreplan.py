"""What a restore will do, as a value: shown to a person first, then done by `restore`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from backup.errors import IntegrityError, NotFoundError, SettingsError
from backup.journeys.archives import OpenBackup
from backup.postgres import target
from backup.postgres.dsn import Dsn
from backup.postgres.tools import Tools, find_tools
from backup.repository.catalog import Catalog, Relation
from backup.repository.manifest import Manifest, StoredPart

APPLICATION = "strongroom restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a restore goes: a database that does not exist yet on a server that does.

    `tables` are `schema.name` as in the catalogue; empty means everything.
    """

    dsn: Dsn
    jobs: int
    stall_timeout: timedelta
    tool_directories: tuple[Path, ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What a restore will do, in order, before it does any of it."""

    backup_id: str
    database: str
    destination: str
    tools: Tools
    relations: tuple[Relation, ...]
    parts: tuple[StoredPart, ...]
    is_whole: bool
    is_superuser: bool

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps in words."""
        data = ", ".join(part.name for part in self.parts)
        indexes = (
            "create indexes and constraints"
            if self.is_whole
            else (
                "create indexes and constraints, but no foreign keys: their other tables stay empty"
            )
        )
        return (
            "create the roles that are missing; leave those that exist as they are",
            f"create database {self.destination}, which must not exist",
            "create types, tables and functions",
            f"load data ({data})",
            indexes,
            "count the rows of every table and compare with the dump",
        )


async def plan(backup: OpenBackup, destination: Destination) -> RestorePlan:
    """Return what `restore` would do. Raises if the database exists or a table is unknown."""
    async with target.maintenance(destination.dsn, APPLICATION) as session:
        await target.require_absent(session, destination.dsn)
        server_major = session.server_version // 10000
        is_superuser = await target.is_superuser(session)
    dump_major = _dump_major(backup.manifest)
    if dump_major > server_major:
        raise SettingsError(
            f"the backup was dumped with pg_dump {dump_major}, and the server is"
            f" PostgreSQL {server_major}: it cannot be restored there",
            hint=f"restore into PostgreSQL {dump_major} or newer",
        )
    relations = _chosen(backup.catalog, destination.tables)
    is_whole = not destination.tables
    parts = tuple(
        part for part in backup.manifest.parts if _is_needed(part, relations, is_whole=is_whole)
    )
    return RestorePlan(
        backup_id=backup.manifest.backup_id,
        database=backup.manifest.database_name,
        destination=destination.dsn.database,
        tools=find_tools(
            server_major, is_for_restore=True, bin_directories=destination.tool_directories
        ),
        is_superuser=is_superuser,
        relations=relations,
        parts=parts,
        is_whole=is_whole,
    )


def _chosen(catalog: Catalog, tables: Sequence[str]) -> tuple[Relation, ...]:
    """Return the relations that are named, or all. Raises `NotFoundError` for an unknown name."""
    if not tables:
        return catalog.relations
    by_name = {f"{one.schema}.{one.name}": one for one in catalog.relations}
    unknown = [name for name in tables if name not in by_name]
    if unknown:
        raise NotFoundError(
            f"the backup holds no table {', '.join(unknown)}",
            hint="write schema.table; `strongroom show --identity FILE` lists them",
        )
    for name in tables:
        if not by_name[name].is_dumped:
            raise NotFoundError(
                f"{name} is no table, so the backup holds no rows of it",
                hint="restore the tables that it is made of, or the whole backup",
            )
    return tuple(by_name[name] for name in dict.fromkeys(tables))


def _is_needed(part: StoredPart, relations: Sequence[Relation], *, is_whole: bool) -> bool:
    """Whether the part may hold rows of these: a partitioned table's may be anywhere."""
    if is_whole or part.kind in {"schema", "globals"}:
        return True
    if any(relation.kind == "partitioned" for relation in relations):
        return True
    if part.kind == "table":
        return any(relation.part == part.name for relation in relations)
    return any(relation.part is None for relation in relations)


def _dump_major(manifest: Manifest) -> int:
    """Return the major version of the pg_dump that wrote the archives: older ones can't read it."""
    digits = re.search(r"\d+", manifest.tool_version)
    if digits is None:
        raise IntegrityError(f"{manifest.tool_version!r} names no version of pg_dump")
    return int(digits[0])
