"""Sample reports: one for each verdict, a huge and a hostile one; change them with `replace`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

from backup.evidence.report import (
    CommandRun,
    Control,
    Coverage,
    Destruction,
    Environment,
    Exclusion,
    Message,
    Objectives,
    OperatorCheck,
    PastRun,
    Phase,
    PhaseName,
    Report,
    Selection,
    SequenceResult,
    TableResult,
    TestedBackup,
    Trigger,
)
from backup.evidence.verdict import Check, Code, Finding, Verdict, Waiver, Word, not_run, ran
from backup.repository.layout import BackupId
from backup.repository.manifest import LogHead
from tests.samples import KEY, MOMENT, REPOSITORY_ID

ENDED = MOMENT + timedelta(hours=2, minutes=11, seconds=40)
REPORT_ID = BackupId("20260114T040000Z-a1b2c3")
# Names that attack who reads them: a browser, a terminal, a spreadsheet, an eye.
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "clients\u202etxt.exe",
    "two\nlines\r\nand a tab\t.",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1-1",
    "@SUM(A1:A2)",
    "'quoted",
    "\U0001f512" * 15 + "abc",  # 63 bytes, the longest name there is
    "zero\u200bwidth",
    "{{ 7 * 7 }}{% raw %}",
    "</title></style><svg onload=alert(1)>",
    "back\\slash",
    "z" + "\u0301" * 20,
    "javascript:alert(1)",
    'a, "b"; c',
)


def digest(text: str) -> str:
    """Sixty-four hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def table(name: str, rows: int | None = 1200, schema: str = "public") -> TableResult:
    """A table that came back as it was."""
    return TableResult(
        schema=schema,
        name=name,
        rows_source=rows,
        rows_restored=rows,
        digest_source=digest(name),
        digest_restored=digest(name),
        is_compared=True,
    )


TABLES = (
    table("clients", 1204),
    table("portfolios", 3811),
    table("valuations", 1_482_220),
    table("documents", 20_417),
    table("messages", 98_002),
    table("access_log", 2_406_118, "audit"),
)
CHECKS = (
    ran("objects", 0, compared=214),
    ran("ciphertext", 1, compared=214),
    ran("authenticated", 2, compared=214),
    ran("restore", 3, compared=412),
    ran("schema", 4, compared=388),
    ran("roles", 4, compared=9),
    ran("row-counts", 5, compared=6),
    ran("digests", 6, compared=6),
    ran("sequences", 6, compared=3),
    ran("constraints", 7, compared=41),
    ran("amcheck", 7, compared=58),
    not_run("smoke", 8, "no smoke command is set"),
)
LIMITS = (
    "That the data was right in the source: a mistake there is restored faithfully.",
    "That the application works: no smoke command is set (level 8).",
    "That it works without this site: the copy and the key were the ordinary ones (level 9).",
)


def backup() -> TestedBackup:
    """What was tested."""
    return TestedBackup(
        repository_id=REPOSITORY_ID,
        repository="/srv/backups",
        database=KEY.database,
        database_name="portal",
        backup_id=KEY.id.text,
        manifest_sha256="5" * 64,
        signer="backup@host",
        cluster_id="7420042004200420042",
        snapshot_id="00000003-0000001B-1",
        snapshot_time=MOMENT,
        lsn="0/1A2B3C4",
        server_version="15.14",
        tool_version="pg_dump 15.14",
        started=MOMENT,
        finished=MOMENT + timedelta(minutes=3),
        plain_bytes=3_412_000_000,
        stored_bytes=640_000_000,
        chunks=6213,
        recipients=("SHA256:0123456789abcdef",),
        key_source="the restore-test identity of this host",
    )


def phases() -> tuple[Phase, ...]:
    """A test from its first to its last minute."""
    lengths: tuple[tuple[PhaseName, int, bool], ...] = (
        ("verify", 38, True),
        ("start-cluster", 4, True),
        ("restore", 161, True),
        ("observe", 44, False),
        ("compare", 2, False),
        ("checks", 31, False),
        ("destroy", 1, False),
    )
    at = ENDED - timedelta(seconds=sum(length for _, length, _ in lengths))
    made = []
    for name, length, is_recovery in lengths:
        end = at + timedelta(seconds=length)
        made.append(Phase(name=name, started=at, finished=end, is_recovery=is_recovery))
        at = end
    return tuple(made)


def past(days: int, verdict: str = "PASS", level: int = 7, rto_ms: int | None = 198_000) -> PastRun:
    """A restore test as many days ago."""
    ended = ENDED - timedelta(days=days)
    return PastRun(
        report_id=_id(ended, "0a0a0a"),
        backup_id=_id(ended - timedelta(hours=2), "0b0b0b"),
        finished=ended,
        verdict=verdict,
        level=level,
        rto_ms=rto_ms,
    )


def _id(at: datetime, digits: str) -> str:
    return BackupId.new(at, bytes.fromhex(digits)).text


def passed() -> Report:
    """PASS at level 7, everything filled in."""
    return Report(
        format=1,
        report_id=REPORT_ID.text,
        generated_by="strongroom test",
        started=phases()[0].started,
        finished=ENDED,
        trigger=Trigger(
            kind="manual", scheduled_for=None, attempt=1, policy_sha256=digest("policy")
        ),
        selection=Selection(rule="latest", seed=None, population=31, position=30),
        exclusions=(),
        backup=backup(),
        environment=Environment(
            host="restore1",
            user="strongroom",
            operating_system="Debian GNU/Linux 12",
            server_version="15.14",
            tool_version="pg_restore 15.14",
            isolation="a unix socket in a directory of its own, no network",
            encoding="UTF8",
            collate="en_GB.UTF-8",
            collation_version="2.36",
            clock_offset_ms=12,
        ),
        destruction=Destruction(
            is_destroyed=True, how="its directory is gone and its server has ended", at=ENDED
        ),
        phases=phases(),
        objectives=Objectives(
            rto_ms=203_000, rto_target_ms=1_800_000, rpo_ms=7_900_000, rpo_target_ms=90_000_000
        ),
        commands=(
            CommandRun(argv=("pg_restore", "--dbname", "portal"), exit_code=0, duration_ms=161_000),
        ),
        messages=(
            Message(source="pg_restore", text="NOTICE: schema exists", classified="expected"),
        ),
        tables=TABLES,
        sequences=(
            SequenceResult(
                schema="public",
                name="clients_id_seq",
                last_value_source=1204,
                last_value_restored=1204,
            ),
        ),
        checks=CHECKS,
        operator_checks=(
            OperatorCheck(
                id="nobody-without-portfolio",
                sql="select count(*)\nfrom clients c\nwhere not exists (select …)",
                expected="0",
                is_met=True,
            ),
        ),
        coverage=coverage(TABLES),
        verdict=Verdict(word=Word.PASS, exceptions=0, level=7, seal=2, findings=()),
        history=tuple(
            past(days, rto_ms=180_000 + days * 1700)
            if days not in {21, 28}
            else past(days, "FAIL" if days == 28 else "INCONCLUSIVE", 4 if days == 28 else 2, None)
            for days in range(7, 64, 7)
        ),
        controls=(
            Control(
                framework="ISO 27001:2022",
                control="A.8.13",
                title="Information backup: copies are kept and tested regularly",
                checks=("restore", "row-counts", "digests"),
            ),
            Control(
                framework="SOC 2",
                control="A1.3",
                title="Recovery procedures are tested",
                checks=("restore",),
            ),
        ),
        limits=LIMITS,
        log=LogHead(size=42, root="7" * 64),
        log_started_seq=41,
        key_id="SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
    )


def coverage(tables: tuple[TableResult, ...]) -> Coverage:
    """What comparing all of these amounts to."""
    return Coverage(
        tables_in_scope=len(tables),
        tables_counted=len(tables),
        tables_digested=sum(one.digest_restored is not None for one in tables),
        rows_compared=sum(one.rows_restored or 0 for one in tables),
        large_objects=0,
        schema_objects=388,
        checks_run=11,
        checks_not_run=1,
    )


def failed() -> Report:
    """FAIL: half the rows of a table are gone, and a role."""
    lost = replace(TABLES[0], rows_restored=602, digest_restored=digest("half"))
    findings = (
        Finding(code=Code.ROWCOUNT_DIFF, what="public.clients", expected="1204", observed="602"),
        Finding(code=Code.ROLE_ABSENT, what="role advisor"),
    )
    checks = tuple(
        replace(check, status="failed", findings=(finding,))
        if (finding := _finding_of(check, findings))
        else check
        for check in CHECKS
    )
    return replace(
        passed(),
        tables=(lost, *TABLES[1:]),
        coverage=coverage((lost, *TABLES[1:])),
        checks=checks,
        verdict=Verdict(word=Word.FAIL, exceptions=0, level=3, seal=2, findings=findings),
        controls=(),
    )


def _finding_of(check: Check, findings: tuple[Finding, ...]) -> Finding | None:
    by_check = {"row-counts": findings[0], "roles": findings[1]}
    return by_check.get(check.id)


def inconclusive() -> Report:
    """INCONCLUSIVE: there was nothing to compare with, and no cluster either."""
    bare = tuple(
        replace(one, rows_source=None, digest_source=None, is_compared=False) for one in TABLES
    )
    return replace(
        passed(),
        environment=None,
        destruction=None,
        phases=(),
        commands=(),
        messages=(),
        sequences=(),
        operator_checks=(),
        tables=bare,
        coverage=replace(coverage(bare), rows_compared=0, tables_digested=0),
        objectives=Objectives(
            rto_ms=None, rto_target_ms=None, rpo_ms=7_900_000, rpo_target_ms=None
        ),
        checks=tuple(not_run(check.id, check.level, "no cluster started") for check in CHECKS),
        verdict=Verdict(
            word=Word.INCONCLUSIVE,
            exceptions=0,
            level=-1,
            seal=1,
            findings=(
                Finding(code=Code.SOURCE_REFERENCE_MISSING, what="catalogue"),
                Finding(code=Code.ENVIRONMENT_FAILURE, what="cluster", observed="no space left"),
            ),
        ),
        history=(),
        controls=(),
        limits=(),
        log=None,
        log_started_seq=None,
        key_id=None,
    )


def excepted() -> Report:
    """PASS with an exception, and a table that is left out."""
    waiver = Waiver(
        code=Code.COLLATION_MISMATCH,
        what="database portal",
        approver="C. Ito, CTO",
        reason="the restore host runs Debian 12, the source 11; indexes are rebuilt",
        expires=ENDED + timedelta(days=60),
    )
    finding = Finding(
        code=waiver.code, what=waiver.what, expected="2.31", observed="2.36", waiver=waiver
    )
    return replace(
        passed(),
        exclusions=(
            Exclusion(
                what="audit.access_log",
                approver="C. Ito, CTO",
                reason="append-only, kept elsewhere",
                expires=ENDED + timedelta(days=30),
            ),
        ),
        verdict=Verdict(word=Word.PASS, exceptions=1, level=6, seal=2, findings=(finding,)),
    )


def huge(tables: int = 2000) -> Report:
    """PASS with very many tables."""
    many = tuple(table(f"valuations_{number:05}", number * 17) for number in range(tables))
    return replace(passed(), tables=many, coverage=coverage(many))


def hostile() -> Report:
    """FAIL, and every text that an attacker may choose is an attack."""
    attack = "".join(HOSTILE)
    nasty = tuple(table(name, schema=name) for name in HOSTILE)
    report = failed()
    finding = Finding(code=Code.SCHEMA_DIFF, what=attack, expected=attack, observed=attack)
    return replace(
        report,
        backup=replace(
            report.backup,
            database=attack,
            database_name=attack,
            repository=attack,
            signer=attack,
            server_version=attack,
            snapshot_id=attack,
            key_source=attack,
            recipients=(attack,),
        ),
        environment=replace(_environment(report), host=attack, collate=attack, isolation=attack),
        tables=nasty,
        coverage=coverage(nasty),
        messages=(Message(source=attack, text=attack, classified="error"),),
        commands=(CommandRun(argv=HOSTILE, exit_code=1, duration_ms=1),),
        sequences=(
            SequenceResult(
                schema=attack, name=attack, last_value_source=None, last_value_restored=-1
            ),
        ),
        checks=(ran(attack, 4, compared=1, findings=(finding,)), not_run("other", 5, attack)),
        operator_checks=(OperatorCheck(id=attack, sql=attack, expected=attack, is_met=False),),
        verdict=replace(report.verdict, findings=(finding,)),
        history=(replace(past(7), verdict=attack, backup_id=attack),),
        limits=(attack,),
        controls=(Control(framework=attack, control=attack, title=attack, checks=(attack,)),),
        key_id=attack,
    )


def _environment(report: Report) -> Environment:
    assert report.environment is not None
    return report.environment
