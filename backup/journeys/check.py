"""One thing that `doctor` looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was observed and, where it is not good, what to do."""

    name: str
    status: Status
    observed: str
    hint: str | None = None
