"""Which lines of `pg_restore --list` are restored together."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from backup.postgres.selection import Stage, stages

HEAD = b";\n; Archive created at 2026-01-14 02:00:00 UTC\n"
LONG = (
    b"5155; 2606 16390 CONSTRAINT torture by_list by_list_pkey postgres\n",
    b"5152; 1259 16389 INDEX torture by_list_n postgres\n",
    b"5468; 0 16500 MATERIALIZED VIEW DATA torture sums postgres\n",
)
OF_TREES = (
    b"5240; 2606 16400 FK CONSTRAINT torture egg egg_hen postgres\n",
    b"5213; 0 0 INDEX ATTACH torture by_list_a_pkey postgres\n",
    b"5232; 2620 16600 TRIGGER torture by_list on_partitions postgres\n",
    b"5387; 2618 16610 RULE torture rowtype_view _RETURN postgres\n",
    b"5070; 0 16620 ROW SECURITY torture guarded postgres\n",
    b"5071; 3256 16630 POLICY torture guarded own rows postgres\n",
)
# Of no account, though their names say otherwise.
OTHERS = (
    HEAD,
    b"5581; 0 0 COMMENT torture INDEX by_list_n postgres\n",
    b"5584; 0 0 COMMENT torture TRIGGER normal ON triggered postgres\n",
    b"5399; 6104 16700 PUBLICATION - everything postgres\n",
    b"5069; 3466 16710 EVENT TRIGGER - odd TRIGGER event postgres\n",
)


def test_one_session_has_what_locks_a_tree_and_several_what_takes_long() -> None:
    """In the order of the list; what is neither stays with what it stands beside."""
    indexes = HEAD + LONG[0] + LONG[1] + OTHERS[1]
    of_trees = b"".join(OF_TREES) + b"".join(OTHERS[2:])
    views = LONG[2]
    assert list(stages(indexes + of_trees + views)) == [
        Stage(indexes, is_parallel=True),
        Stage(of_trees, is_parallel=False),
        Stage(views, is_parallel=True),
    ]


def test_a_list_that_begins_with_what_locks_a_tree() -> None:
    """No stage is empty, but that of an empty list."""
    assert list(stages(OF_TREES[0])) == [Stage(OF_TREES[0], is_parallel=False)]
    assert list(stages(b"")) == [Stage(b"", is_parallel=True)]


@given(st.lists(st.sampled_from((*LONG, *OF_TREES, *OTHERS))))
def test_every_line_is_in_one_stage_and_in_its_place(lines: list[bytes]) -> None:
    """Whatever the list."""
    found = list(stages(b"".join(lines)))
    assert b"".join(stage.listing for stage in found) == b"".join(lines)
    for stage in found:
        unwanted = OF_TREES if stage.is_parallel else LONG
        assert not any(line in stage.listing for line in unwanted)
    turns = [stage.is_parallel for stage in found]
    assert all(one != next_ for one, next_ in itertools.pairwise(turns))
