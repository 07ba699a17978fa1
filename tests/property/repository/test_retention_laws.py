"""The laws of retention; `tests/faults/test_retention.py` asks many more histories."""

from __future__ import annotations

import os
import random

from tests.lab.effort import tries
from tests.lab.retention import assert_laws

HISTORIES = tries(few=25, some=100, full=100)


def test_the_laws_hold_in_random_histories() -> None:
    """Partition, order, idempotence, monotony, and no brake broken."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FAULTS_SEED={seed}")  # noqa: T201 - shown when the test fails
    assert_laws(random.Random(seed), HISTORIES)
