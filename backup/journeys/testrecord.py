"""What a restore test writes down while it runs: phases, commands, messages, checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from backup.errors import PostgresError
from backup.evidence.checks import LEVELS
from backup.evidence.messages import classified
from backup.evidence.report import CommandRun, Destruction, Message, Phase, PhaseName
from backup.evidence.verdict import Check, Code, Finding, not_run, ran
from backup.postgres.command import Command

_EXIT_CODE = re.compile(r"exit code (\d+)")
# A process that a signal ended has no exit code of its own.
_SIGNALLED = -1


class Record:
    """Grows while the test runs; what threads add is added by one call each."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.phases: list[Phase] = []
        self.commands: list[CommandRun] = []
        self.messages: list[Message] = []
        self.checks: list[Check] = []
        self.destruction: Destruction | None = None
        self.is_stopped = False

    @contextmanager
    def phase(self, name: PhaseName, *, is_recovery: bool = False) -> Iterator[None]:
        """Take the time of a phase, however it ends."""
        started = self._clock()
        try:
            yield
        finally:
            self.phases.append(
                Phase(name=name, started=started, finished=self._clock(), is_recovery=is_recovery)
            )

    def heard(self, command: Command, stderr: str, duration: timedelta) -> None:
        """Write down a command that ended with 0, and what it said."""
        self.commands.append(_run(command, 0, duration))
        self.messages.extend(classified(command.label, stderr))

    def failed(self, command: Command, error: PostgresError, duration: timedelta) -> None:
        """Write down a command that failed."""
        code = _EXIT_CODE.search(error.message)
        self.commands.append(_run(command, int(code[1]) if code else _SIGNALLED, duration))

    def ran(self, id_: str, *, compared: int, findings: Sequence[Finding] = ()) -> None:
        """Write down a check that ran."""
        self.checks.append(ran(id_, LEVELS[id_], compared=compared, findings=findings))

    def not_run(self, id_: str, reason: str) -> None:
        """Write down a check that did not run."""
        self.checks.append(not_run(id_, LEVELS[id_], reason))

    def stop(self, id_: str, code: Code, what: str, observed: str) -> None:
        """Write down what ends the test."""
        self.is_stopped = True
        finding = Finding(code=code, what=what, observed=observed)
        self.ran(id_, compared=0, findings=[finding])

    @property
    def rto_ms(self) -> int | None:
        """What the phases of recovery took together; None if there was none."""
        spans = [phase.finished - phase.started for phase in self.phases if phase.is_recovery]
        return milliseconds(sum(spans, timedelta())) if spans else None


def milliseconds(duration: timedelta) -> int:
    """Return whole milliseconds."""
    return duration // timedelta(milliseconds=1)


def _run(command: Command, exit_code: int, duration: timedelta) -> CommandRun:
    return CommandRun(argv=command.argv, exit_code=exit_code, duration_ms=milliseconds(duration))
