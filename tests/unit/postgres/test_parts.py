"""Every table's data is in exactly one part, and the parts keep all workers busy."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from backup.postgres.parts import MAX_TABLE_PARTS, THRESHOLD_BYTES, Part, plan_parts
from backup.repository.catalog import Relation, RelationKind

MIB = 1024 * 1024


def table(name: str, size_mib: int) -> Relation:
    return Relation(schema="s", name=name, kind="table", size_bytes=size_mib * MIB, rows=None)


def names(parts: tuple[Part, ...]) -> list[str]:
    return [part.relation.name if part.relation else part.name for part in parts]


def test_an_empty_database_has_the_three_parts_that_are_always_there() -> None:
    """Schema first, since nothing tells how long it takes; globals last."""
    assert names(plan_parts([], jobs=2)) == ["schema", "rest", "globals"]


def test_large_tables_stand_apart_and_start_largest_first() -> None:
    """What is below the threshold stays together."""
    tables = [table("small", 63), table("large", 300), table("larger", 4000), table("edge", 64)]
    parts = plan_parts(tables, jobs=2, threshold=64 * MIB)
    assert names(parts) == ["schema", "larger", "large", "edge", "rest", "globals"]
    assert [part.name for part in parts if part.relation] == ["table-1", "table-2", "table-3"]
    assert [part.size_bytes // MIB for part in parts] == [0, 4000, 300, 64, 63, 0]


def test_rest_starts_where_its_size_puts_it() -> None:
    """Large objects count towards it."""
    parts = plan_parts([table("large", 100)], jobs=2, large_object_bytes=500 * MIB)
    assert names(parts) == ["schema", "rest", "large", "globals"]


def test_four_tables_a_job_stand_apart_when_the_rest_is_small() -> None:
    """More would start more processes than they win."""
    sizes = [10_000, *[5_000 - number for number in range(20)]]
    tables = [table(f"t{number}", size) for number, size in enumerate(sizes)]
    small = [table("giant", 2_000_000)]
    parts = plan_parts(small + tables, jobs=2)
    assert sum(part.kind == "table" for part in parts) == 8


def test_more_tables_stand_apart_while_the_rest_is_more_than_a_fair_share() -> None:
    """A thousand equal tables are not left to one worker, up to the limit."""
    tables = [table(f"t{number}", 100) for number in range(100)]
    parts = plan_parts(tables, jobs=2)
    assert sum(part.kind == "table" for part in parts) == 50
    many = [table(f"t{number}", 100) for number in range(1000)]
    assert sum(part.kind == "table" for part in plan_parts(many, jobs=4)) == MAX_TABLE_PARTS


def test_only_plain_tables_stand_apart() -> None:
    """Extension tables keep pg_dump's own rules; parents, views and foreign tables have no data."""
    large = table("t", 1000)
    others = [
        replace(large, name="e", extension="postgis"),
        *(replace(large, name=kind, kind=kind) for kind in get_args(RelationKind)[1:]),
    ]
    assert names(plan_parts(others, jobs=2)) == ["schema", "rest", "globals"]


def test_equal_names_in_two_schemas_are_two_tables() -> None:
    """A part is told by schema and name."""
    one = table("t", 100)
    parts = plan_parts([one, replace(one, schema="other")], jobs=1)
    assert [part.relation.schema for part in parts if part.relation] == ["other", "s"]


RELATIONS = st.lists(
    st.builds(
        Relation,
        schema=st.sampled_from("ab"),
        name=st.text(max_size=3),
        kind=st.sampled_from(get_args(RelationKind)),
        size_bytes=st.integers(0, 4 * THRESHOLD_BYTES),
        rows=st.none(),
        extension=st.sampled_from([None, None, "x"]),
    ),
    unique_by=lambda relation: (relation.schema, relation.name),
    max_size=60,
)


@given(relations=RELATIONS, jobs=st.integers(1, 4), objects=st.integers(0, THRESHOLD_BYTES))
def test_all_data_is_in_exactly_one_part(
    relations: list[Relation], jobs: int, objects: int
) -> None:
    """Tables apart are distinct, `rest` has all other bytes, part names are unique."""
    parts = plan_parts(relations, jobs=jobs, large_object_bytes=objects)
    apart = [part.relation for part in parts if part.relation is not None]
    assert len(set(apart)) == len(apart)
    assert set(apart) <= {one for one in relations if one.kind == "table"}
    data = sum(one.size_bytes for one in relations if one.kind == "table") + objects
    assert sum(part.size_bytes for part in parts) == data
    assert len({part.name for part in parts}) == len(parts)
    assert [part.kind for part in parts].count("rest") == 1
    assert (parts[0].kind, parts[-1].kind) == ("schema", "globals")
    sizes = [part.size_bytes for part in parts[1:-1]]
    assert sizes == sorted(sizes, reverse=True)


@given(relations=RELATIONS, jobs=st.integers(1, 4), random=st.randoms(use_true_random=False))
def test_the_order_of_tables_does_not_matter(
    relations: list[Relation], jobs: int, random: Random
) -> None:
    """The same database gives the same plan."""
    plan = plan_parts(relations, jobs=jobs)
    random.shuffle(relations)
    assert plan_parts(relations, jobs=jobs) == plan


def test_what_is_worth_a_dump_of_its_own_grows_with_the_catalogue() -> None:
    """pg_dump reads every relation before it starts: with 5,000 a part has to be larger."""
    few = [table("large", 100), table("small", 1)]
    many = [table("large", 100), *(table(f"t{number}", 1) for number in range(5000))]
    assert names(plan_parts(few, jobs=2)) == ["schema", "large", "rest", "globals"]
    assert names(plan_parts(many, jobs=2)) == ["schema", "rest", "globals"]
