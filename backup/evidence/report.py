"""`report.json`: the record of one restore test. Everything that people read derives from it.

Strict and canonical like all that is stored. No row values and no samples of them are ever in
here; names of tables are, so the repository keeps reports encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from backup.evidence.verdict import Check, Verdict
from backup.repository.canonical import STRICT, IntegerAsText, UtcTime
from backup.repository.manifest import FormatNumber, LogHead, RepositoryId

REPORT_NAMESPACE = "strongroom-evidence@v1"

SelectionRule = Literal["latest", "oldest", "random", "named"]
MessageClass = Literal["error", "warning", "expected"]
PhaseName = Literal[
    "verify", "start-cluster", "restore", "observe", "compare", "checks", "smoke", "destroy"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Why the test ran. `scheduled_for` None: a person started it. `attempt` counts from 1."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["manual", "schedule"]
    scheduled_for: UtcTime | None
    attempt: int
    policy_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which backup was tested and how it was chosen.

    `population` is how many backups there were to choose from. `seed` (hex) with `random`: the
    backup's position in the ascending list is SHA-256(seed) modulo the population.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rule: SelectionRule
    seed: str | None
    population: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedBackup:
    """The backup, as its signed manifest tells. Bytes; `chunks` were all authenticated."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    repository_id: RepositoryId
    repository: str
    database: str
    database_name: str
    backup_id: str
    manifest_sha256: str
    signer: str
    cluster_id: str
    snapshot_id: str
    snapshot_time: UtcTime
    lsn: str
    server_version: str
    tool_version: str
    started: UtcTime
    finished: UtcTime
    plain_bytes: int
    stored_bytes: int
    chunks: int
    recipients: tuple[str, ...]
    key_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where it was restored. `clock_offset_ms` against the source is None if it was not asked."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    host: str
    user: str
    operating_system: str
    server_version: str
    tool_version: str
    isolation: str
    encoding: str
    collate: str
    collation_version: str | None
    clock_offset_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destruction:
    """What became of the restored data; `how` says how it was shown to be gone."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    is_destroyed: bool
    how: str
    at: UtcTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of the test. The phases with `is_recovery` make up the recovery time."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: PhaseName
    started: UtcTime
    finished: UtcTime
    is_recovery: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """Milliseconds. RTO: what the phases of recovery took; RPO: the backup's age at the test."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rto_ms: int | None
    rto_target_ms: int | None
    rpo_ms: int
    rpo_target_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRun:
    """A process that was run; `argv` without secrets (there are none in it)."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    argv: tuple[str, ...]
    exit_code: int
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a tool of the restore said on standard error, and what we made of it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    source: str
    text: str
    classified: MessageClass


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """One table. Rows and digests (SHA-256, hex) at the dump's snapshot and as restored.

    None: not counted, or not digested. `is_compared`: its rows were held against the source's.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    schema: str
    name: str
    rows_source: int | None
    rows_restored: int | None
    digest_source: str | None
    digest_restored: str | None
    is_compared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceResult:
    """One sequence; a value that is unknown is None."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    schema: str
    name: str
    last_value_source: IntegerAsText | None
    last_value_restored: IntegerAsText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCheck:
    """A question of the operator's own: its SQL, what it must answer, whether it did.

    The observed answer is not kept: it could be somebody's name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    id: str
    sql: str
    expected: str
    is_met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of what is in the backup was compared."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    tables_in_scope: int
    tables_counted: int
    tables_digested: int
    rows_compared: int
    large_objects: int
    schema_objects: int
    checks_run: int
    checks_not_run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A table that is left out of the comparison: who said so, why, until when."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    what: str
    approver: str
    reason: str
    expires: UtcTime


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """An earlier restore test of the same database, as its log entry tells."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    report_id: str
    backup_id: str
    finished: UtcTime
    verdict: str
    level: int
    rto_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A requirement of a framework that checks of this test are evidence for, by their ids."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    framework: str
    control: str
    title: str
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`report.json`, format 1. `report_id` has the form of a backup id.

    `log` is the evidence log when the report was written: the test's own `started` entry is in
    it, the entry that names this report comes after. `key_id` is the fingerprint of the key that
    signs; None: nothing signs it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    format: FormatNumber
    report_id: str
    generated_by: str
    started: UtcTime
    finished: UtcTime
    trigger: Trigger
    selection: Selection
    exclusions: tuple[Exclusion, ...]
    backup: TestedBackup
    environment: Environment | None
    destruction: Destruction | None
    phases: tuple[Phase, ...]
    objectives: Objectives
    commands: tuple[CommandRun, ...]
    messages: tuple[Message, ...]
    tables: tuple[TableResult, ...]
    sequences: tuple[SequenceResult, ...]
    checks: tuple[Check, ...]
    operator_checks: tuple[OperatorCheck, ...]
    coverage: Coverage
    verdict: Verdict
    history: tuple[PastRun, ...]
    controls: tuple[Control, ...]
    limits: tuple[str, ...]
    log: LogHead | None
    log_started_seq: int | None
    key_id: str | None
