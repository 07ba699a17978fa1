"""How much is tried of what chance decides: little while somebody waits, more in CI, and all of it.

`make unit` asks for `few`; `FAULTS=full` for `full`; everything else, CI too, tries `some`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, TypeVar

EFFORT: Final = "full" if os.environ.get("FAULTS") == "full" else os.environ.get("EFFORT", "some")


def tries(*, few: int, some: int, full: int) -> int:
    """The number for this run."""
    return {"few": few, "some": some, "full": full}[EFFORT]


Number = TypeVar("Number")


@dataclass(frozen=True, slots=True)
class Numbers:
    """How much is tried of what chance does not decide."""

    is_full: bool

    def of(self, short: Number, full: Number) -> Number:
        """The number for this run."""
        return full if self.is_full else short
