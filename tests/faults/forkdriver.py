"""Runs of the command line, each a process of its own, forked from one that has loaded everything.

To start a program takes most of the time of a short verb: this way a fault can be tried at each of
a few hundred calls. On standard input comes one JSON object a run: `argv`, `environment`, and the
files that `stdout` and `stderr` go to. Each is answered by a line with the run's exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

from tests.faults import driver

LOADED = (
    *("init", "prune", "log", "logreview", "restore", "report", "reportpack"),
    *("options", "output", "interruptible"),
)
JOURNEYS = ("initialize", "prune", "prunelook", "audit", "export", "restore", "period", "reports")


def become(run: dict[str, Any]) -> None:
    """Be that run in all that can be seen from inside."""
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    for descriptor, path, how in (
        (0, os.devnull, os.O_RDONLY),
        (1, run["stdout"], flags),
        (2, run["stderr"], flags),
    ):
        opened = os.open(path, how, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(run["environment"])
    sys.argv = ["strongroom", *run["argv"]]


def serve() -> None:
    """Fork a process for each run, and wait for its end; one after the other."""
    for name in ("app", *(f"cli.{name}" for name in LOADED), *(f"journeys.{n}" for n in JOURNEYS)):
        importlib.import_module(f"backup.{name}")
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            become(json.loads(line))
            driver.run()  # which ends this process as it ends any
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    serve()
