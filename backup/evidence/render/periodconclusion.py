"""The answer on page one of a period: are we recoverable? Each database, and the worst. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from backup.evidence.period import RESTORE_TESTS, Happening, Period, Scheduled
from backup.evidence.render import charts, words
from backup.evidence.render.conclusion import ROWS_COUNTED, Status
from backup.evidence.verdict import Code, Word

# Where no schedule of restore tests is kept, what a test proves counts this long.
PROOF_LASTS: Final = timedelta(days=35)
# Outcomes that somebody has to answer for.
BAD = frozenset({"failed", "missed", "unaccounted"})
_WORST = (Status.AT_RISK, Status.NOT_PROVEN, Status.RECOVERABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, and why in plain words; `name` of the database it is about, None: all of them."""

    name: str | None
    status: Status
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A line to follow up: `last` and `count` are of a run of slots in a row."""

    first: Happening
    last: Happening
    count: int


def word_of(one: Happening) -> Word:
    """Return what a happening amounts to."""
    if one.outcome in BAD:
        return Word.FAIL
    if one.outcome != "finished":
        return Word.INCONCLUSIVE
    return charts.word_of(one.verdict or "") if one.kind == "restore test" else Word.PASS


def answer(period: Period) -> Answer:
    """Return the answer for the firm: the worst of its databases, or that nothing is known."""
    if period.log_problems:
        return Answer(
            name=None,
            status=Status.NOT_PROVEN,
            sentence="The evidence log is not whole, so nothing that it tells is proof.",
        )
    answers = answers_by_database(period)
    if not answers:
        return Answer(
            name=None,
            status=Status.NOT_PROVEN,
            sentence="The evidence log tells of no backup and no restore test in this period.",
        )
    status = next(one for one in _WORST if one in {each.status for each in answers})
    alike = [one for one in answers if one.status is status]
    if len(answers) == 1:
        return Answer(name=None, status=status, sentence=f"{alike[0].sentence}")
    return Answer(name=None, status=status, sentence=_of_all(answers, alike, status))


def _of_all(answers: Sequence[Answer], alike: Sequence[Answer], status: Status) -> str:
    many = words.counted(len(answers), "database")
    if status is Status.RECOVERABLE:
        return (
            f"The newest restore test of each of {many} passed, with every table's rows compared."
        )
    names = ", ".join(words.visible(one.name or "") for one in alike[:3])
    more = f" and {len(alike) - 3} more" if len(alike) > 3 else ""
    what = "at risk" if status is Status.AT_RISK else "not proven"
    return f"{len(alike)} of {many} {'is' if len(alike) == 1 else 'are'} {what}: {names}{more}."


def answers_by_database(period: Period) -> list[Answer]:
    """Return the answer for each database, in order of their names."""
    return [_answer(period, name) for name in period.databases]


def _answer(period: Period, name: str) -> Answer:
    happened = [one for one in period.happenings if one.database == name]
    tests = [one for one in happened if one.kind == "restore test" and one.outcome == "finished"]
    schedules = [one for one in period.schedules if one.database == name]
    stale = _stale(period, tests, schedules)
    return Answer(
        name=name,
        status=_status(tests, schedules, is_stale=stale is not None),
        sentence=" ".join([*_sentences(happened, tests, schedules), *filter(None, [stale])]),
    )


def _stale(
    period: Period, tests: Sequence[Happening], schedules: Sequence[Scheduled]
) -> str | None:
    """Return what is said of a newest test that is too old to tell anything of the end."""
    end = min(period.last, period.judged_at)
    kept = [one for one in schedules if one.job in RESTORE_TESTS and one.until is None]
    is_kept = bool(kept) and not any(one.missed or one.unaccounted for one in kept)
    if not tests or is_kept or end - tests[-1].at <= PROOF_LASTS:
        return None
    return (
        f"{Code.STALE.value}: that is {(end - tests[-1].at).days} days before the end, and no"
        " schedule of restore tests was kept."
    )


def _status(
    tests: Sequence[Happening], schedules: Sequence[Scheduled], *, is_stale: bool
) -> Status:
    """Return what the newest test says; what is unaccounted for is a risk, whatever it says."""
    if not tests:
        return Status.NOT_PROVEN
    newest = tests[-1]
    if word_of(newest) is Word.FAIL or any(one.unaccounted for one in schedules):
        return Status.AT_RISK
    is_deep = word_of(newest) is Word.PASS and (newest.level or 0) >= ROWS_COUNTED
    if is_deep and not is_stale:
        return Status.RECOVERABLE
    return Status.NOT_PROVEN


def _sentences(
    happened: Sequence[Happening], tests: Sequence[Happening], schedules: Sequence[Scheduled]
) -> Iterator[str]:
    passed = sum(word_of(one) is Word.PASS for one in tests)
    if tests:
        newest = tests[-1]
        level = "" if newest.level is None else f" at level {newest.level}"
        yield (
            f"{passed} of {words.counted(len(tests), 'restore test')} passed; the newest, of"
            f" {words.day(newest.at)}, says {words.visible(newest.verdict or 'nothing')}{level}."
        )
        if newest.newest_proven_ms is not None:
            yield f"The newest proven backup was {words.span(newest.newest_proven_ms)} old then."
    else:
        yield "No restore test ended in this period."
    backups = [one for one in happened if one.kind == "backup"]
    finished = sum(one.outcome == "finished" for one in backups)
    yield f"{finished} of {words.counted(len(backups), 'backup')} finished."
    missed = sum(one.missed for one in schedules)
    unaccounted = sum(one.unaccounted for one in schedules)
    if missed:
        yield f"{words.counted(missed, 'slot')} {'was' if missed == 1 else 'were'} missed."
    if unaccounted:
        what = f"{words.counted(unaccounted, 'slot')} {'has' if unaccounted == 1 else 'have'}"
        yield f"{what} no entry that answers: nobody knows what became of them."


def troubles(period: Period) -> list[Trouble]:
    """Return what failed, was missed, never ended or proves nothing; slots in a row as one."""
    found: list[Trouble] = []
    before = None
    for one in sorted(period.happenings, key=_place):
        if word_of(one) is Word.PASS:
            pass
        elif before is not None and _is_alike(before, one):
            found[-1] = Trouble(first=found[-1].first, last=one, count=found[-1].count + 1)
        else:
            found.append(Trouble(first=one, last=one, count=1))
        before = one
    return sorted(found, key=lambda one: (one.first.at, one.first.seq))


def unseen(period: Period) -> int:
    """Return how many restore tests ended whose report is not at hand."""
    return sum(
        one.kind == "restore test" and one.outcome == "finished" and not one.has_report
        for one in period.happenings
    )


def _place(one: Happening) -> tuple[str, str, str, str]:
    return one.database, one.kind, one.due or f"{one.at:%Y-%m-%dT%H:%M:%SZ}", one.outcome


def _is_alike(one: Happening, other: Happening) -> bool:
    """Whether the other is the next slot in a run that nobody answered."""
    return (
        one.outcome in {"missed", "unaccounted"}
        and (one.outcome, one.seq, one.kind, one.database)
        == (other.outcome, other.seq, other.kind, other.database)
    )  # fmt: skip
