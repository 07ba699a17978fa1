"""Whether a restored database is the one that was dumped: two catalogues, held side by side. Pure.

Each thing that is wrong has one finding: what hangs on something that is missing is not reported
again, and neither is what was left out because a role is not there.
"""

from __future__ import annotations

from dataclasses import dataclass

from backup.evidence import contentchecks, rightschecks, schemachecks
from backup.evidence.report import SequenceResult, TableResult
from backup.evidence.sides import Sides
from backup.evidence.verdict import Check, not_run
from backup.repository.catalog import Catalog

_EMPTY = "nothing is in the restored database"


def compare(expected: Catalog, observed: Catalog) -> tuple[Check, ...]:
    """Return the checks of levels 4 to 6: the source at the dump's snapshot against the restored.

    The digests of both must have the same salt.
    """
    sides = Sides.of(expected, observed)
    is_empty = _is_empty(expected, observed)
    rows = contentchecks.rows(expected, observed, is_empty=is_empty)
    if is_empty:
        # One thing is wrong. What an empty database lacks beside is no news.
        return (
            *(not_run(id_, 4, _EMPTY) for id_ in _LEVEL_4),
            rows,
            *(not_run(id_, 6, _EMPTY) for id_ in _LEVEL_6),
        )
    return (
        schemachecks.schema(sides),
        rightschecks.roles(sides),
        rightschecks.owners(sides),
        rightschecks.grants(sides),
        schemachecks.row_security(sides),
        schemachecks.extensions(expected, observed),
        schemachecks.collations(expected, observed),
        rows,
        contentchecks.digests(sides),
        contentchecks.sequences(expected, observed),
        contentchecks.large_objects(expected, observed),
        contentchecks.matviews(expected, observed),
    )


_LEVEL_4 = ("schema", "roles", "owners", "grants", "row-security", "extensions", "collations")
_LEVEL_6 = ("digests", "sequences", "large-objects", "matviews")


def table_results(expected: Catalog, observed: Catalog) -> tuple[TableResult, ...]:
    """Return what is known of each table of the backup that is to have rows of its own."""
    found = {(one.schema, one.name): one for one in observed.relations}
    before, after = contentchecks.digested(expected), contentchecks.digested(observed)
    return tuple(
        TableResult(
            schema=one.schema,
            name=one.name,
            rows_source=one.rows,
            rows_restored=restored.rows if restored else None,
            digest_source=before[key].sha256 if key in before else None,
            digest_restored=after[key].sha256 if key in after else None,
            is_compared=restored is not None and restored.rows is not None,
        )
        for one in expected.relations
        if one.is_dumped and one.rows is not None
        for key in [(one.schema, one.name)]
        for restored in [found.get(key)]
    )


def sequence_results(expected: Catalog, observed: Catalog) -> tuple[SequenceResult, ...]:
    """Return what is known of each sequence of the backup."""
    found = {(one.schema, one.name): one for one in observed.sequences}
    return tuple(
        SequenceResult(
            schema=one.schema,
            name=one.name,
            last_value_source=one.last_value,
            last_value_restored=restored.last_value if restored else None,
        )
        for one in expected.sequences
        for restored in [found.get((one.schema, one.name))]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How much was held side by side; `evidence/report.py: Coverage` has the same numbers."""

    tables_in_scope: int
    tables_counted: int
    tables_digested: int
    rows_compared: int
    large_objects: int
    schema_objects: int


def compared(expected: Catalog, observed: Catalog) -> Compared:
    """Return the numbers of a comparison. In scope is each table whose rows are in the backup."""
    tables = table_results(expected, observed)
    names = {(one.kind, one.name) for one in observed.objects}
    return Compared(
        tables_in_scope=len(tables),
        tables_counted=sum(one.is_compared for one in tables),
        tables_digested=sum(
            one.digest_source is not None and one.digest_restored is not None for one in tables
        ),
        rows_compared=sum(one.rows_source or 0 for one in tables if one.is_compared),
        large_objects=min(expected.large_objects, observed.large_objects),
        schema_objects=sum((one.kind, one.name) in names for one in expected.objects),
    )


def _is_empty(expected: Catalog, observed: Catalog) -> bool:
    return any(one.rows for one in expected.relations if one.is_dumped) and not any(
        one.rows for one in observed.relations
    )
