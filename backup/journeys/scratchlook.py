"""The third part of a restore test: what was restored, held against the source. Levels 4 to 8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from backup.errors import PostgresError, StalledError, StrongroomError, ToolMissingError
from backup.evidence.comparison import compare
from backup.evidence.messages import redacted_error
from backup.evidence.report import Environment, OperatorCheck
from backup.evidence.verdict import Code, Finding
from backup.journeys.testrecord import Record
from backup.journeys.threads import Running, to_end
from backup.postgres.command import Command
from backup.postgres.dsn import Dsn
from backup.postgres.process import run
from backup.postgres.scratch import unprivileged_user
from backup.postgres.snapshot import hold_snapshot
from backup.postgres.soundness import observe_soundness
from backup.postgres.tools import Tools
from backup.repository.catalog import Catalog
from backup.testpolicy import RestoreTestPolicy

APPLICATION = "strongroom restore-test"
_ISOLATION = "a cluster of its own: a unix socket in a directory of mode 0700, no network address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where and how a backup is restored for a test.

    `jobs` restore at once; `table_parallel` tables are counted and digested at once, None: as many.
    """

    host: str
    user: str
    operating_system: str
    jobs: int
    stall_timeout: timedelta
    table_parallel: int | None = None
    tool_directories: tuple[Path, ...] = ()
    directory: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was restored, as it was found; `expected` is without what is excluded."""

    expected: Catalog
    observed: Catalog | None = None
    environment: Environment | None = None
    operator_checks: tuple[OperatorCheck, ...] = ()


async def look(
    seen: Seen,
    database: Dsn,
    policy: RestoreTestPolicy,
    workshop: Workshop,
    record: Record,
    *,
    tools: Tools,
) -> Seen:
    """Take the restored database's catalogue, hold it against the source's, ask the rest."""
    expected = seen.expected
    asked = "schema"
    salt = None if expected.digests is None else bytes.fromhex(expected.digests.salt)
    try:
        with record.phase("observe"):
            async with hold_snapshot(database, application_name=APPLICATION) as snapshot:
                observed = await snapshot.catalog(
                    jobs=workshop.table_parallel or workshop.jobs,
                    digest_salt=salt,
                    tool_directories=(tools.bin,),
                )
                version = snapshot.server.version
        with record.phase("compare"):
            record.checks.extend(compare(expected, observed))
        seen = replace(
            seen,
            observed=observed,
            environment=Environment(
                host=workshop.host,
                user=workshop.user,
                operating_system=workshop.operating_system,
                server_version=version,
                tool_version=f"pg_restore {tools.version}",
                isolation=_ISOLATION,
                encoding=observed.database.encoding,
                collate=observed.database.collate,
                collation_version=observed.database.collation_version,
                clock_offset_ms=None,
            ),
        )
        asked = "indexes"
        with record.phase("checks"):
            sound = await observe_soundness(
                database,
                expected=expected,
                observed=observed,
                questions=policy.questions,
                application_name=APPLICATION,
                statement_timeout=policy.check_timeout,
            )
    except StrongroomError as error:
        record.stop(asked, Code.CHECK_ERROR, "restored database", redacted_error(error.message))
        return seen
    for check in sound.checks:
        if check.id == "invariants" and not policy.questions:
            record.not_run("invariants", "no checks are set")
        else:
            record.checks.append(check)
    return replace(seen, operator_checks=sound.operator_checks)


async def smoke(
    database: Dsn, policy: RestoreTestPolicy, record: Record, clock: Callable[[], datetime]
) -> None:
    """Run the operator's command against the restored database."""
    if not policy.smoke_command:
        record.not_run("smoke", "no smoke command is set")
        return
    command = Command(
        label="smoke command",
        argv=policy.smoke_command,
        environment=_environment(database),
        user=unprivileged_user(),
    )
    begun = clock()
    findings = []
    running = Running()
    try:
        with record.phase("smoke"):
            await to_end(
                lambda: run(command, timeout=policy.check_timeout, entered=running.entered),
                stop=running.end,
            )
        # What it prints is the application's: it may hold anything.
        record.heard(command, "", clock() - begun)
    except StalledError:
        findings = [Finding(code=Code.CHECK_TIMEOUT, what="smoke command")]
    except ToolMissingError as error:
        findings = [Finding(code=Code.CHECK_ERROR, what="smoke command", observed=error.message)]
    except PostgresError as error:
        record.failed(command, error, clock() - begun)
        code = record.commands[-1].exit_code
        findings = [
            Finding(
                code=Code.SMOKE_FAILED,
                what="smoke command",
                expected="exit code 0",
                observed=f"exit code {code}",
            )
        ]
    record.ran("smoke", compared=1, findings=findings)


def _environment(database: Dsn) -> Mapping[str, str]:
    return {
        "PGHOST": database.host,
        "PGPORT": str(database.port),
        "PGUSER": database.user,
        "PGDATABASE": database.database,
    }
