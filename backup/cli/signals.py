"""What SIGINT and SIGTERM do to a verb: it stops, once, and says so."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# In these an exception is lost, or leaves behind what is half made: modules, values, event loops.
_DEAF: Final = frozenset({"asyncio", "importlib", "pydantic", "pydantic_settings"})
# How long a signal waits that comes then.
_MOMENT_SECONDS: Final = 0.02


class InterruptedBySignalError(KeyboardInterrupt):
    """A signal said stop.

    A class of our own: a plain KeyboardInterrupt that comes while modules are loaded makes
    `python -m` end by SIGINT instead of with our exit code, caught or not.
    """


def listen() -> None:
    """Have a signal end what is at work, by an exception; those that are ignored stay so."""
    signal.signal(signal.SIGALRM, _remind)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it in the background
            signal.signal(number, _interrupt)


def ignore() -> None:
    """Have further signals change nothing: an impatient person must not break off cleaning up."""
    # Not SIG_IGN: a signal that came a moment before would be reported, with a traceback.
    for number in SIGNALS:
        signal.signal(number, _nothing)
    signal.setitimer(signal.ITIMER_REAL, 0)


def ignore_to_the_end() -> None:
    """Have them change nothing until the process is gone: Python forgets handlers before that."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def are_ignored() -> bool:
    """Whether this process has been told to stop, and is about to."""
    # Not SIG_IGN: that is what whoever started us wants, and nobody has said stop.
    return signal.getsignal(signal.SIGTERM) is _nothing


def _nothing(number: int, frame: FrameType | None) -> None:
    del number, frame


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number
    if _is_deaf(frame):
        signal.setitimer(signal.ITIMER_REAL, _MOMENT_SECONDS)
        return
    ignore()
    raise InterruptedBySignalError


def _remind(number: int, frame: FrameType | None) -> None:
    del number, frame
    # To whoever listens now, which need not be us any more, by a signal that is heard.
    for heard in SIGNALS:
        if signal.getsignal(heard) is not signal.SIG_IGN:
            signal.raise_signal(heard)
            return


def _is_deaf(frame: FrameType | None) -> bool:
    """Whether an exception out of nowhere would be lost on who is at work."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _DEAF:
            return True
        frame = frame.f_back
    return False
