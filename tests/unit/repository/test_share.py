"""A rolling share: each chunk once within the period, whatever days were missed."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime

import pytest

from backup.repository.share import day_of, share_due
from tests.lab.effort import tries

CHUNKS = [hashlib.sha256(b"%d" % n).digest() for n in range(3000)]


@pytest.mark.parametrize("days", [1, 2, 7, 30, 365])
def test_in_one_period_each_chunk_is_read_exactly_once(days: int) -> None:
    """From whatever day; and the shares are about alike."""
    shares = [share_due(days, today=1000 + n, last=999 + n) for n in range(days)]
    some = CHUNKS[: 20_000 // days]
    assert all(sum(share.holds(chunk) for share in shares) == 1 for chunk in some)
    if days == 7:
        sizes = [sum(map(share.holds, CHUNKS)) for share in shares]
        assert max(sizes) < 1.3 * min(sizes)


def test_days_that_were_missed_are_made_up_for() -> None:
    """However runs fall, no chunk waits longer than the period and the longest gap after it."""
    chance = random.Random(5)
    for _ in range(tries(few=10, some=50, full=50)):
        last, read = None, dict.fromkeys(CHUNKS[:200], 0)
        today = 0
        while today < 60:
            share = share_due(10, today=today, last=last)
            for chunk in read:
                if share.holds(chunk):
                    read[chunk] = today
            if today >= 10:
                assert min(read.values()) > today - 10
            last, today = today, today + chance.choice([1, 1, 1, 2, 5])
    everything = share_due(10, today=100, last=3)
    assert all(map(everything.holds, CHUNKS))


def test_twice_on_a_day_is_the_same_share() -> None:
    """And so it is with a clock that was set back."""
    assert share_due(10, today=7, last=7) == share_due(10, today=7, last=9)
    assert share_due(10, today=7) == share_due(10, today=7, last=6)


def test_a_day_is_one_of_utc() -> None:
    """Counted from 1970."""
    assert day_of(datetime(1970, 1, 2, 23, 59, tzinfo=UTC)) == 1


def test_a_period_of_no_days_is_refused() -> None:
    """There is nothing to choose from."""
    with pytest.raises(ValueError, match="at least one day"):
        share_due(0, today=1)
