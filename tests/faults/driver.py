"""The command line as its own process, with something that breaks at a chosen moment.

`FAULT` in the environment is a JSON object:

    batch_bytes      how much a local store gathers before it flushes and links
    table_threshold  from which size a table is dumped by a pg_dump of its own
    answer_seconds   how long an answer of the server may take before it is asked about
    calls            which functions of `os` are counted: `["link", "fsync"]`; of `close` also those
                     of files that were opened for writing
    path             of those calls, only the ones with this text in an argument are counted
    at, then         at this call: `"kill"` or `"stop"` ourselves, or the number of an errno
    report           where to write what was counted, and the peak of memory, at the end
"""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from backup.cli import main
from backup.postgres import answers
from backup.postgres.parts import plan_parts
from backup.repository.stores import local

_SIGNALS: dict[str | int, signal.Signals] = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Breaker:
    """Counts calls, and breaks one of them."""

    def __init__(self, names: list[str], path: str, at: int | None, then: str | int) -> None:
        self.count = 0
        self._path = path
        self._at = at
        self._then = then
        self._lock = threading.Lock()
        for name in names:
            setattr(os, name, self._broken(getattr(os, name), acts=name == "close"))
        if "close" in names:
            self._watch_files()

    def end(self) -> None:
        """Break nothing any more."""
        self._at = None

    def _watch_files(self) -> None:
        """Have files that are opened for writing closed by what is counted."""
        real = io.open

        def opened(*arguments: Any, **named: Any) -> Any:
            file: Any = real(*arguments, **named)
            if file.writable():
                file.close = self._broken(file.close, acts=True)
            return file

        io.open = opened  # also what `Path.open` and `os.fdopen` call

    def _broken(self, function: Callable[..., Any], *, acts: bool) -> Callable[..., Any]:
        """The function; `acts` is what close(2) does: it may fail, and the descriptor is gone."""

        def call(*arguments: Any, **named: Any) -> Any:
            if self._path and not any(self._path in str(one) for one in arguments):
                return function(*arguments, **named)
            with self._lock:
                self.count += 1
                is_due = self.count == self._at
            if is_due and self._then in _SIGNALS:
                os.kill(os.getpid(), _SIGNALS[self._then])
            elif is_due:
                if acts:
                    function(*arguments, **named)
                raise OSError(self._then, os.strerror(int(self._then)))
            return function(*arguments, **named)

        return call


def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def run() -> None:
    """Set the fault up and run the command line."""
    # Tests that run in the background of a shell have it ignored, and we would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fault = json.loads(os.environ.pop("FAULT", "{}"))
    local._BATCH_BYTES = fault.get("batch_bytes", local._BATCH_BYTES)
    if "table_threshold" in fault:
        (plan_parts.__kwdefaults__ or {})["threshold"] = fault["table_threshold"]
    if "answer_seconds" in fault:
        answers.PATIENCE = timedelta(seconds=fault["answer_seconds"])
    breaker = Breaker(
        fault.get("calls", []), fault.get("path", ""), fault.get("at"), fault.get("then", "kill")
    )
    try:
        main()
    finally:
        if "report" in fault:
            breaker.end()
            report = {"calls": breaker.count, "peak_kib": _peak_kib()}
            Path(fault["report"]).write_text(json.dumps(report), encoding="ascii")


if __name__ == "__main__":
    run()
