"""What people and programs read: sizes, ages, tables, JSON, progress on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click._termui_impl import ProgressBar

    from backup.journeys.progress import Progress


# Whether the daemon listens: it takes a run that moves nothing for too long for hung.
has_heartbeat = False


def print_json(value: object) -> None:
    """Print a result for programs: sorted keys, times in UTC."""
    click.echo(json.dumps(_plain(value), indent=2, sort_keys=True, ensure_ascii=False))


def write_output(path: Path, data: bytes) -> None:
    """Write a result that others may read into a file that must not exist. `SettingsError`."""
    from backup import files
    from backup.errors import SettingsError

    try:
        files.create(path, data, mode=files.PUBLIC)
    except OSError as error:
        raise SettingsError(
            f"writing {path}: {error.strerror or error}", hint="name a file that does not exist"
        ) from error


def size(count: int) -> str:
    """Return a number of bytes as people read it: `3.4 MB` (decimal units)."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return (
                f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"
            )
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(length: timedelta) -> str:
    """Return a span as people read it: `4.2 s`, `3 min 05 s`, `2 d 4 h`."""
    seconds = length.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def local(moment: datetime) -> str:
    """Return a time in this machine's zone, with its offset."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns, each as wide as its widest cell."""
    for line in columns(header, rows):
        click.echo(line)


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield lines of columns, each as wide as its widest cell."""
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        yield "  ".join(map(str.ljust, line, widths)).rstrip()


def watch(*, is_quiet: bool = False) -> AbstractContextManager[Progress]:
    """Return progress for whoever watches: a bar on a terminal, nothing when piped."""
    from backup.journeys.progress import Silent

    if has_heartbeat:
        return contextlib.nullcontext(_Heartbeat())
    if is_quiet or not sys.stderr.isatty():

        @contextmanager
        def silent() -> Iterator[Progress]:
            yield Silent()

        return silent()
    return _Bar()


class _Heartbeat:
    """A byte on standard error, at most one a second, when something has moved."""

    def __init__(self) -> None:
        self._next = 0.0

    def begin(self, activity: str, total_bytes: int | None) -> None:
        del activity, total_bytes
        self._beat()

    def advance(self, moved_bytes: int, stored_bytes: int = 0) -> None:
        del moved_bytes, stored_bytes
        self._beat()

    def note(self, sentence: str) -> None:
        click.echo(sentence, err=True)

    def _beat(self) -> None:
        from backup.postgres.child import HEARTBEAT

        now = time.monotonic()
        if now >= self._next:
            self._next = now + 1
            with contextlib.suppress(OSError):  # whoever listened has gone, and ends us
                os.write(sys.stderr.fileno(), HEARTBEAT)


class _Bar:
    """A bar on standard error; one phase at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bar: ProgressBar[int] | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def begin(self, activity: str, total_bytes: int | None) -> None:
        with self._lock:
            self._close()
            if total_bytes:
                bar: ProgressBar[int] = click.progressbar(
                    length=total_bytes,
                    label=activity.ljust(14),
                    file=sys.stderr,
                    show_eta=True,
                    update_min_steps=max(1, total_bytes // 500),
                )
                self._bar = bar
                bar.__enter__()

    def advance(self, moved_bytes: int, stored_bytes: int = 0) -> None:
        del stored_bytes
        with self._lock:
            if self._bar is not None:
                self._bar.update(moved_bytes)

    def note(self, sentence: str) -> None:
        with self._lock:
            click.echo(sentence, err=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON is any
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        value = value.hex()
    return str(value) if isinstance(value, Path) else value
