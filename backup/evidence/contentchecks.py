"""Whether the same is in it: rows, digests, sequences, large objects, materialised views. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from backup.evidence.sides import Sides
from backup.evidence.verdict import Check, Code, Finding, not_run, ran
from backup.repository.catalog import Catalog, Relation, Sequence, TableDigest

_NO_DIGESTS = "no content digests were taken when the backup was"
_NOT_OBSERVED = "no content digests were taken of the restored database"


def rows(expected: Catalog, observed: Catalog, *, is_empty: bool) -> Check:
    """Return whether every table has as many rows; with `is_empty` that is the one finding."""
    pairs = list(_counted(expected, observed))
    if is_empty:
        total = sum(one.rows or 0 for one in expected.relations)
        finding = Finding(
            code=Code.EMPTY_RESTORE, what="database", expected=f"{total} rows", observed="0 rows"
        )
        return ran("row-counts", 5, compared=len(pairs), findings=[finding])
    findings = [
        Finding(
            code=Code.ROWCOUNT_DIFF,
            what=f"{one.kind} {one.schema}.{one.name}",
            expected=f"{one.rows} rows",
            observed=f"{other.rows} rows",
        )
        for one, other in pairs
        if one.rows != other.rows
    ]
    return ran("row-counts", 5, compared=len(pairs), findings=findings)


def _counted(expected: Catalog, observed: Catalog) -> Iterator[tuple[Relation, Relation]]:
    """Yield the relations in the dump that were counted on both sides."""
    found = {(one.schema, one.name): one for one in observed.relations}
    for one in expected.relations:
        other = found.get((one.schema, one.name)) if one.is_dumped else None
        if other is not None and one.rows is not None and other.rows is not None:
            yield one, other


def digests(sides: Sides) -> Check:
    """Return whether the rows are the same, of tables that have as many and are defined alike."""
    before, after = digested(sides.expected), digested(sides.observed)
    if sides.expected.digests is None:
        return not_run("digests", 6, _NO_DIGESTS)
    if sides.observed.digests is None:
        return not_run("digests", 6, _NOT_OBSERVED)
    changed = sides.changed()
    # A table with other rows or columns has another digest: that is said already.
    both = [key for key in before if key in after and not changed.intersection(_spellings(*key))]
    findings = [
        Finding(
            code=Code.DIGEST_DIFF,
            what=f"table {'.'.join(key)}",
            expected=f"SHA-256 {before[key].sha256}",
            observed=f"SHA-256 {after[key].sha256}",
        )
        for key in both
        if before[key].sha256 != after[key].sha256 and before[key].rows == after[key].rows
    ]
    return ran("digests", 6, compared=len(both), findings=findings)


def digested(catalog: Catalog) -> dict[tuple[str, str], TableDigest]:
    """Return the tables' digests by schema and name."""
    tables = catalog.digests.tables if catalog.digests else ()
    return {(one.schema, one.name): one for one in tables}


def _spellings(schema: str, name: str) -> set[str]:
    """Return how the server may write the name: whether it quotes depends on its key words."""
    quoted = ['"' + part.replace('"', '""') + '"' for part in (schema, name)]
    return {f"{one}.{other}" for one in (schema, quoted[0]) for other in (name, quoted[1])}


def sequences(expected: Catalog, observed: Catalog) -> Check:
    """Return whether no sequence would give a number again; further on is no finding."""
    found = {(one.schema, one.name): one for one in observed.sequences}
    # One that begins again at its end is neither behind nor ahead.
    both = [
        (one, found[one.schema, one.name])
        for one in expected.sequences
        if (one.schema, one.name) in found and not one.is_cycling
    ]
    findings = [
        Finding(
            code=Code.SEQUENCE_BEHIND,
            what=f"sequence {one.schema}.{one.name}",
            expected=f"{one.last_value} or further on",
            observed=str(other.last_value),
        )
        for one, other in both
        if _position(one, one) > _position(one, other)
    ]
    return ran("sequences", 6, compared=len(both), findings=findings)


def _position(direction: Sequence, one: Sequence) -> tuple[int, bool]:
    return (-one.last_value if direction.is_descending else one.last_value, one.is_called)


def large_objects(expected: Catalog, observed: Catalog) -> Check:
    """Return whether there are as many large objects; each that was digested must be the same."""
    before, after = (
        {one.oid: one for one in catalog.digests.large_objects} if catalog.digests else {}
        for catalog in (expected, observed)
    )
    findings = [
        Finding(code=Code.DIGEST_DIFF, what=f"large object {oid}")
        for oid in sorted(before.keys() & after.keys())
        if before[oid] != after[oid]
    ]
    if expected.large_objects != observed.large_objects:
        findings.append(
            Finding(
                code=Code.ROWCOUNT_DIFF,
                what="large objects",
                expected=str(expected.large_objects),
                observed=str(observed.large_objects),
            )
        )
    return ran("large-objects", 6, compared=expected.large_objects, findings=findings)


def matviews(expected: Catalog, observed: Catalog) -> Check:
    """Return whether every materialised view that was populated has been computed."""
    found = {(one.schema, one.name): one for one in observed.relations}
    both = [
        (one, found[one.schema, one.name])
        for one in expected.relations
        if one.kind == "matview" and (one.schema, one.name) in found
    ]
    findings = [
        Finding(
            code=Code.MATVIEW_UNPOPULATED,
            what=f"materialised view {one.schema}.{one.name}",
            expected="populated",
            observed="not populated",
        )
        for one, other in both
        if one.is_populated and not other.is_populated
    ]
    return ran("matviews", 6, compared=len(both), findings=findings)
