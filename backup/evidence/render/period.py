"""The pages and tables of a period pack, each made from the bytes of `period.json`. Pure."""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from backup.evidence.period import Happening, Period
from backup.evidence.render import charts
from backup.evidence.render.html import page
from backup.evidence.render.periodconclusion import (
    BAD,
    answer,
    answers_by_database,
    troubles,
    unseen,
    word_of,
)
from backup.evidence.render.tables import encode_csv
from backup.evidence.verdict import Word
from backup.repository.canonical import decode

PERIOD = "period.json"
# The worst first: what a day or a month shows.
_WORST = (Word.FAIL, Word.INCONCLUSIVE, Word.PASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What happened to a database in a month; `word` the worst of it, None: nothing was tested."""

    year: int
    month: int
    backups: int
    failed: int
    tests: int
    passed: int
    word: Word | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A cell of the calendar: a letter, a word for whoever hears it, the class that colours it."""

    letter: str
    word: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfDatabase:
    """All that the page shows of one database."""

    name: str
    months: tuple[Month, ...]
    calendar: tuple[tuple[Month, tuple[Day | None, ...]], ...]
    tests: tuple[Happening, ...]
    recovery_times: Markup | None
    ages: Markup | None


NOTHING = Day(letter="·", word="nothing", kind="nothing")
_DAYS = {
    Word.FAIL: Day(letter="F", word="failed or missed", kind="fail"),
    Word.INCONCLUSIVE: Day(letter="?", word="nothing proven", kind="inconclusive"),
    Word.PASS: Day(letter="P", word="restore test passed", kind="pass"),
}
_BACKUP = Day(letter="B", word="backup", kind="backup")
LEGEND = (*_DAYS.values(), _BACKUP, NOTHING)


def render_period(data: bytes) -> bytes:
    """Return `period.html`; `data` are the bytes of `period.json`."""
    period = decode(Period, data, PERIOD)
    tests = [one for one in period.happenings if one.kind == "restore test"]
    return page(
        "period.html",
        period=period,
        last_day=period.last - timedelta(microseconds=1),
        databases=[
            _of_database(period, name, number) for number, name in enumerate(period.databases)
        ],
        tests=tests,
        passed=[one for one in tests if word_of(one) is Word.PASS],
        backups=[one for one in period.happenings if one.kind == "backup"],
        answer=answer(period),
        answers=answers_by_database(period),
        troubles=troubles(period),
        unseen=unseen(period),
        slowest_ms=max((one.rto_ms for one in tests if one.rto_ms is not None), default=None),
        word_of_happening=word_of,
        legend=LEGEND,
    )


def render_population(period: Period) -> bytes:
    """Return `population.csv`: everything that is counted, a line each."""
    header = (
        "entry", "at", "database", "kind", "due", "outcome", "backup", "report", "verdict",
        "level", "rto_ms", "newest_proven_ms", "report_at_hand",
    )  # fmt: skip
    return encode_csv(
        header,
        (
            (
                one.seq,
                f"{one.at:%Y-%m-%dT%H:%M:%SZ}",
                one.database,
                one.kind,
                one.due,
                one.outcome,
                one.backup_id,
                one.report_id,
                one.verdict,
                one.level,
                one.rto_ms,
                one.newest_proven_ms,
                "yes" if one.has_report else "no",
            )
            for one in period.happenings
        ),
    )


def render_coverage(period: Period) -> bytes:
    """Return `coverage.csv`: what happened to each database in each month."""
    return encode_csv(
        ("database", "month", "backups", "failed_or_missed", "restore_tests", "passed"),
        (
            (name, f"{one.year}-{one.month:02}", one.backups, one.failed, one.tests, one.passed)
            for name in period.databases
            for one in months(period, name)
        ),
    )


def render_exceptions(period: Period) -> bytes:
    """Return `exceptions.csv`: what somebody answers for."""
    return encode_csv(
        ("database", "report", "kind", "what", "approver", "reason", "expires"),
        (
            (
                one.database,
                one.report_id,
                one.kind,
                one.what,
                one.approver,
                one.reason,
                f"{one.expires:%Y-%m-%dT%H:%M:%SZ}",
            )
            for one in period.exceptions
        ),
    )


def months(period: Period, database: str) -> list[Month]:
    """Return every month that the period touches."""
    return [
        _month(year, number, [one for one in _of(period, database) if _is_in(one, year, number)])
        for year, number in _touched(period.first, period.last)
    ]


def _touched(first: datetime, last: datetime) -> Iterator[tuple[int, int]]:
    year, month = first.year, first.month
    while datetime(year, month, 1, tzinfo=last.tzinfo) < last:
        yield year, month
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _of(period: Period, database: str) -> list[Happening]:
    return [one for one in period.happenings if one.database == database]


def _is_in(one: Happening, year: int, month: int) -> bool:
    return (one.at.year, one.at.month) == (year, month)


def _month(year: int, month: int, happened: Sequence[Happening]) -> Month:
    tests = [one for one in happened if one.kind == "restore test"]
    backups = [one for one in happened if one.kind == "backup"]
    words = {word_of(one) for one in tests} | {
        word_of(one) for one in backups if word_of(one) is not Word.PASS
    }
    return Month(
        year=year,
        month=month,
        backups=sum(word_of(one) is Word.PASS for one in backups),
        failed=sum(one.outcome in BAD for one in happened),
        tests=len(tests),
        passed=sum(word_of(one) is Word.PASS for one in tests),
        word=next((word for word in _WORST if word in words), None),
    )


def _of_database(period: Period, name: str, number: int) -> OfDatabase:
    happened = _of(period, name)
    tests = tuple(one for one in happened if one.kind == "restore test")
    of_months = months(period, name)
    return OfDatabase(
        name=name,
        months=tuple(of_months),
        calendar=tuple((month, _days(period, month, happened)) for month in of_months),
        tests=tests,
        recovery_times=_chart(charts.recovery_times, tests, "rto_ms", f"rto-{number}"),
        ages=_chart(charts.ages, tests, "newest_proven_ms", f"rpo-{number}"),
    )


def _chart(
    draw: charts.OverTime, tests: Sequence[Happening], field: str, name: str
) -> Markup | None:
    points = [
        charts.Point(at=one.at, value=getattr(one, field), word=word_of(one)) for one in tests
    ]
    return draw(points, None, name) if points else None


def _days(period: Period, month: Month, happened: Sequence[Happening]) -> tuple[Day | None, ...]:
    """Return a cell for each day from 1 to 31; None: outside of the month or the period."""
    length = calendar.monthrange(month.year, month.month)[1]
    cells: list[Day | None] = []
    for number in range(1, 32):
        if number > length:
            cells.append(None)
            continue
        day = datetime(month.year, month.month, number, tzinfo=period.first.tzinfo)
        is_outside = not period.first.date() <= day.date() or day >= period.last
        of_day = [one for one in happened if one.at.date() == day.date()]
        cells.append(None if is_outside else _day(of_day))
    return tuple(cells)


def _day(happened: Sequence[Happening]) -> Day:
    words = {
        word_of(one)
        for one in happened
        if one.kind == "restore test" or word_of(one) is not Word.PASS
    }
    worst = next((word for word in _WORST if word in words), None)
    if worst is not None:
        return _DAYS[worst]
    return _BACKUP if happened else NOTHING
