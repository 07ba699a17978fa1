"""How often the daemon looks at everything."""

from __future__ import annotations

from scheduler.watch import LOOK_EVERY, rest_after


def test_looking_takes_a_tenth_of_the_time_at_most() -> None:
    """However often something ends; and no rest is longer than the look that comes anyway."""
    for took in (0.05, 2.0, 20.0):
        assert took / (took + rest_after(took)) <= 0.1 + 1e-9
        assert rest_after(took) < LOOK_EVERY.total_seconds()
