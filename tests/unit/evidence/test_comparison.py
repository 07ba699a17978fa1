"""Two catalogues side by side: each thing that is wrong is found once, with its own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from backup.evidence.comparison import compare, compared, sequence_results, table_results
from backup.evidence.verdict import Check
from backup.repository.catalog import (
    RIGHTS,
    SUBSCRIPTIONS,
    Catalog,
    Collation,
    DatabaseSetting,
    DefaultPrivileges,
    Digests,
    Extension,
    Grant,
    LargeObjectDigest,
    LargeObjectRights,
    ObjectGrant,
    Relation,
    Role,
    SchemaObject,
    Sequence,
    TableDigest,
)
from tests.samples import catalog


def defined(kind: str, name: str, **changes: object) -> SchemaObject:
    values: dict[str, object] = {
        "definition_sha256": b"\xaa" * 32,
        "owner": "owner",
        "grants": None,
        "table": None,
        "is_validated": None,
    }
    return SchemaObject(kind=kind, name=name, **{**values, **changes})  # type: ignore[arg-type] # a test passes what it means


def granted(grantee: str | None, *privileges: str, column: str | None = None) -> ObjectGrant:
    return ObjectGrant(grantee=grantee, column=column, privileges=privileges)


def role(name: str, **changes: object) -> Role:
    values: dict[str, object] = {
        "is_superuser": False,
        "can_login": True,
        "bypasses_row_security": False,
        "member_of": (),
    }
    return Role(name=name, **{**values, **changes})  # type: ignore[arg-type] # a test passes what it means


def digest(name: str, text: str, rows: int = 3) -> TableDigest:
    return TableDigest(schema="public", name=name, rows=rows, sha256=text * 64)


def large(owner: str, count: int, *grants: ObjectGrant) -> LargeObjectRights:
    return LargeObjectRights(
        owner=owner, grants=grants or None, count=count, oids_sha256=str(count) * 64
    )


TABLE = defined("table", "public.clients", grants=(granted("owner", "SELECT"),))
GIVEN = defined("view", "public.given", grants=(granted("reader", "SELECT", column="a"),))
INDEX = defined("index", "public.by_name", owner=None, table="public.clients")
POLICY = defined("policy", "own on public.clients", owner=None, table="public.clients")
MAPPING = defined("user mapping", "reader on elsewhere", definition_sha256=None, owner=None)
RESET = defined(
    "rights on function",
    "pg_stat_reset()",
    definition_sha256=None,
    owner=None,
    grants=(granted("reader", "EXECUTE"),),
)
DEFAULTS = DefaultPrivileges(
    role="owner", schema=None, objects="r", grants=(granted("reader", "SELECT"),)
)
MEMBER = replace(RESET, kind="rights on extension function", name="public.distance()")
NEWS = defined("subscription", "news")
OBJECTS = (TABLE, GIVEN, INDEX, POLICY, MAPPING, RESET, MEMBER, NEWS)
NUMBERS = Sequence(schema="public", name="numbers", last_value=7, is_called=True)
WHOLE = replace(
    catalog(),
    relations=(
        Relation(schema="public", name="clients", kind="table", size_bytes=1, rows=3),
        Relation(schema="public", name="parent", kind="partitioned", size_bytes=0, rows=None),
        Relation(schema="public", name="totals", kind="matview", size_bytes=1, rows=1),
    ),
    sequences=(
        NUMBERS,
        replace(NUMBERS, name="down", last_value=-7, is_descending=True),
        replace(NUMBERS, name="around", is_cycling=True),
    ),
    roles=(role("owner", member_of=("staff", "reader"), admin_of=("staff",)), role("reader")),
    objects=OBJECTS,
    default_privileges=(DEFAULTS,),
    collations=(Collation(name=None, version="2.36"), Collation(name="pg_catalog.x", version="1")),
    digests=Digests(
        salt="00" * 32,
        tables=(digest("clients", "7"),),
        large_objects=(
            LargeObjectDigest(oid=1, size_bytes=9, sha256="8" * 64),
            LargeObjectDigest(oid=2, size_bytes=9, sha256="8" * 64),
        ),
    ),
    covers=(RIGHTS, SUBSCRIPTIONS),
)


def findings(checks: tuple[Check, ...]) -> list[tuple[str, str]]:
    return [(finding.code.value, finding.what) for check in checks for finding in check.findings]


def test_what_the_reference_did_not_look_for_is_no_finding() -> None:
    """Of an earlier version, or of a role whose dump has no subscriptions."""
    earlier = replace(without(WHOLE, MEMBER, NEWS), covers=())
    assert findings(compare(earlier, WHOLE)) == []
    assert len(findings(compare(replace(earlier, covers=WHOLE.covers), WHOLE))) == 2


def without(whole: Catalog, *gone: SchemaObject) -> Catalog:
    return replace(whole, objects=tuple(one for one in whole.objects if one not in gone))


def with_other(whole: Catalog, one: SchemaObject, **changes: object) -> Catalog:
    other = replace(one, **changes)  # type: ignore[arg-type] # a test passes what it means
    return replace(whole, objects=tuple(other if had == one else had for had in whole.objects))


def with_database(whole: Catalog, **changes: object) -> Catalog:
    return replace(whole, database=replace(whole.database, **changes))  # type: ignore[arg-type] # a test passes what it means


def with_relation(whole: Catalog, position: int, **changes: object) -> Catalog:
    relations = list(whole.relations)
    relations[position] = replace(relations[position], **changes)  # type: ignore[arg-type] # a test passes what it means
    return replace(whole, relations=tuple(relations))


def with_sequence(whole: Catalog, position: int, **changes: object) -> Catalog:
    sequences = list(whole.sequences)
    sequences[position] = replace(sequences[position], **changes)  # type: ignore[arg-type] # a test passes what it means
    return replace(whole, sequences=tuple(sequences))


def with_digests(whole: Catalog, **changes: object) -> Catalog:
    assert whole.digests is not None
    return replace(whole, digests=replace(whole.digests, **changes))  # type: ignore[arg-type] # a test passes what it means


CHANGES: dict[str, tuple[Callable[[Catalog], Catalog], list[tuple[str, str]]]] = {
    "a table with all that hangs on it": (
        lambda whole: replace(without(whole, TABLE, INDEX, POLICY), relations=whole.relations[1:]),
        [("SCHEMA_DIFF", "table public.clients")],
    ),
    "an index": (lambda whole: without(whole, INDEX), [("SCHEMA_DIFF", "index public.by_name")]),
    "a user mapping": (
        lambda whole: without(whole, MAPPING),
        [("SCHEMA_DIFF", "user mapping reader on elsewhere")],
    ),
    "something more": (
        lambda whole: replace(whole, objects=(*whole.objects, defined("table", "public.new"))),
        [("SCHEMA_DIFF", "table public.new")],
    ),
    "another column, and so other bytes": (
        lambda whole: with_digests(
            with_other(whole, TABLE, definition_sha256=b"\xbb" * 32),
            tables=(digest("clients", "6"),),
        ),
        [("SCHEMA_DIFF", "table public.clients")],
    ),
    "another encoding": (
        lambda whole: with_database(whole, encoding="LATIN1"),
        [("SCHEMA_DIFF", "database encoding")],
    ),
    "settings": (
        lambda whole: with_database(
            whole, settings=(DatabaseSetting(role="owner", name="timezone", value="UTC"),)
        ),
        [
            ("SCHEMA_DIFF", "database setting timezone for owner"),
            ("SCHEMA_DIFF", "database setting work_mem for every role"),
        ],
    ),
    "a policy": (
        lambda whole: without(whole, POLICY),
        [("RLS_DIFF", "policy own on public.clients")],
    ),
    "an attribute of a role": (
        lambda whole: replace(whole, roles=(whole.roles[0], role("reader", is_superuser=True))),
        [("ROLE_DIFF", "role reader")],
    ),
    "a membership": (
        lambda whole: replace(whole, roles=(role("owner"), role("reader"))),
        [("ACL_DIFF", "memberships of owner")],
    ),
    "an owner": (
        lambda whole: with_other(
            whole, TABLE, owner="reader", grants=(granted("reader", "SELECT"),)
        ),
        [("OWNER_DIFF", "table public.clients")],
    ),
    "an owner with his default rights": (
        lambda whole: with_other(whole, TABLE, owner="reader", grants=None),
        [("OWNER_DIFF", "table public.clients")],
    ),
    "the database's owner": (
        lambda whole: with_database(whole, owner="reader"),
        [("OWNER_DIFF", "database")],
    ),
    "a grant on a column": (
        lambda whole: with_other(whole, GIVEN, grants=None),
        [("ACL_DIFF", "view public.given")],
    ),
    "a grant to everybody": (
        lambda whole: with_other(
            whole, GIVEN, grants=(*(GIVEN.grants or ()), granted(None, "SELECT"))
        ),
        [("ACL_DIFF", "view public.given")],
    ),
    "a grant on what initdb made": (
        lambda whole: without(whole, RESET),
        [("ACL_DIFF", "rights on function pg_stat_reset()")],
    ),
    "a grant on what an extension made": (
        lambda whole: without(whole, MEMBER),
        [("ACL_DIFF", "rights on extension function public.distance()")],
    ),
    "a subscription": (
        lambda whole: without(whole, NEWS),
        [("SCHEMA_DIFF", "subscription news")],
    ),
    "default privileges": (
        lambda whole: replace(whole, default_privileges=()),
        [("ACL_DIFF", "default privileges of owner in every schema for r")],
    ),
    "grants on the database": (
        lambda whole: with_database(whole, grants=None),
        [("ACL_DIFF", "database")],
    ),
    "an extension": (
        lambda whole: replace(whole, extensions=()),
        [("EXTENSION_DIFF", "extension plpgsql")],
    ),
    "another extension": (
        lambda whole: replace(
            whole,
            extensions=(*whole.extensions, Extension(name="x", version="1", schema="public")),
        ),
        [("EXTENSION_DIFF", "extension x")],
    ),
    "collations": (
        lambda whole: replace(
            whole,
            collations=(
                Collation(name=None, version="2.40"),
                Collation(name="pg_catalog.x", version="2"),
            ),
        ),
        [
            ("COLLATION_MISMATCH", "collation of the database"),
            ("COLLATION_MISMATCH", "collation pg_catalog.x"),
        ],
    ),
    "a collation that is not used": (
        lambda whole: replace(whole, collations=whole.collations[:1]),
        [],
    ),
    "rows, and so other bytes": (
        lambda whole: with_digests(
            with_relation(whole, 0, rows=2), tables=(digest("clients", "6", rows=2),)
        ),
        [("ROWCOUNT_DIFF", "table public.clients")],
    ),
    "a view that was not refreshed for long": (lambda whole: with_relation(whole, 2, rows=5), []),
    "a cent": (
        lambda whole: with_digests(whole, tables=(digest("clients", "6"),)),
        [("DIGEST_DIFF", "table public.clients")],
    ),
    "a sequence behind": (
        lambda whole: with_sequence(whole, 0, last_value=6),
        [("SEQUENCE_BEHIND", "sequence public.numbers")],
    ),
    "a sequence not called": (
        lambda whole: with_sequence(whole, 0, is_called=False),
        [("SEQUENCE_BEHIND", "sequence public.numbers")],
    ),
    "a sequence that goes down": (
        lambda whole: with_sequence(whole, 1, last_value=-6),
        [("SEQUENCE_BEHIND", "sequence public.down")],
    ),
    "a sequence further on": (lambda whole: with_sequence(whole, 0, last_value=8), []),
    "a sequence that goes round": (lambda whole: with_sequence(whole, 2, last_value=1), []),
    "a large object's content": (
        lambda whole: with_digests(
            whole,
            large_objects=(
                LargeObjectDigest(oid=1, size_bytes=9, sha256="8" * 64),
                LargeObjectDigest(oid=2, size_bytes=9, sha256="9" * 64),
            ),
        ),
        [("DIGEST_DIFF", "large object 2")],
    ),
    "a large object": (
        lambda whole: replace(whole, large_objects=1),
        [("ROWCOUNT_DIFF", "large objects")],
    ),
    "a large object's owner": (
        lambda whole: replace(whole, large_object_rights=(large("owner", 1), large("reader", 1))),
        [("OWNER_DIFF", "large objects")],
    ),
    "rights on a large object": (
        lambda whole: replace(
            whole,
            large_object_rights=(large("owner", 1), large("owner", 1, granted(None, "SELECT"))),
        ),
        [("ACL_DIFF", "large objects")],
    ),
    "a large object and its rights": (
        lambda whole: replace(whole, large_objects=1, large_object_rights=(large("owner", 1),)),
        [("ROWCOUNT_DIFF", "large objects")],
    ),
    "a materialised view": (
        lambda whole: with_relation(whole, 2, rows=None, is_populated=False),
        [("MATVIEW_UNPOPULATED", "materialised view public.totals")],
    ),
    "rows of every table": (
        lambda whole: with_relation(with_relation(whole, 0, rows=0), 2, rows=0),
        [("EMPTY_RESTORE", "database")],
    ),
    "everything": (
        lambda whole: replace(whole, relations=(), objects=(), sequences=(), extensions=()),
        [("EMPTY_RESTORE", "database")],
    ),
}


def test_equal_databases_pass_every_check() -> None:
    """Twelve checks of levels 4 to 6, each of which compared something."""
    checks = compare(WHOLE, WHOLE)
    assert [(check.id, check.level) for check in checks] == [
        ("schema", 4),
        ("roles", 4),
        ("owners", 4),
        ("grants", 4),
        ("row-security", 4),
        ("extensions", 4),
        ("collations", 4),
        ("row-counts", 5),
        ("digests", 6),
        ("sequences", 6),
        ("large-objects", 6),
        ("matviews", 6),
    ]
    assert all(check.status == "passed" and check.compared for check in checks)


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_has_its_findings(change: str) -> None:
    """By code and by name, and nothing that only follows from it."""
    changed, expected = CHANGES[change]
    checks = compare(WHOLE, changed(WHOLE))
    assert findings(checks) == expected
    assert [check.id for check in checks] == [check.id for check in compare(WHOLE, WHOLE)]


def test_a_role_that_is_missing_is_one_finding() -> None:
    """What it owned, was given, was a member of, set or mapped is left out with it."""
    expected = with_database(
        replace(
            with_other(WHOLE, INDEX, owner="reader", table=None),
            default_privileges=(DEFAULTS, replace(DEFAULTS, role="reader")),
            large_object_rights=(large("reader", 1), large("owner", 1)),
        ),
        settings=(DatabaseSetting(role="reader", name="work_mem", value="1MB"),),
        grants=(
            Grant(grantee="reader", privilege="CONNECT", is_grantable=True),
            Grant(grantee=None, privilege="CONNECT", is_grantable=False),
        ),
    )
    observed = with_other(
        without(
            replace(
                WHOLE,
                roles=(role("owner", member_of=("staff",), admin_of=("staff",)),),
                default_privileges=(),
            ),
            MAPPING,
            RESET,
        ),
        GIVEN,
        grants=None,
    )
    observed = with_other(with_database(observed, settings=()), INDEX, table=None)
    assert findings(compare(expected, observed)) == [("ROLE_ABSENT", "role reader")]


def test_definitions_of_another_major_are_not_compared() -> None:
    """They are written otherwise, so nothing is proven; rows are compared all the same."""
    observed = replace(WHOLE, server_settings=(("server_version", "16.1"),), objects=())
    checks = {check.id: check for check in compare(WHOLE, observed)}
    for name in ("schema", "row-security"):
        assert checks[name].status == "not_run"
        assert "15.14" in (checks[name].reason or "")
    assert checks["row-counts"].status == "passed"
    unknown = replace(WHOLE, server_settings=())
    assert compare(unknown, unknown)[0].status == "passed"


def test_without_digests_the_check_does_not_run() -> None:
    """And says on which side they are missing; large objects are counted all the same."""
    bare = replace(WHOLE, digests=None)
    for expected, observed, reason in (
        (bare, WHOLE, "when the backup was"),
        (WHOLE, bare, "of the restored database"),
    ):
        checks = {check.id: check for check in compare(expected, observed)}
        assert checks["digests"].status == "not_run"
        assert reason in (checks["digests"].reason or "")
        assert checks["large-objects"].status == "passed"


def test_a_database_that_was_empty_may_be_empty() -> None:
    """There is nothing to find, and nothing was compared."""
    nothing = replace(WHOLE, relations=(), digests=None)
    assert findings(compare(nothing, nothing)) == []


def test_results_are_of_what_the_backup_holds() -> None:
    """Tables that were counted there; what is not here is unknown."""
    whole = with_relation(WHOLE, 2, kind="table")
    observed = replace(whole, relations=WHOLE.relations[:2], sequences=WHOLE.sequences[1:])
    one, other = table_results(whole, observed)
    assert (one.name, one.rows_restored, one.is_compared) == ("clients", 3, True)
    assert one.digest_source == one.digest_restored == "7" * 64
    assert (other.name, other.rows_restored, other.is_compared) == ("totals", None, False)
    assert other.digest_source is None
    assert [result.last_value_restored for result in sequence_results(WHOLE, observed)] == [
        None,
        -7,
        7,
    ]
    numbers = compared(whole, without(observed, INDEX))
    assert (numbers.tables_in_scope, numbers.tables_counted, numbers.tables_digested) == (2, 1, 1)
    assert (numbers.rows_compared, numbers.large_objects, numbers.schema_objects) == (3, 2, 7)
