"""What may be started, as values: a command, whom it runs as, what it finds around it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from pydantic import SecretStr

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The name that a child's standard input has in the child; with `run` it can seek in it.
STANDARD_INPUT: Final = "/proc/self/fd/0"
# An argument that stands for the name of the `attached` bytes in the child: a file in memory.
ATTACHED: Final = "<attached>"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """The user that a child runs as when we are root."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start. `label` names it in messages: what is done and to what.

    `passfile` is the text of a libpq password file. `attached` is what the child finds in the
    file that the argument `ATTACHED` names; neither is ever on a disk. `death_signal` is what it
    gets when we die, `grace` how long it has to go before it is killed. `has_large_buffer`: it
    moves large pieces, where C's stdio would move 4 KiB at a time through a pipe.
    """

    label: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    passfile: SecretStr | None = None
    attached: bytes | None = field(default=None, repr=False)
    user: RunAs | None = None
    death_signal: signal.Signals = signal.SIGTERM
    grace: timedelta = timedelta(seconds=5)
    has_large_buffer: bool = False


def child_environment(given: Mapping[str, str], home: str) -> dict[str, str]:
    """Return the whole environment of a child: these few, and what its command gives."""
    return {
        "PATH": SEARCH_PATH,
        "HOME": home,
        "LANG": "C.UTF-8",
        "LC_MESSAGES": "C",  # messages are read by people and by us: never translated
        "TZ": "UTC",
        **given,
    }
