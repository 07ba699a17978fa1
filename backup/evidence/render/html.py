"""`report.html`: one page that needs nothing else, made from the bytes of `report.json`. Pure.

No script; the policy in the page forbids everything but the one style sheet, by its hash. All
text is escaped, and names are made visible first: a table's name is written by one person and
read in the browser of another.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from backup.evidence.render import charts, tables, words
from backup.evidence.render.conclusion import Status, conclude
from backup.evidence.report import Report
from backup.evidence.verdict import HIGHEST_LEVEL, Word
from backup.repository.canonical import decode
from backup.repository.layout import BackupId

STATUS_WORDS = {
    Status.RECOVERABLE: Word.PASS,
    Status.AT_RISK: Word.FAIL,
    Status.NOT_PROVEN: Word.INCONCLUSIVE,
}


def render_report(data: bytes) -> bytes:
    """Return the page of a report; `data` are the signed bytes of `report.json`."""
    report = decode(Report, data, "report.json")
    return page(
        "report.html",
        report=report,
        sha256=hashlib.sha256(data).hexdigest(),
        conclusion=conclude(report),
        timeline=charts.timeline(report.phases, report.objectives) if report.phases else None,
        recovery_times=charts.recovery_times(
            _points(report, lambda rto_ms, _: rto_ms), report.objectives.rto_target_ms
        ),
        levels=charts.levels(_points(report, lambda _, level: level)),
        level_words=words.LEVELS,
        seal_words=words.SEALS,
        highest_level=HIGHEST_LEVEL,
    )


def page(template: str, **values: object) -> bytes:
    """Return a template filled in; the same values give the same bytes."""
    environment = _environment()
    style = environment.get_template("style.css").render().strip()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = environment.get_template(template).render(
        style=Markup(style),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'",
        **values,
    )
    return (text.rstrip("\n") + "\n").encode()


def _points(
    report: Report, choose: Callable[[int | None, int], int | None]
) -> tuple[charts.Point, ...]:
    """Return the earlier tests and this one, in the order in which they ended."""
    earlier = [
        (run.finished, charts.word_of(run.verdict), choose(run.rto_ms, run.level))
        for run in report.history
    ]
    this = (
        report.finished,
        report.verdict.word,
        choose(report.objectives.rto_ms, report.verdict.level),
    )
    return tuple(
        charts.Point(at=at, value=value, word=word)
        for at, word, value in (*sorted(earlier, key=lambda run: run[0]), this)
    )


def _name(*parts: str) -> Markup:
    """Return a name that cannot act: nothing hidden in it, and its direction its own affair."""
    return Markup("<bdi>{}</bdi>").format(".".join(map(words.visible, parts)))


def _lines(text: str) -> Markup:
    """Return text of several lines, each made visible."""
    return Markup("<br>").join(escape(words.visible(line)) for line in text.split("\n"))


@cache
def _mark(word: Word) -> Markup:
    """Return the shape that stands beside a verdict's word."""
    return Markup(
        '<svg class="mark" viewBox="0 0 14 14" aria-hidden="true" focusable="false">{}</svg>'
    ).format(charts.glyph(word, 7, 7, 5.5))


def _label(word: Word, text: str | None = None) -> Markup:
    """Return a verdict as it is shown everywhere: its shape, its colour, its word."""
    return Markup('<span class="word {}">{}{}</span>').format(
        word.value.lower(), _mark(word), text or word.value
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("backup.evidence.render"),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "name": _name,
        "lines": _lines,
        "visible": words.visible,
        "minute": words.minute,
        "second": words.second,
        "day": words.day,
        "span": words.span,
        "size": words.size,
        "count": words.count,
        "depth": words.depth,
        "code": words.code,
        "result": tables.result,
        "label": _label,
        "quoted": shlex.quote,
    }
    environment.globals |= {
        "Word": Word,
        "STATUS_WORDS": STATUS_WORDS,
        "Markup": Markup,
        "counted": words.counted,
        "milliseconds": words.milliseconds,
        "word_of": charts.word_of,
        "month": words.month,
        "name": _name,
        "begun": lambda backup_id: BackupId(backup_id).started,
    }
    return environment


def text_page(template: str, **values: object) -> bytes:
    """Return a plain text template filled in; nothing is escaped."""
    return _environment().get_template(template).render(**values).encode()
