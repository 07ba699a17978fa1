"""The one screen of `strongroom status`: what is wrong first, a glyph and a word for each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from backup.cli.output import columns, local, size

if TYPE_CHECKING:
    from scheduler.status import DatabaseStatus, Severity, Status

_SHOWN_DUE = 6
_PLAIN = "+!X?"


def screen(status: Status, *, has_glyphs: bool) -> str:
    """Return the screen; without glyphs it is ASCII but for names."""
    return "\n".join(_lines(status, has_glyphs=has_glyphs))


def _lines(status: Status, *, has_glyphs: bool) -> Iterator[str]:
    from scheduler.status import span

    def mark(severity: Severity) -> str:
        return severity.glyph if has_glyphs else _PLAIN[severity.value]

    yield f"{mark(status.severity)} {status.summary}"
    yield f"  {status.host}, {local(status.at)}, {status.repository}"
    yield f"  {_daemon(status)}"
    for problem in status.problems:
        about = f"{problem.database} " if problem.database else ""
        yield ""
        yield f"{mark(problem.severity)} {problem.severity.word} {about}{problem.concern.value}:"
        yield f"    {problem.what}"
        if problem.since is not None:
            ago = span(status.at - problem.since)
            yield f"    since {local(problem.since)} ({ago})"
        yield f"    next: {problem.hint}"
    if status.databases:
        yield ""
        yield from columns(
            ("", "DATABASE", "LAST BACKUP", "PROVEN RPO", "TESTED", "RTO/TARGET", "MISSED", "NEXT"),
            [
                (mark(one.severity), one.database, *_cells(one, status.at))
                for one in status.databases
            ],
        )
        yield ""
        yield from columns(
            ("", "DATABASE", "BACKUPS", "DUMPED", "STORED", "NEW", "REUSED"),
            [("", one.database, *_sizes(one)) for one in status.databases],
        )
    for running in status.running:
        yield ""
        about = f" {running.database}" if running.database else ""
        yield f"running: {running.job}{about}, for {span(status.at - running.since)}"
    if status.due:
        yield ""
        for one in status.due[:_SHOWN_DUE]:
            about = f" {one.database}" if one.database else ""
            yield f"due {local(one.at)}: {one.job}{about}"
    yield ""
    yield f"  {_log(status)}"
    yield f"  {_notifier(status)}"


def _daemon(status: Status) -> str:
    from scheduler.status import span

    daemon = status.daemon
    if not daemon.is_running:
        return "the daemon is not running; this is what the repository and its log tell"
    tick = "" if daemon.last_tick is None else f", moved {span(status.at - daemon.last_tick)} ago"
    return f"the daemon runs (process {daemon.pid}{tick})"


def _cells(one: DatabaseStatus, now: datetime) -> Iterator[str]:
    from scheduler.status import span

    yield "none" if one.age is None else f"{span(one.age)} ago"
    yield "not proven" if one.proven_rpo is None else span(one.proven_rpo)
    if one.last_test_at is None:
        yield "never"
    else:
        yield f"{one.last_verdict or 'broken off'}, {span(now - one.last_test_at)} ago"
    yield f"{_length(one.rto)}/{_length(one.rto_target)}"
    yield str(one.missed_slots)
    yield "-" if one.next_due is None else f"in {span(one.next_due - now)}"


def _sizes(one: DatabaseStatus) -> Iterator[str]:
    yield str(one.backups)
    for count in (one.plain_bytes, one.stored_bytes, one.new_bytes):
        yield "-" if count is None else size(count)
    yield "-" if one.dedup_ratio is None else f"{one.dedup_ratio:.0%}"


def _log(status: Status) -> str:
    verify = status.verify
    read = "stored data never verified" if verify.at is None else f"verified {local(verify.at)}"
    free = status.repository_free_bytes
    room = "" if free is None else f"; {size(free)} free"
    return (
        f"evidence log: {status.log_entries} entries, the newest checkpoint vouches for"
        f" {status.log_checkpoint_entries}; {read}{room}"
    )


def _notifier(status: Status) -> str:
    if status.notifier.configured == 0:
        return "nobody is told when something goes wrong: docs/monitoring.md, notify-urls"
    count = status.notifier.configured
    return f"told at {count} place{'' if count == 1 else 's'} when something goes wrong"


def _length(length: timedelta | None) -> str:
    from scheduler.status import span

    if length is None:
        return "-"
    return span(length) if length >= timedelta(minutes=1) else f"{length.total_seconds():.1f} s"
