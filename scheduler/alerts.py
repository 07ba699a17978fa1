"""When people are told: on a change for the worse, daily while it is bad, once when it is over.

A pure state machine over the problems of one status after another. Its state is kept in the
journal, so a restart tells nobody anything twice. A message counts as told only when `told` was
called: what could not be delivered is offered again at the next evaluation. A crash between
delivery and the journal tells twice rather than never.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from pydantic import ConfigDict

from backup.repository.canonical import STRICT, UtcTime
from scheduler.status import Problem, Severity, Status, rank_of, utc

REPEAT_EVERY = timedelta(days=1)
Kind = Literal["problem", "worse", "reminder", "recovery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """A concern that is bad, or that was and whose recovery nobody was told yet.

    `told_rank` is the worst that people know of; -1: nothing. `what` is the last that was wrong.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    since: UtcTime
    told_rank: int
    told_at: UtcTime | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """What people know, by concern: `backup` or `backup of portal`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    raised: dict[str, Raised] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to people. `subject` is the concern that it is about."""

    subject: str
    kind: Kind
    severity: Severity
    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The state after looking at a status, and what people are to be told now."""

    state: AlertState
    messages: tuple[Message, ...]


def decide(state: AlertState, status: Status, *, repeat: timedelta = REPEAT_EVERY) -> Decision:
    """Return what to say about a status.

    Where something could not be looked at, nothing is announced as over.
    """
    bad: dict[str, list[Problem]] = defaultdict(list)
    retried = set()
    for problem in status.problems:
        if problem.is_settled:
            bad[_subject(problem)].append(problem)
        else:
            retried.add(_subject(problem))
    raised = dict(state.raised)
    messages = []
    for subject, problems in bad.items():
        rank = max(rank_of(one.severity) for one in problems)
        known = raised.get(subject)
        entry = Raised(
            since=known.since if known else _since(problems, status.at),
            told_rank=known.told_rank if known else -1,
            told_at=known.told_at if known else None,
            what="; ".join(one.what for one in problems),
        )
        raised[subject] = entry
        if kind := _kind(entry, rank, status.at, repeat):
            messages.append(_bad_news(subject, kind, entry, problems, status))
    for subject, entry in state.raised.items():
        # What is being retried is neither over nor anything new.
        if subject not in bad and subject not in retried and status.is_complete:
            messages.append(_good_news(subject, entry, status))
    return Decision(state=AlertState(raised=raised), messages=tuple(messages))


def told(state: AlertState, message: Message, *, now: datetime) -> AlertState:
    """Return the state after a message was delivered."""
    raised = dict(state.raised)
    if message.kind == "recovery":
        raised.pop(message.subject, None)
    elif message.subject in raised:
        entry = raised[message.subject]
        raised[message.subject] = replace(
            entry, told_at=now, told_rank=max(entry.told_rank, rank_of(message.severity))
        )
    return AlertState(raised=raised)


def _kind(entry: Raised, rank: int, now: datetime, repeat: timedelta) -> Kind | None:
    if entry.told_at is None:
        return "problem"
    if rank > entry.told_rank:
        return "worse"
    # A clock that was set back must not silence anything for long.
    is_due = now - entry.told_at >= repeat or entry.told_at - now > repeat
    return "reminder" if is_due else None


def _subject(problem: Problem) -> str:
    concern = problem.concern.value
    return f"{concern} of {problem.database}" if problem.database else concern


def _since(problems: Sequence[Problem], now: datetime) -> datetime:
    return min((one.since for one in problems if one.since is not None), default=now)


def _bad_news(
    subject: str, kind: Kind, entry: Raised, problems: Sequence[Problem], status: Status
) -> Message:
    worst = max(problems, key=lambda one: rank_of(one.severity))
    again = {"problem": "", "worse": " (worse)", "reminder": " (still)", "recovery": ""}[kind]
    lines = []
    for problem in problems:
        lines += [
            f"{problem.severity.glyph} {problem.severity.word}: {problem.what}",
            f"  since: {utc(problem.since or entry.since)}",
            f"  next:  {problem.hint}",
        ]
    return Message(
        subject=subject,
        kind=kind,
        severity=worst.severity,
        title=f"[strongroom {status.host}] {worst.severity.word}{again}: {subject}",
        body="\n".join([*lines, "", *_where(status), _more(worst.code)]),
    )


def _good_news(subject: str, entry: Raised, status: Status) -> Message:
    return Message(
        subject=subject,
        kind="recovery",
        severity=Severity.GOOD,
        title=f"[strongroom {status.host}] recovered: {subject}",
        body="\n".join(
            [
                f"{Severity.GOOD.glyph} over: {entry.what}",
                f"  bad from {utc(entry.since)} to {utc(status.at)}",
                "",
                *_where(status),
            ]
        ),
    )


def _where(status: Status) -> list[str]:
    return [f"host: {status.host}", f"repository: {status.repository}"]


def _more(code: str) -> str:
    return f"all of it: strongroom status     what it means: docs/monitoring.md#{code}"


def subjects(state: AlertState) -> Mapping[str, Raised]:
    """Return what people know to be bad."""
    return {subject: entry for subject, entry in state.raised.items() if entry.told_at is not None}
