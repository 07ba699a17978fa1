"""What tests ask about processes."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from backup.postgres.command import Command

SOON = timedelta(seconds=60)


def is_gone(pid: int, within: timedelta = SOON) -> bool:
    """The process has ended, or ends within the limit."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(within.total_seconds() * 1000))
    finally:
        os.close(pidfd)


def python(script: str, *arguments: str) -> Command:
    """A command that runs a Python script."""
    return Command(label="script", argv=(sys.executable, "-I", "-c", script, *arguments))


def command_lines() -> Iterator[tuple[int, str]]:
    """Yield every process's number and command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if line:
            yield int(path.parent.name), line
