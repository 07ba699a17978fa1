"""What a signal does to a verb, and what it does not where another is not to be heard."""

from __future__ import annotations

import sys

import pytest

from tests.lab.repositories import ended

PROGRAM = """
import os, signal, sys
from backup.cli import signals
said, ignored = (getattr(signal, name) for name in sys.argv[1:])
signal.signal(said, signal.SIG_DFL)
signal.signal(ignored, signal.SIG_IGN)
signals.listen()
assert not signals.are_ignored()
try:
    os.kill(os.getpid(), ignored)
    print("goes on")
    os.kill(os.getpid(), said)
    signal.pause()
except signals.InterruptedBySignalError:
    print(signals.are_ignored())
"""


@pytest.mark.parametrize(("said", "ignored"), [("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT")])
def test_one_that_the_parent_ignores_does_not_hide_the_other(said: str, ignored: str) -> None:
    """As of a shell that keeps Ctrl-C from what it runs in the background; nobody has said stop."""
    done = ended((sys.executable, "-c", PROGRAM, said, ignored))
    assert (done.code, done.stdout.split("\n")) == (0, ["goes on", "True", ""]), done.stderr
