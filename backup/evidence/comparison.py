"""Whether a restored database is the one that was dumped: two catalogues, held side by side. Pure.

Each thing that is wrong has one finding: what hangs on something that is missing is not reported
again, and neither is what was left out because a role is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backup.evidence.report import SequenceResult, TableResult
from backup.evidence.verdict import Check, Code, Finding, not_run, ran
from backup.repository.catalog import (
    Catalog,
    ObjectGrant,
    Relation,
    Role,
    SchemaObject,
    Sequence,
    TableDigest,
)

_ROW_SECURITY = frozenset({"policy", "row security"})
# What initdb made: it is there anyway, and listed for the rights that somebody gave on it.
_RIGHTS_ONLY = "rights on function"
_EMPTY = "nothing is in the restored database"
_NO_DIGESTS = "no content digests were taken when the backup was"
_NOT_OBSERVED = "no content digests were taken of the restored database"


def compare(expected: Catalog, observed: Catalog) -> tuple[Check, ...]:
    """Return the checks of levels 4 to 6: the source at the dump's snapshot against the restored.

    The digests of both must have the same salt.
    """
    sides = _Sides.of(expected, observed)
    is_empty = _is_empty(expected, observed)
    rows = _rows(expected, observed, is_empty=is_empty)
    if is_empty:
        # One thing is wrong. What an empty database lacks beside is no news.
        return (
            *(not_run(id_, 4, _EMPTY) for id_ in _LEVEL_4),
            rows,
            *(not_run(id_, 6, _EMPTY) for id_ in _LEVEL_6),
        )
    return (
        _schema(sides),
        _roles(sides),
        _owners(sides),
        _grants(sides),
        _row_security(sides),
        _extensions(expected, observed),
        _collations(expected, observed),
        rows,
        _digests(sides),
        _sequences(expected, observed),
        _large_objects(expected, observed),
        _matviews(expected, observed),
    )


_LEVEL_4 = ("schema", "roles", "owners", "grants", "row-security", "extensions", "collations")
_LEVEL_6 = ("digests", "sequences", "large-objects", "matviews")


def table_results(expected: Catalog, observed: Catalog) -> tuple[TableResult, ...]:
    """Return what is known of each table of the backup that is to have rows of its own."""
    found = {(one.schema, one.name): one for one in observed.relations}
    before, after = _digested(expected), _digested(observed)
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
        if one.rows is not None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """Both catalogues, and what several checks ask of them."""

    expected: Catalog
    observed: Catalog
    before: dict[tuple[str, str], SchemaObject]
    after: dict[tuple[str, str], SchemaObject]
    absent_roles: frozenset[str]

    @classmethod
    def of(cls, expected: Catalog, observed: Catalog) -> _Sides:
        return cls(
            expected=expected,
            observed=observed,
            before={(one.kind, one.name): one for one in expected.objects},
            after={(one.kind, one.name): one for one in observed.objects},
            absent_roles=frozenset(one.name for one in expected.roles)
            - {one.name for one in observed.roles},
        )

    def both(self) -> Iterator[tuple[SchemaObject, SchemaObject]]:
        """Yield what is defined on both sides, in order."""
        for key, one in self.before.items():
            if key in self.after and key[0] != _RIGHTS_ONLY:
                yield one, self.after[key]

    def missing_tables(self) -> set[str]:
        """Return the identities of relations that only one side has."""
        only_one = self.before.keys() ^ self.after.keys()
        return {name for kind, name in only_one if kind not in _ROW_SECURITY}

    def is_of_absent_role(self, key: tuple[str, str]) -> bool:
        """Return whether it went with a role: a user mapping."""
        return key[0] == "user mapping" and key[1].split(" on ")[0] in self.absent_roles

    def changed(self) -> set[str]:
        """Return the identities of what is defined otherwise on the two sides."""
        return {
            one.name
            for one, other in self.both()
            if one.definition_sha256 != other.definition_sha256
        }


def _schema(sides: _Sides) -> Check:
    expected, observed = _version(sides.expected), _version(sides.observed)
    if expected.split(".")[0] != observed.split(".")[0]:
        return not_run(
            "schema",
            4,
            f"dumped from PostgreSQL {expected}, restored by {observed}:"
            " definitions are written otherwise",
        )
    findings = [*_defined(sides, is_row_security=False), *_database(sides)]
    compared_ = sum(_is_readable(pair) for pair in sides.both()) + 1
    return ran("schema", 4, compared=compared_, findings=findings)


def _version(catalog: Catalog) -> str:
    return dict(catalog.server_settings).get("server_version", "of unknown version")


def _row_security(sides: _Sides) -> Check:
    findings = list(_defined(sides, is_row_security=True))
    tables = sum(one.kind == "table" for one in sides.observed.objects)
    return ran("row-security", 4, compared=tables, findings=findings)


def _defined(sides: _Sides, *, is_row_security: bool) -> Iterator[Finding]:
    """Yield what is missing, added or defined otherwise, but for what hangs on such a table."""
    code = Code.RLS_DIFF if is_row_security else Code.SCHEMA_DIFF
    lost = sides.missing_tables()
    for key in sorted(sides.before.keys() | sides.after.keys()):
        one, other = sides.before.get(key), sides.after.get(key)
        if (key[0] in _ROW_SECURITY) is not is_row_security:
            continue
        there = one or other
        if there is not None and there.table in lost:
            continue
        if key[0] == _RIGHTS_ONLY or sides.is_of_absent_role(key):
            continue
        before, after = _definition(one), _definition(other)
        if before != after:
            yield Finding(code=code, what=" ".join(key), expected=before, observed=after)


def _is_readable(pair: tuple[SchemaObject, SchemaObject]) -> bool:
    return all(one.definition_sha256 is not None for one in pair)


def _definition(one: SchemaObject | None) -> str:
    if one is None:
        return "absent"
    return f"SHA-256 {one.definition_sha256}" if one.definition_sha256 else "there"


def _database(sides: _Sides) -> Iterator[Finding]:
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


def _roles(sides: _Sides) -> Check:
    found = {one.name: one for one in sides.observed.roles}
    findings = []
    for role in sides.expected.roles:
        expected, other = _attributes(role), found.get(role.name)
        observed = "absent" if other is None else _attributes(other)
        if expected != observed:
            findings.append(
                Finding(
                    code=Code.ROLE_ABSENT,
                    what=f"role {role.name}",
                    expected="there" if other is None else expected,
                    observed=observed,
                )
            )
    return ran("roles", 4, compared=len(sides.expected.roles), findings=findings)


def _attributes(role: Role) -> str:
    words = {
        "SUPERUSER": role.is_superuser,
        "LOGIN": role.can_login,
        "BYPASSRLS": role.bypasses_row_security,
    }
    return ", ".join((*(word for word, has in words.items() if has), *role.attributes))


def _owners(sides: _Sides) -> Check:
    owners = [
        ("database", sides.expected.database.owner, sides.observed.database.owner),
        *((f"{one.kind} {one.name}", one.owner, other.owner) for one, other in sides.both()),
    ]
    compared_ = [item for item in owners if item[1] is not None]
    findings = [
        Finding(code=Code.OWNER_DIFF, what=what, expected=before, observed=after)
        for what, before, after in compared_
        if before != after and before not in sides.absent_roles
    ]
    return ran("owners", 4, compared=len(compared_), findings=findings)


def _grants(sides: _Sides) -> Check:
    items = list(_granted(sides))
    findings = [
        Finding(code=Code.ACL_DIFF, what=what, expected=before, observed=after)
        for what, before, after in items
        if before != after
    ]
    return ran("grants", 4, compared=len(items), findings=findings)


def _granted(sides: _Sides) -> Iterator[tuple[str, str, str]]:
    """Yield each thing that rights are given on, with the rights on both sides as text."""
    for one, other in sides.both():
        # Who owns it has rights because of that; a wrong owner is one finding, and not of rights.
        aside = set(sides.absent_roles)
        if one.owner != other.owner:
            aside |= {owner for owner in (one.owner, other.owner) if owner is not None}
        is_default = None in (one.grants, other.grants)
        if is_default and (one.owner != other.owner or _mentions(one.grants, aside)):
            continue
        yield f"{one.kind} {one.name}", _rights(one.grants, aside), _rights(other.grants, aside)
    yield (
        "database",
        _database_rights(sides, sides.expected),
        _database_rights(sides, sides.observed),
    )
    elsewhere = [_granted_elsewhere(side) for side in (sides.expected, sides.observed)]
    for what in sorted(elsewhere[0].keys() | elsewhere[1].keys()):
        (role, given), (_, found) = (side.get(what, ("", None)) for side in elsewhere)
        if role in sides.absent_roles or (found is None and _mentions(given, sides.absent_roles)):
            continue
        yield what, _rights(given, sides.absent_roles), _rights(found, sides.absent_roles)
    roles = {role.name: role for role in sides.observed.roles}
    for one_role in sides.expected.roles:
        if one_role.name in roles:
            before, after = (
                _memberships(role, sides.absent_roles) for role in (one_role, roles[one_role.name])
            )
            yield f"memberships of {one_role.name}", before, after


def _granted_elsewhere(catalog: Catalog) -> dict[str, tuple[str, tuple[ObjectGrant, ...] | None]]:
    """Return rights that go with no object of this database, and for whose objects they are."""
    defaults = {
        f"default privileges of {one.role} in {one.schema or 'every schema'} for {one.objects}": (
            one.role,
            one.grants,
        )
        for one in catalog.default_privileges
    }
    return defaults | {
        f"{one.kind} {one.name}": ("", one.grants)
        for one in catalog.objects
        if one.kind == _RIGHTS_ONLY
    }


def _mentions(grants: tuple[ObjectGrant, ...] | None, roles: set[str] | frozenset[str]) -> bool:
    return any(one.grantee in roles for one in grants or ())


def _rights(grants: tuple[ObjectGrant, ...] | None, aside: set[str] | frozenset[str]) -> str:
    if grants is None:
        return "default"
    return "; ".join(
        sorted(
            f"{one.grantee or 'PUBLIC'}{f' on {one.column}' if one.column else ''}:"
            f" {', '.join(one.privileges)}"
            for one in grants
            if one.grantee not in aside
        )
    )


def _database_rights(sides: _Sides, catalog: Catalog) -> str:
    if catalog.database.grants is None:
        return "default"
    return "; ".join(
        sorted(
            f"{one.grantee or 'PUBLIC'}: {one.privilege}{'*' * one.is_grantable}"
            for one in catalog.database.grants
            if one.grantee not in sides.absent_roles
        )
    )


def _memberships(role: Role, aside: frozenset[str]) -> str:
    return ", ".join(
        f"{name}{'*' * (name in role.admin_of)}" for name in role.member_of if name not in aside
    )


def _extensions(expected: Catalog, observed: Catalog) -> Check:
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


def _collations(expected: Catalog, observed: Catalog) -> Check:
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


def _is_empty(expected: Catalog, observed: Catalog) -> bool:
    return any(one.rows for one in expected.relations) and not any(
        one.rows for one in observed.relations
    )


def _rows(expected: Catalog, observed: Catalog, *, is_empty: bool) -> Check:
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
    """Yield the relations that were counted on both sides."""
    found = {(one.schema, one.name): one for one in observed.relations}
    for one in expected.relations:
        other = found.get((one.schema, one.name))
        if other is not None and one.rows is not None and other.rows is not None:
            yield one, other


def _digests(sides: _Sides) -> Check:
    before, after = _digested(sides.expected), _digested(sides.observed)
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


def _digested(catalog: Catalog) -> dict[tuple[str, str], TableDigest]:
    tables = catalog.digests.tables if catalog.digests else ()
    return {(one.schema, one.name): one for one in tables}


def _spellings(schema: str, name: str) -> set[str]:
    """Return how the server may write the name: whether it quotes depends on its key words."""
    quoted = ['"' + part.replace('"', '""') + '"' for part in (schema, name)]
    return {f"{one}.{other}" for one in (schema, quoted[0]) for other in (name, quoted[1])}


def _sequences(expected: Catalog, observed: Catalog) -> Check:
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


def _large_objects(expected: Catalog, observed: Catalog) -> Check:
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


def _matviews(expected: Catalog, observed: Catalog) -> Check:
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
