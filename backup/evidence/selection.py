"""Which backup a restore test takes: said before it runs, so that nobody can pick a good one. Pure.

A random choice follows from a seed that is logged first, and anybody can work it out again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from backup.errors import NotFoundError
from backup.evidence.report import Selection, SelectionRule
from backup.repository.layout import BackupKey

SEED_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was asked for: a rule, with `seed` for `random` and `backup_id` for `named`."""

    rule: SelectionRule
    seed: bytes | None = None
    backup_id: str | None = None


def choose(population: Sequence[BackupKey], choice: Choice) -> tuple[BackupKey, Selection]:
    """Return the backup out of the population (oldest first), and how it came to be this one.

    Raises `NotFoundError` if there is none, or none of that name.
    """
    if not population:
        raise NotFoundError("there is no backup to test", hint="take one with `strongroom backup`")
    position = _position(population, choice)
    return population[position], Selection(
        rule=choice.rule,
        seed=None if choice.seed is None else choice.seed.hex(),
        population=len(population),
        position=position,
    )


def _position(population: Sequence[BackupKey], choice: Choice) -> int:
    if choice.rule == "oldest":
        return 0
    if choice.rule == "latest":
        return len(population) - 1
    if choice.rule == "random":
        digest = hashlib.sha256(choice.seed or b"").digest()
        return int.from_bytes(digest, "big") % len(population)
    for position, key in enumerate(population):
        if key.id.text == choice.backup_id:
            return position
    raise NotFoundError(
        f"there is no backup {choice.backup_id!r} to test", hint="`strongroom list` shows the ids"
    )
