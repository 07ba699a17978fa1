"""Laws of the verdict, for any set of checks."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from backup.evidence.verdict import Check, Code, Finding, Verdict, Word, judge, not_run, ran

NOW = datetime(2026, 1, 14, 2, 0, tzinfo=UTC)
BADNESS = [Word.PASS, Word.INCONCLUSIVE, Word.FAIL]
FINDINGS = st.builds(
    Finding, code=st.sampled_from(Code), what=st.sampled_from(["table a", "table b"])
)
CHECKS = st.lists(
    st.one_of(
        st.builds(
            ran,
            st.sampled_from("abc"),
            st.integers(0, 9),
            compared=st.integers(0, 3),
            findings=st.lists(FINDINGS, max_size=2),
        ),
        st.builds(not_run, st.sampled_from("abc"), st.integers(0, 9), st.just("no time")),
    ),
    max_size=6,
)


def judged(checks: list[Check]) -> Verdict:
    """The verdict when one check is required and all tables were compared."""
    return judge(
        checks,
        required=frozenset("a"),
        tables_in_scope=1,
        tables_compared=1,
        waivers=(),
        seal=1,
        at=NOW,
    )


@given(CHECKS, FINDINGS)
def test_another_finding_never_helps(checks: list[Check], finding: Finding) -> None:
    """Neither the word nor the level gets better."""
    before = judged(checks)
    after = judged([*checks, ran("d", 0, compared=1, findings=[finding])])
    if any(check.status != "not_run" and check.compared for check in checks):
        assert BADNESS.index(after.word) >= BADNESS.index(before.word)
    assert after.word is not Word.PASS
    assert after.level <= before.level


@given(CHECKS, st.randoms(use_true_random=False))
def test_order_does_not_matter(checks: list[Check], chance: random.Random) -> None:
    """Word and level are the same for every order of different checks."""
    unique = list({check.id: check for check in checks}.values())
    shuffled = unique.copy()
    chance.shuffle(shuffled)
    one, other = judged(unique), judged(shuffled)
    assert (one.word, one.level) == (other.word, other.level)


@given(CHECKS)
def test_a_pass_has_no_open_finding(checks: list[Check]) -> None:
    """PASS means that every finding has somebody who answers for it; here nobody does."""
    verdict = judged(checks)
    assert (verdict.word is Word.PASS) == (not verdict.findings)
