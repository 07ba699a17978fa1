"""Laws of the linter's relations between rules, held against single connections."""

from __future__ import annotations

import functools
import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from deploy.core import hba
from deploy.core.access import AccessRule

NAMES = ("a", "b", "c")
ADDRESSES = tuple(ipaddress.ip_address(f"192.0.2.{n}") for n in range(8))
lists = st.one_of(
    st.just(("all",)),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(tuple),
)
databases = st.one_of(lists, st.just(("replication",)), st.just(("a", "replication")))
networks = st.integers(29, 32).flatmap(
    lambda bits: st.sampled_from(
        list(ipaddress.ip_network("192.0.2.0/29").subnets(new_prefix=bits))
    )
)
rules = st.builds(
    AccessRule,
    databases=databases,
    roles=lists,
    address=networks,
    method=st.sampled_from(["scram-sha-256", "cert", "reject"]),
)


# Every connection of a small world.
CONNECTIONS: list[dict[str, object]] = [
    {"database": database, "role": role, "address": address}
    for database in (*NAMES, "replication")
    for role in NAMES
    for address in ADDRESSES
]


@functools.lru_cache(maxsize=1024)
def fitting(rule: AccessRule) -> frozenset[int]:
    """The connections that a rule fits."""
    return frozenset(
        number
        for number, one in enumerate(CONNECTIONS)
        if hba.first_match([rule], **one) is rule  # type: ignore[arg-type]
    )


@given(rules, rules)
def test_a_rule_covers_another_when_it_fits_all_that_it_fits(
    one: AccessRule, other: AccessRule
) -> None:
    """Whoever is covered never counts; nothing else is called covered."""
    if hba.covers(one, other):
        assert fitting(other) <= fitting(one)


@given(rules, rules)
def test_rules_overlap_when_some_connection_fits_both(one: AccessRule, other: AccessRule) -> None:
    """And are said to do so then only, either way round."""
    assert hba.overlap(one, other) == bool(fitting(one) & fitting(other))
    assert hba.overlap(one, other) == hba.overlap(other, one)


@given(st.lists(rules, max_size=5))
def test_without_findings_every_rule_counts_for_someone(some: list[AccessRule]) -> None:
    """What the linter lets pass has no rule that a single earlier one makes dead."""
    problems = hba.lint(some)
    for position, rule in enumerate(some):
        if any(fitting(rule) <= fitting(earlier) for earlier in some[:position]):
            assert problems
