"""The sample database is SQL text: whole transactions, sizes by scale, days by the calendar."""

from __future__ import annotations

import asyncio

import pytest

from backup.demo.portal import Step, as_script, change_sql, create_sql, run_steps


def test_steps_are_transactions() -> None:
    """Every step begins and commits once, so any connection can send it by itself."""
    for step in (*create_sql(), *change_sql()):
        assert step.sql.startswith("BEGIN;\n")
        assert step.sql.endswith("COMMIT;\n")


@pytest.mark.parametrize(
    ("day", "date"),
    [(1, "2026-06-17"), (3, "2026-06-19"), (4, "2026-06-22"), (8, "2026-06-26"), (9, "2026-06-29")],
)
def test_days_are_business_days(day: int, date: str) -> None:
    """Days skip Saturdays and Sundays."""
    (step,) = change_sql(day)
    assert f"SET LOCAL portal_demo.date = '{date}';" in step.sql


def test_scale_sets_the_sizes() -> None:
    """The number of clients follows the scale."""
    assert "portal_demo.clients = '600'" in as_script(create_sql(0.2))
    assert "portal_demo.clients = '30000'" in as_script(create_sql(10))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_scale_is_above_zero(scale: float) -> None:
    """A scale that makes no rows is refused."""
    with pytest.raises(ValueError, match="above 0"):
        create_sql(scale)


def test_days_are_counted_from_one() -> None:
    """Day 0 is the database as it was made."""
    with pytest.raises(ValueError, match="counted from 1"):
        change_sql(0)


def test_steps_are_sent_in_order() -> None:
    """Every step is announced, then sent, and the next one waits for it."""
    told: list[str] = []

    async def execute(sql: str) -> None:
        await asyncio.sleep(0)
        told.append(sql)

    steps = (Step(label="one", sql="SELECT 1"), Step(label="two", sql="SELECT 2"))
    asyncio.run(run_steps(steps, execute, begin=lambda step: told.append(step.label)))
    assert told == ["one", "SELECT 1", "two", "SELECT 2"]
