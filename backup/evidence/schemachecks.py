"""Whether the same things are defined: schema, row security, extensions, collations. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from backup.evidence.sides import ROW_SECURITY, Sides, is_rights_only
from backup.evidence.verdict import Check, Code, Finding, not_run, ran
from backup.repository.catalog import Catalog, SchemaObject


def schema(sides: Sides) -> Check:
    """Return whether everything is defined as it was, row security aside."""
    if (reason := _another_major(sides)) is not None:
        return not_run("schema", 4, reason)
    findings = [*_defined(sides, is_row_security=False), *_database(sides)]
    compared_ = sum(_is_readable(pair) for pair in sides.both()) + 1
    return ran("schema", 4, compared=compared_, findings=findings)


def _another_major(sides: Sides) -> str | None:
    """Return why definitions cannot be compared: each major version writes them its own way."""
    expected, observed = _version(sides.expected), _version(sides.observed)
    if expected.split(".")[0] == observed.split(".")[0]:
        return None
    return f"definitions of PostgreSQL {expected} are written otherwise by {observed}"


def _version(catalog: Catalog) -> str:
    return dict(catalog.server_settings).get("server_version", "of unknown version")


def row_security(sides: Sides) -> Check:
    """Return whether policies are as they were, and in force where they were."""
    if (reason := _another_major(sides)) is not None:
        return not_run("row-security", 4, reason)
    findings = list(_defined(sides, is_row_security=True))
    tables = sum(one.kind == "table" for one in sides.observed.objects)
    return ran("row-security", 4, compared=tables, findings=findings)


def _defined(sides: Sides, *, is_row_security: bool) -> Iterator[Finding]:
    """Yield what is missing, added or defined otherwise, but for what hangs on such a table."""
    code = Code.RLS_DIFF if is_row_security else Code.SCHEMA_DIFF
    lost = sides.missing_tables()
    for key in sorted(sides.before.keys() | sides.after.keys()):
        one, other = sides.before.get(key), sides.after.get(key)
        if (key[0] in ROW_SECURITY) is not is_row_security:
            continue
        there = one or other
        if there is not None and there.table in lost:
            continue
        if is_rights_only(key[0]) or sides.is_of_absent_role(key):
            continue
        before, after = _definition(one), _definition(other)
        if before != after:
            yield Finding(code=code, what=" ".join(key), expected=before, observed=after)


def _is_readable(pair: tuple[SchemaObject, SchemaObject]) -> bool:
    return all(one.definition_sha256 is not None for one in pair)


def _definition(one: SchemaObject | None) -> str:
    if one is None:
        return "absent"
    return f"SHA-256 {one.definition_sha256.hex()}" if one.definition_sha256 else "there"


def _database(sides: Sides) -> Iterator[Finding]:
    """Yield what of the database itself is otherwise; its owner and grants are other checks'."""
    expected, observed = sides.expected.database, sides.observed.database
    for name in ("encoding", "collate", "ctype", "locale_provider", "locale", "icu_rules"):
        before, after = getattr(expected, name), getattr(observed, name)
        if before != after:
            yield Finding(
                code=Code.SCHEMA_DIFF, what=f"database {name}", expected=before, observed=after
            )
    kept = {one for one in expected.settings if one.role not in sides.absent_roles}
    for setting in sorted(kept ^ set(observed.settings), key=repr):
        yield Finding(
            code=Code.SCHEMA_DIFF,
            what=f"database setting {setting.name} for {setting.role or 'every role'}",
            expected="set" if setting in kept else "absent or otherwise",
            observed="absent or otherwise" if setting in kept else "set",
        )


def extensions(expected: Catalog, observed: Catalog) -> Check:
    """Return whether the same extensions are there, in the same versions and schemas."""
    before, after = (
        {one.name: f"{one.version} in {one.schema}" for one in catalog.extensions}
        for catalog in (expected, observed)
    )
    findings = [
        Finding(
            code=Code.EXTENSION_DIFF,
            what=f"extension {name}",
            expected=before.get(name, "absent"),
            observed=after.get(name, "absent"),
        )
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return ran("extensions", 4, compared=len(before), findings=findings)


def collations(expected: Catalog, observed: Catalog) -> Check:
    """Return whether text is sorted as it was: a library of another version may do otherwise."""
    found = {one.name: one.version for one in observed.collations}
    both = [one for one in expected.collations if one.name in found]
    findings = [
        Finding(
            code=Code.COLLATION_MISMATCH,
            what=f"collation {one.name or 'of the database'}",
            expected=one.version,
            observed=found[one.name],
        )
        for one in both
        if one.version != found[one.name]
    ]
    return ran("collations", 4, compared=len(both), findings=findings)
