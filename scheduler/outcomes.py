"""What a child's ending means: good or not, and whether trying again can help. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from backup.errors import BusyError, StrongroomError
from backup.evidence.slot import Job

INTERRUPTED_CODE: Final = 130
_RESTORE_TESTS: Final = frozenset(
    {"restore-test-latest", "restore-test-oldest", "restore-test-random"}
)
_COULD_NOT_START: Final = 3

# Why the daemon ended a child itself.
Ended: TypeAlias = Literal["silence", "deadline", "stop"]


class Outcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # for good: the same again would fail again
    TROUBLED = "troubled"  # failed, and trying again can help
    BUSY = "busy"  # somebody else was at work: no failure
    STALLED = "stalled"  # ended by the watchdog or at its deadline
    INTERRUPTED = "interrupted"  # the daemon, the child or the machine was stopped

    @property
    def may_retry(self) -> bool:
        """Whether trying again can help."""
        return self not in {Outcome.SUCCEEDED, Outcome.FAILED}


def classify(job: Job, exit_code: int, ended: Ended | None) -> Outcome:
    """Return what an exit code means; negative: killed by that signal."""
    if exit_code == 0 and ended in {None, "stop"}:
        return Outcome.SUCCEEDED
    if ended is not None:
        return Outcome.INTERRUPTED if ended == "stop" else Outcome.STALLED
    if exit_code < 0 or exit_code == INTERRUPTED_CODE:
        return Outcome.INTERRUPTED
    if job in _RESTORE_TESTS:
        # FAIL and INCONCLUSIVE are results, and written down: no second try makes them better.
        return Outcome.TROUBLED if exit_code == _COULD_NOT_START else Outcome.FAILED
    if exit_code == BusyError.exit_code:
        return Outcome.BUSY
    return Outcome.TROUBLED if exit_code in _RETRYABLE_CODES else Outcome.FAILED


def _classes(root: type[StrongroomError]) -> Iterator[type[StrongroomError]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


_RETRYABLE_CODES: Final = frozenset(
    one.exit_code for one in _classes(StrongroomError) if one.is_retryable
)
