"""The signed record of a recovery: what came back, from which backup, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from backup.repository.canonical import STRICT, UtcTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; those with the same start ran side by side."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    started: UtcTime
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredDatabase:
    """A database that is back. Every table's rows were counted and are those of the dump."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    database: str
    backup_id: str
    snapshot_time: str
    restore_test: str
    restore_test_report: str | None
    tables: int
    rows: int
    created_roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """A host that was lost and is back. `failed_checks` are those of `host verify` at the end."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["host-recovery"] = "host-recovery"
    generated_by: str
    generated_on: str
    site: str
    host: str
    backup_host: str
    inventory_sha256: str
    started: UtcTime
    finished: UtcTime
    duration_ms: int
    steps: tuple[Step, ...]
    databases: tuple[RecoveredDatabase, ...]
    checks: int
    failed_checks: tuple[str, ...]
