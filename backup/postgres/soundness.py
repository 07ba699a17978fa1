"""Whether a restored database is whole in itself: indexes, constraints, pages, the firm's rules.

Observed after its catalogue: looking at pages needs an extension that the source need not have.
Row security is off in every session here, so that a rule never passes over rows it cannot see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from backup.errors import PostgresError
from backup.evidence.report import OperatorCheck
from backup.evidence.verdict import Check, Code, Finding, not_run, ran
from backup.postgres.census import IN_USER_SCHEMA
from backup.postgres.database import Session, StatementTimeoutError, connect
from backup.postgres.dsn import Dsn
from backup.repository.catalog import Catalog

_ANSWER_BYTES: Final = 64 * 1024

# A partitioned one is not valid until each partition has its own, and is dumped like that.
_INDEXES: Final = f"""
SELECT format('%I.%I', n.nspname, c.relname) AS name,
  i.indisvalid AND i.indisready AND i.indislive AS is_valid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'i' AND {IN_USER_SCHEMA} ORDER BY 1
"""  # noqa: S608 - constants only

_TREES: Final = f"""
SELECT i.indexrelid::int8 AS oid, format('%I.%I', n.nspname, c.relname) AS name
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_am m ON m.oid = c.relam
WHERE m.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND {IN_USER_SCHEMA} ORDER BY 2
"""  # noqa: S608 - constants only

_HEAPS: Final = f"""
SELECT c.oid::int8 AS oid, format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am m ON m.oid = c.relam
WHERE c.relkind IN ('r', 'm') AND m.amname = 'heap' AND {IN_USER_SCHEMA} ORDER BY 2
"""  # noqa: S608 - constants only


class Question(Protocol):
    """SQL of the operator's that gives one row, and that row in COPY's text form: `t`, `42`."""

    @property
    def id(self) -> str:
        """What findings call it."""

    @property
    def sql(self) -> str:
        """One query."""

    @property
    def expected(self) -> str:
        """The row that it must give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundness:
    """What was seen: the checks of level 7, and the operator's questions one by one."""

    checks: tuple[Check, ...]
    operator_checks: tuple[OperatorCheck, ...]


async def observe_soundness(
    dsn: Dsn,
    *,
    expected: Catalog,
    observed: Catalog,
    questions: Sequence[Question],
    application_name: str,
    statement_timeout: timedelta,
) -> Soundness:
    """Return what level 7 says of the restored database, which must be a scratch one.

    Creates the extension `amcheck` in it. `statement_timeout` is each question's.
    """
    asked = await _ask(dsn, questions, application_name, statement_timeout)
    async with connect(dsn, application_name=application_name) as session:
        indexes = await _indexes(session)
        pages = await _pages(session)
    return Soundness(
        checks=(
            indexes,
            constraints(expected, observed),
            pages,
            ran(
                "invariants",
                7,
                compared=len(questions),
                findings=[finding for _, finding in asked if finding is not None],
            ),
        ),
        operator_checks=tuple(one for one, _ in asked),
    )


def constraints(expected: Catalog, observed: Catalog) -> Check:
    """Return whether each constraint that rows were held against is one here too. Pure."""
    found = {(one.kind, one.name): one.is_validated for one in observed.objects}
    pairs = [
        (one.name, found[one.kind, one.name])
        for one in expected.objects
        if one.is_validated and (one.kind, one.name) in found
    ]
    findings = [
        Finding(
            code=Code.CONSTRAINT_VIOLATED,
            what=f"constraint {name}",
            expected="validated",
            observed="not validated",
        )
        for name, is_validated in pairs
        if not is_validated
    ]
    return ran("constraints", 7, compared=len(pairs), findings=findings)


async def _indexes(session: Session) -> Check:
    rows = await session.fetch(_INDEXES)
    findings = [
        Finding(
            code=Code.INDEX_INVALID,
            what=f"index {row['name']}",
            expected="valid",
            observed="invalid",
        )
        for row in rows
        if not row["is_valid"]
    ]
    return ran("indexes", 7, compared=len(rows), findings=findings)


async def _pages(session: Session) -> Check:
    """Return what amcheck says of every table's pages and of every B-tree and its table."""
    try:
        await session.execute("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA pg_catalog")
    except PostgresError as error:
        return not_run("amcheck", 7, f"the extension amcheck is not to be had: {error.message}")
    schema = await session.fetch_value(
        "SELECT quote_ident(n.nspname) FROM pg_extension e"
        " JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'"
    )
    findings = []
    heaps, trees = await session.fetch(_HEAPS), await session.fetch(_TREES)
    for heap in heaps:
        try:
            found = await session.fetch_value(
                f"SELECT count(*) FROM {schema}.verify_heapam($1::int8::oid::regclass)",  # noqa: S608 - quoted
                heap["oid"],
            )
        except PostgresError:  # a page that can't even be read
            findings.append(_corrupt(f"table {heap['name']}", "damaged"))
            continue
        if found:
            findings.append(_corrupt(f"table {heap['name']}", f"{found} damaged places"))
    for tree in trees:
        try:
            await session.fetch_value(
                f"SELECT {schema}.bt_index_check($1::int8::oid::regclass, true)",
                tree["oid"],
            )
        except PostgresError:
            # Its message may hold a key's value.
            findings.append(_corrupt(f"index {tree['name']}", "damaged"))
    return ran("amcheck", 7, compared=len(heaps) + len(trees), findings=findings)


def _corrupt(what: str, observed: str) -> Finding:
    return Finding(code=Code.AMCHECK_CORRUPT, what=what, expected="whole", observed=observed)


async def _ask(
    dsn: Dsn,
    questions: Sequence[Question],
    application_name: str,
    statement_timeout: timedelta,
) -> list[tuple[OperatorCheck, Finding | None]]:
    """Ask each in a transaction and a session of its own, which may write nothing."""
    asked = []
    for one in questions:
        finding = None
        try:
            async with asyncio.timeout(statement_timeout.total_seconds() + 30):
                async with connect(
                    dsn, application_name=application_name, statement_timeout=statement_timeout
                ) as session:
                    await session.execute("BEGIN READ ONLY")
                    answer = await _answer(session, one.sql)
            if answer != f"{one.expected}\n".encode():
                # The answer is not kept: it could be somebody's name.
                finding = _unmet(one, Code.INVARIANT_FAILED, "another answer")
        except (StatementTimeoutError, TimeoutError):
            finding = _unmet(one, Code.CHECK_TIMEOUT, "no answer in time")
        except PostgresError:
            finding = _unmet(one, Code.CHECK_ERROR, "an error instead of an answer")
        asked.append(
            (
                OperatorCheck(
                    id=one.id, sql=one.sql, expected=one.expected, is_met=finding is None
                ),
                finding,
            )
        )
    return asked


async def _answer(session: Session, sql: str) -> bytes:
    """Return what COPY writes, as far as it may matter."""
    answer = bytearray()

    async def take(data: bytes) -> None:
        if len(answer) < _ANSWER_BYTES:
            answer.extend(data)

    # A line of its own for what closes it: the SQL may end in a comment.
    await session.copy_out(sql.strip().removesuffix(";") + "\n", take)
    return bytes(answer)


def _unmet(one: Question, code: Code, observed: str) -> Finding:
    return Finding(code=code, what=f"invariant {one.id}", expected=one.expected, observed=observed)
