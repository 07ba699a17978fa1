"""Which backup is tested follows from what was logged before."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from backup.errors import NotFoundError
from backup.evidence.selection import Choice, choose
from backup.repository.layout import BackupId, BackupKey

FIRST = datetime(2026, 1, 14, 2, 0, tzinfo=UTC)
KEYS = [
    BackupKey("portal", BackupId.new(FIRST + timedelta(days=day), bytes([day] * 3)))
    for day in range(5)
]


@pytest.mark.parametrize(
    ("choice", "position"),
    [
        (Choice(rule="latest"), 4),
        (Choice(rule="oldest"), 0),
        (Choice(rule="named", backup_id=KEYS[3].id.text), 3),
    ],
)
def test_a_rule_takes_one(choice: Choice, position: int) -> None:
    """And says how many there were."""
    key, selection = choose(KEYS, choice)
    assert key == KEYS[position]
    assert (selection.rule, selection.seed) == (choice.rule, None)
    assert (selection.position, selection.population) == (position, 5)


def test_a_random_one_can_be_worked_out_again() -> None:
    """SHA-256 of the seed, as one number, modulo the population."""
    seed = bytes(range(16))
    key, selection = choose(KEYS, Choice(rule="random", seed=seed))
    position = int(hashlib.sha256(seed).hexdigest(), 16) % 5
    assert (key, selection.position, selection.seed) == (KEYS[position], position, seed.hex())


def test_every_one_comes_up() -> None:
    """Different seeds take different backups."""
    seeds = [bytes([number]) * 16 for number in range(100)]
    found = {choose(KEYS, Choice(rule="random", seed=seed))[0] for seed in seeds}
    assert found == set(KEYS)


def test_nothing_to_choose_from_is_an_error() -> None:
    """No backup at all, or none of that name."""
    with pytest.raises(NotFoundError, match="no backup to test"):
        choose([], Choice(rule="latest"))
    with pytest.raises(NotFoundError, match="no backup 'x'"):
        choose(KEYS, Choice(rule="named", backup_id="x"))
