"""The laws of retention in random histories: `FAULTS=full` asks 100,000 of them."""

from __future__ import annotations

import random

import pytest

from tests.lab.effort import Numbers
from tests.lab.retention import assert_laws

BATCHES = 2


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_brake_is_broken(batch: int, chance: random.Random, numbers: Numbers) -> None:
    """Partition, order, idempotence, monotony, and no brake broken."""
    for _ in range(batch):
        chance.seed(chance.random())  # with a seed that was given, each batch has its own
    assert_laws(chance, numbers.of(1_000, 100_000) // BATCHES)
