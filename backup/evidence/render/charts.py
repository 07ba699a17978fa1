"""Charts as SVG, drawn here: no script, no picture from elsewhere, a title and a description each.

Nothing is told by colour alone: verdicts have shapes of their own, and a table with the same
numbers follows every chart on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from markupsafe import Markup, escape

from backup.evidence.render import words
from backup.evidence.report import Objectives, Phase
from backup.evidence.verdict import HIGHEST_LEVEL, Word

INK, QUIET, LINE = "#1c2733", "#56616e", "#d5dbe2"
RECOVERY, REST = "#1f4e79", "#8393a3"
COLOURS = {Word.PASS: "#1d6b45", Word.FAIL: "#a32a2a", Word.INCONCLUSIVE: "#7a5300"}

_WIDTH = 720
_LEFT, _RIGHT = 118, 92
_ROW, _BAR = 26, 14
_PLOT_HEIGHT, _TOP, _BOTTOM = 132, 16, 40


class OverTime(Protocol):
    """A chart of restore tests; `name` tells it from others on the page."""

    def __call__(self, points: Sequence[Point], target_ms: int | None, name: str) -> Markup:
        """Draw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One restore test in a chart over time; `value` None: it was not measured."""

    at: datetime
    value: int | None
    word: Word


def word_of(verdict: str) -> Word:
    """Return the word at the beginning of a verdict as it is printed."""
    return next((word for word in Word if verdict.startswith(word.value)), Word.INCONCLUSIVE)


def glyph(word: Word, x: float, y: float, radius: float = 5) -> Markup:
    """Return a verdict's mark: a ticked disc, a crossed square, or a hollow diamond."""
    colour = COLOURS[word]
    part = radius * 0.5
    stroke = '<path d="{}" fill="none" stroke="#ffffff" stroke-width="{}"/>'
    if word is Word.PASS:
        tick = f"M{x - part:g} {y:g}L{x - part * 0.2:g} {y + part * 0.8:g}"
        tick += f"L{x + part:g} {y - part * 0.7:g}"
        disc = _svg('<circle cx="{}" cy="{}" r="{}" fill="{}"/>', x, y, radius, colour)
        return disc + _svg(stroke, tick, radius * 0.3)
    if word is Word.FAIL:
        cross = f"M{x - part:g} {y - part:g}L{x + part:g} {y + part:g}"
        cross += f"M{x + part:g} {y - part:g}L{x - part:g} {y + part:g}"
        square = _svg(
            '<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>',
            x - radius,
            y - radius,
            2 * radius,
            2 * radius,
            colour,
        )
        return square + _svg(stroke, cross, radius * 0.3)
    corners = f"{x:g},{y - radius - 1:g} {x + radius + 1:g},{y:g} {x:g},{y + radius + 1:g} "
    corners += f"{x - radius - 1:g},{y:g}"
    return _svg(
        '<polygon points="{}" fill="#ffffff" stroke="{}" stroke-width="2"/>', corners, colour
    )


def timeline(phases: Sequence[Phase], objectives: Objectives) -> Markup:
    """Return a bar for each phase of a test, those of the recovery time dark and hatched apart."""
    begin = min(phase.started for phase in phases)
    total = max(1, *(words.milliseconds(begin, phase.finished) for phase in phases))
    scale = (_WIDTH - _LEFT - _RIGHT) / total
    height = len(phases) * _ROW + 34
    drawn = [_axis_line(_LEFT, height - 26, _WIDTH - _RIGHT)]
    for tick in ticks(total):
        x = _LEFT + tick * scale
        drawn.append(_vertical(x, 6, height - 26))
        drawn.append(_text(x, height - 10, words.span(tick), "middle"))
    for number, phase in enumerate(phases):
        top = 6 + number * _ROW
        start = words.milliseconds(begin, phase.started)
        length = words.milliseconds(phase.started, phase.finished)
        x, width = _LEFT + start * scale, max(2.0, length * scale)
        drawn.append(_text(_LEFT - 10, top + 15, phase.name, "end", INK))
        drawn.append(
            _svg(
                '<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>',
                x,
                top + 4,
                width,
                _BAR,
                RECOVERY if phase.is_recovery else REST,
            )
        )
        label = words.span(length) + (" R" if phase.is_recovery else "")
        drawn.append(_text(x + width + 6, top + 15, label, "start", INK))
    counted = sum(phase.is_recovery for phase in phases)
    described = (
        f"{words.counted(len(phases), 'phase')}, {words.span(total)} in all; the {counted} "
        f"marked R make up the recovery time"
    )
    if objectives.rto_ms is not None:
        described += f" of {words.span(objectives.rto_ms)}"
    return _chart("timeline", "How long each phase took", described, height, drawn)


def recovery_times(points: Sequence[Point], target_ms: int | None, name: str = "rto") -> Markup:
    """Return the recovery time of each restore test, and the target as a dashed line."""
    return _over_time(name, "Recovery time of each restore test", points, target_ms)


def ages(points: Sequence[Point], target_ms: int | None, name: str = "rpo") -> Markup:
    """Return, at each restore test, how old the newest backup was that had passed one."""
    title = "Age of the newest backup that had passed, at each restore test"
    return _over_time(name, title, points, target_ms)


def levels(points: Sequence[Point]) -> Markup:
    """Return the level of proof of each restore test as a bar from 0 to 9."""
    drawn = []
    bottom = _TOP + _PLOT_HEIGHT
    step = _PLOT_HEIGHT / (HIGHEST_LEVEL + 1)
    for level in (0, 3, 6, HIGHEST_LEVEL):
        y = bottom - (level + 1) * step
        drawn.append(_axis_line(_LEFT, y, _WIDTH - _RIGHT))
        drawn.append(_text(_LEFT - 10, y + 4, f"L{level}", "end"))
    width = min(26.0, (_WIDTH - _LEFT - _RIGHT) / max(1, len(points)) * 0.6)
    for x, point in zip(_positions(len(points)), points, strict=True):
        height = ((point.value if point.value is not None else -1) + 1) * step
        drawn.append(
            _svg(
                '<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>',
                x - width / 2,
                bottom - height,
                width,
                height,
                REST,
            )
        )
        drawn.append(glyph(point.word, x, bottom - height))
    drawn += [_axis_line(_LEFT, bottom, _WIDTH - _RIGHT), *_dates(points, bottom)]
    described = f"{words.counted(len(points), 'restore test')}, the oldest on the left"
    return _chart("levels", "Level of proof of each restore test", described, bottom + 30, drawn)


def ticks(maximum: int) -> list[int]:
    """Return at most six round numbers of milliseconds, from 0 up to `maximum`."""
    step = next(
        step
        for step in (
            *_STEPS,
            *(86_400_000 * n * 10**power for power in range(9) for n in (2, 5, 10)),
        )
        if maximum // step <= 5
    )
    return list(range(0, maximum + 1, step))


_STEPS = tuple(
    seconds * 1000 // 10
    for seconds in (
        1, 2, 5, 10, 20, 50, 100, 200, 300, 600, 1200, 3000, 6000, 12000, 18000, 36000, 72000,
        144000, 216000, 432000, 864000,
    )
)  # fmt: skip


def _over_time(name: str, title: str, points: Sequence[Point], target_ms: int | None) -> Markup:
    known = [point.value for point in points if point.value is not None]
    maximum = max([*known, target_ms or 0, 1])
    bottom = _TOP + _PLOT_HEIGHT
    scale = _PLOT_HEIGHT / (maximum * 1.08)
    drawn = []
    for tick in ticks(maximum):
        y = bottom - tick * scale
        drawn.append(_axis_line(_LEFT, y, _WIDTH - _RIGHT))
        drawn.append(_text(_LEFT - 10, y + 4, words.span(tick), "end"))
    if target_ms is not None:
        y = bottom - target_ms * scale
        drawn.append(
            _svg(
                '<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="{}" stroke-width="1.5" '
                'stroke-dasharray="6 4"/>',
                _LEFT,
                y,
                _WIDTH - _RIGHT,
                y,
                INK,
            )
        )
        drawn.append(_text(_WIDTH - _RIGHT + 8, y + 4, "target", "start", INK))
    placed = [
        (x, bottom - point.value * scale, point.word)
        for x, point in zip(_positions(len(points)), points, strict=True)
        if point.value is not None
    ]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in placed)
    drawn.append(_svg('<polyline points="{}" fill="none" stroke="{}"/>', way, QUIET))
    drawn += [glyph(word, x, y) for x, y, word in placed]
    drawn += _dates(points, bottom)
    described = f"{words.counted(len(points), 'restore test')}, the oldest on the left"
    if known:
        described += f"; from {words.span(min(known))} to {words.span(max(known))}"
    if target_ms is not None:
        described += f"; the target is {words.span(target_ms)}"
    return _chart(name, title, described, bottom + 30, drawn)


def _positions(number: int) -> list[float]:
    """Return where as many points stand between the margins, in equal steps."""
    inside = _WIDTH - _LEFT - _RIGHT - 40
    if number == 1:
        return [_LEFT + 20 + inside / 2]
    return [_LEFT + 20 + inside * place / (number - 1) for place in range(number)]


def _dates(points: Sequence[Point], bottom: float) -> list[Markup]:
    """Return the days of the first and the last point below the axis."""
    positions = _positions(len(points))
    ends = sorted({0, len(points) - 1}) if points else []
    return [
        _text(positions[place], bottom + 20, f"{points[place].at:%Y-%m-%d}", "middle")
        for place in ends
    ]


def _chart(name: str, title: str, described: str, height: float, drawn: Sequence[Markup]) -> Markup:
    return _svg(
        '<svg class="chart" role="img" viewBox="0 0 {} {}" aria-labelledby="{}-title {}-desc">'
        '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}</svg>',
        _WIDTH, height, name, name, name, title, name, described, Markup().join(drawn),
    )  # fmt: skip


def _text(x: float, y: float, text: str, anchor: str, colour: str = QUIET) -> Markup:
    return _svg(
        '<text x="{}" y="{}" text-anchor="{}" fill="{}">{}</text>', x, y, anchor, colour, text
    )


def _axis_line(left: float, y: float, right: float) -> Markup:
    return _svg('<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="{}"/>', left, y, right, y, LINE)


def _vertical(x: float, top: float, bottom: float) -> Markup:
    return _svg('<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="{}"/>', x, top, x, bottom, LINE)


def _svg(form: str, *values: object) -> Markup:
    """Fill in values, each escaped; numbers with a tenth of a unit at most."""
    escaped = (
        f"{round(value, 1):g}" if isinstance(value, float) else escape(value) for value in values
    )
    return Markup(form.format(*escaped))  # noqa: S704 - the form is one of the literals above
