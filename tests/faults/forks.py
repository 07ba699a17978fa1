"""What starts `forkdriver`: verbs of the command line by the hundred, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - the command line itself is what is started here
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.vault import ROOT, Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Forks:
    """A process that has loaded the program, and forks one for each run."""

    process: subprocess.Popen[str]

    def run(
        self, home: Path, *arguments: str | Path, fault: Mapping[str, Any] | None = None
    ) -> Done:
        """Run a verb to its end; what it prints is kept in `home`, which is its user's."""
        stdout, stderr = home / ".stdout", home / ".stderr"
        asked = {
            "argv": [str(one) for one in arguments],
            "environment": {
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "FAULT": json.dumps(fault or {}),
            },
            "stdout": str(stdout),
            "stderr": str(stderr),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        code = self.process.stdout.readline()
        assert code, "the process that forks is gone"
        return Done(
            code=int(code),
            stdout=stdout.read_text(encoding="utf-8"),
            stderr=stderr.read_text(encoding="utf-8"),
        )


@contextmanager
def forking() -> Iterator[Forks]:
    """Start it, and end it with whatever hangs in it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.forkdriver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    with process:
        try:
            yield Forks(process=process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
