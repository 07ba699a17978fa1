"""What was measured, as text, Markdown and JSON. Ratios are medians over the pairs of a round."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.contenders import SECOND_STORED
from benchmarks.measure import Measurement
from benchmarks.rounds import Round

_HEADS = (*("work", "against", "theirs", "ours", "ours ÷ theirs", "spread", "to reach", "reached"),)
_RESOURCES = (
    *("work", "who", "wall s", "client CPU s", "server CPU s", "peak MiB", "staging MB"),
    "stored MB",
)


def ratios(each: Round) -> tuple[float, ...]:
    """Return our time divided by theirs, for each pair."""
    if not each.ours:
        return ()
    pairs = zip(each.ours, each.theirs, strict=True)
    return tuple(ours.wall_seconds / theirs.wall_seconds for ours, theirs in pairs)


def is_reached(each: Round) -> bool | None:
    """Whether the median ratio is as good as it is to be; None where nothing is asked for."""
    if each.reach is None or not each.ours:
        return None
    ratio = statistics.median(ratios(each))
    if each.reach.most is not None:
        return ratio <= each.reach.most
    assert each.reach.least is not None
    return 1 / ratio >= each.reach.least


def stored_fraction(rounds: Sequence[Round]) -> float | None:
    """Return what our second backup stored, divided by what our first one did."""
    for each in rounds:
        if each.work == "second backup" and each.peer == "strongroom" and each.ours:
            return _median(each.ours, "stored_bytes") / _median(each.theirs, "stored_bytes")
    return None


def as_text(rounds: Sequence[Round], *, is_markdown: bool) -> str:
    """Return two tables: the pairs with their ratios, and what every contender took."""
    show = _markdown if is_markdown else _columns
    parts = [show(_HEADS, [_pair_row(each) for each in rounds])]
    parts.append(show(_RESOURCES, list(_resource_rows(rounds))))
    fraction = stored_fraction(rounds)
    if fraction is not None:
        reached = "reached" if fraction <= SECOND_STORED else "not reached"
        parts.append(
            f"After a business day the second backup stored {fraction:.1%} of the first "
            f"(to reach: ≤ {SECOND_STORED:.0%}, {reached})."
        )
    return "\n\n".join(parts)


def as_json(rounds: Sequence[Round], facts: dict[str, str]) -> str:
    """Return everything that was measured."""
    return json.dumps(
        {
            "facts": facts,
            "second_backup_stored_fraction": stored_fraction(rounds),
            "rounds": [
                {
                    **dataclasses.asdict(each),
                    "ratios": ratios(each),
                    "is_reached": is_reached(each),
                }
                for each in rounds
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


def machine() -> dict[str, str]:
    """Return what a reader must know of the machine."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _pair_row(each: Round) -> tuple[str, ...]:
    theirs = f"{_median(each.theirs, 'wall_seconds'):.2f} s"
    if not each.ours:
        return (each.work, each.title, theirs, "", "", "", str(each.reach or ""), "")
    all_ratios = ratios(each)
    ratio = statistics.median(all_ratios)
    reached = is_reached(each)
    return (
        each.work,
        each.title,
        theirs,
        f"{_median(each.ours, 'wall_seconds'):.2f} s",
        f"{ratio:.2f}" + (f" ({1 / ratio:.1f} times faster)" if ratio < 1 else ""),
        f"{min(all_ratios):.2f}-{max(all_ratios):.2f}",
        str(each.reach or ""),
        "" if reached is None else "yes" if reached else "no",
    )


def _resource_rows(rounds: Iterable[Round]) -> Iterable[tuple[str, ...]]:
    ours: dict[str, list[Measurement]] = {}
    for each in rounds:
        if each.work == "restore":
            who = "strongroom restore"
            who += " into a scratch cluster" if each.title.startswith("…") else ""
        else:
            who = "strongroom backup"
        if each.ours:
            ours.setdefault(f"{each.work}|{who}", []).extend(each.ours)
        if each.peer != "strongroom" and not each.title.startswith("…"):
            yield _resources(each.work, each.title, each.theirs)
    for key, measured in ours.items():
        work, _, who = key.partition("|")
        yield _resources(work, who, measured)


def _resources(work: str, who: str, measured: Sequence[Measurement]) -> tuple[str, ...]:
    return (
        work,
        who,
        f"{_median(measured, 'wall_seconds'):.2f}",
        f"{_median(measured, 'client_seconds'):.2f}",
        f"{_median(measured, 'server_seconds'):.2f}",
        f"{max(m.peak_bytes for m in measured) / 2**20:.0f}",
        f"{max(m.staging_bytes for m in measured) / 1e6:.1f}",
        "" if work == "restore" else f"{_median(measured, 'stored_bytes') / 1e6:.1f}",
    )


def _median(measured: Sequence[Measurement], field: str) -> float:
    value: Callable[[Measurement], float] = lambda m: getattr(m, field)  # noqa: E731
    return statistics.median(value(m) for m in measured)


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    lines = (
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        for row in (heads, *rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([c.replace("|", "\\|") for c in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
