"""The verdict of a restore test is the worst of what was found, and never better than that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backup.evidence.verdict import (
    HIGHEST_LEVEL,
    Check,
    Code,
    Finding,
    Verdict,
    Waiver,
    Word,
    judge,
    not_run,
    ran,
)

NOW = datetime(2026, 1, 14, 2, 0, tzinfo=UTC)
ROWS = Finding(code=Code.ROWCOUNT_DIFF, what="table public.t", expected="3", observed="2")
LATER = NOW + timedelta(days=1)
SKEW = Finding(code=Code.CLOCK_SKEW, what="clock")


def judged(
    *checks: Check,
    required: frozenset[str] = frozenset(),
    scope: int = 2,
    compared: int = 2,
    waivers: tuple[Waiver, ...] = (),
    seal: int = 2,
    is_stopped: bool = False,
) -> Verdict:
    """The verdict on these checks, everything else being well."""
    return judge(
        checks,
        required=required,
        tables_in_scope=scope,
        tables_compared=compared,
        waivers=waivers,
        seal=seal,
        at=NOW,
        is_stopped=is_stopped,
    )


def waiver(expires: datetime) -> Waiver:
    """Somebody answers for `ROWS` until then."""
    return Waiver(
        code=ROWS.code, what=ROWS.what, approver="cto@firm", reason="known", expires=expires
    )


def codes(verdict: Verdict) -> list[Code]:
    """What was found."""
    return [finding.code for finding in verdict.findings]


def test_a_healthy_test_passes() -> None:
    """Every check ran, compared something and found nothing."""
    verdict = judged(ran("objects", 0, compared=9), ran("ciphertext", 1, compared=9))
    assert (verdict.word, verdict.sentence, verdict.level) == (Word.PASS, "PASS", 1)
    assert verdict.findings == ()


def test_wrong_is_worse_than_unknown() -> None:
    """FAIL wins over INCONCLUSIVE, whatever came first."""
    checks = (
        ran("clock", 0, compared=1, findings=[SKEW]),
        ran("row-counts", 5, compared=2, findings=[ROWS]),
    )
    assert judged(*checks).word is Word.FAIL
    assert judged(*reversed(checks)).word is Word.FAIL
    assert judged(checks[0]).word is Word.INCONCLUSIVE


def test_a_required_check_must_have_run() -> None:
    """One that did not run, and one that nobody has heard of, prove nothing."""
    verdict = judged(
        ran("objects", 0, compared=1),
        not_run("digests", 6, "the source took none"),
        required=frozenset({"digests", "roles"}),
    )
    assert verdict.word is Word.INCONCLUSIVE
    assert [(found.what, found.observed) for found in verdict.findings] == [
        ("check digests", "the source took none"),
        ("check roles", "it is not in the list of checks"),
    ]
    assert judged(ran("objects", 0, compared=1), not_run("smoke", 8, "none")).word is Word.PASS


@pytest.mark.parametrize("checks", [(), (not_run("objects", 0, "no"),), (ran("a", 0, compared=0),)])
def test_nothing_checked_is_never_a_pass(checks: tuple[Check, ...]) -> None:
    """Zero checks, or checks that looked at nothing."""
    verdict = judged(*checks)
    assert verdict.word is Word.INCONCLUSIVE
    assert codes(verdict) == [Code.ZERO_CHECKED]


def test_tables_must_have_been_compared() -> None:
    """None is ZERO_CHECKED, some of them COVERAGE_PARTIAL."""
    check = ran("objects", 0, compared=1)
    assert codes(judged(check, scope=0, compared=0)) == [Code.ZERO_CHECKED]
    assert codes(judged(check, scope=5, compared=0)) == [Code.ZERO_CHECKED]
    assert codes(judged(check, scope=5, compared=4)) == [Code.COVERAGE_PARTIAL]


def test_without_a_signature_nothing_is_proven() -> None:
    """Seal S0."""
    verdict = judged(ran("objects", 0, compared=1), seal=0)
    assert (verdict.word, codes(verdict)) == (Word.INCONCLUSIVE, [Code.SIGNING_UNAVAILABLE])


def test_somebody_may_answer_for_a_finding() -> None:
    """It becomes an exception, is named as one, and its level is still not proven."""
    checks = (
        *(ran(f"check-{level}", level, compared=1) for level in range(5)),
        ran("row-counts", 5, compared=2, findings=[ROWS]),
        ran("digests", 6, compared=2),
    )
    verdict = judged(*checks, waivers=(waiver(NOW + timedelta(days=1)),))
    assert (verdict.word, verdict.sentence) == (Word.PASS, "PASS with 1 exception")
    assert verdict.level == 4
    assert verdict.findings[0].waiver is not None
    other = Finding(code=ROWS.code, what="table public.u")
    both = judged(
        *checks,
        ran("more", 5, compared=1, findings=[other]),
        waivers=(waiver(NOW + timedelta(days=1)),),
    )
    assert (both.word, both.sentence, both.exceptions) == (Word.FAIL, "FAIL", 1)


def test_a_waiver_ends() -> None:
    """At the moment of its expiry it no longer counts."""
    check = ran("row-counts", 5, compared=2, findings=[ROWS])
    assert judged(check, waivers=(waiver(NOW),)).word is Word.FAIL


def test_two_exceptions_are_counted() -> None:
    """The word says how many."""
    waived = waiver(NOW + timedelta(days=1))
    check = ran("row-counts", 0, compared=2, findings=[ROWS, ROWS])
    assert judged(check, waivers=(waived,)).sentence == "PASS with 2 exceptions"


def test_levels_count_without_a_gap() -> None:
    """A level that nobody looked at ends the proof; all of them is the highest."""
    assert judged(ran("restore", 3, compared=1)).level == -1
    assert judged(ran("a", 0, compared=1), ran("b", 2, compared=1)).level == 0
    assert judged(ran("a", 0, compared=1), not_run("b", 0, "no")).level == -1
    every = [ran(f"check-{level}", level, compared=1) for level in range(HIGHEST_LEVEL + 1)]
    assert judged(*every).level == HIGHEST_LEVEL


def test_codes_are_of_two_kinds() -> None:
    """From SOURCE_REFERENCE_MISSING on nothing is proven; before, something is wrong."""
    words = [code.word for code in Code]
    assert words == sorted(words)
    assert Code.ABANDONED.word is Word.FAIL
    assert Code.SOURCE_REFERENCE_MISSING.word is Word.INCONCLUSIVE
    assert Code.STALE.word is Word.INCONCLUSIVE


def test_a_test_that_stopped_has_the_one_reason() -> None:
    """What did not run after a finding is none of its own, unless somebody answers for that one."""
    checks = (
        ran("row-counts", 1, compared=2, findings=[ROWS]),
        not_run("restore", 3, "the backup is damaged"),
    )
    stopped = {"required": frozenset({"restore"}), "scope": 0, "compared": 0, "is_stopped": True}
    assert codes(judged(*checks, **stopped)) == [Code.ROWCOUNT_DIFF]
    waived = judged(*checks, **stopped, waivers=(waiver(NOW + timedelta(days=1)),))
    assert waived.word is Word.INCONCLUSIVE
    assert codes(judged(checks[1], **stopped)) == [
        Code.REQUIRED_CHECK_SKIPPED,
        Code.ZERO_CHECKED,
        Code.ZERO_CHECKED,
    ]
    assert codes(judged(*checks, **stopped, seal=0)) == [
        Code.ROWCOUNT_DIFF,
        Code.SIGNING_UNAVAILABLE,
    ]


def test_a_doubt_about_the_test_counts_like_a_finding() -> None:
    """It is not about what was looked at, so the depth of the proof stays; it can be waived."""
    doubt = Finding(code=Code.POLICY_CHANGED_MID_RUN, what="settings")
    answered = Waiver(
        code=doubt.code, what=doubt.what, approver="cto@firm", reason="known", expires=LATER
    )

    def judged_with(*waivers: Waiver) -> Verdict:
        return judge(
            [ran("objects", 0, compared=1)],
            required=frozenset(),
            tables_in_scope=1,
            tables_compared=1,
            waivers=waivers,
            seal=2,
            at=NOW,
            doubts=[doubt],
        )

    assert (judged_with().word, judged_with().level) == (Word.INCONCLUSIVE, 0)
    assert judged_with(answered).sentence == "PASS with 1 exception"
