"""A sample database as SQL: the client portal of a financial-advice firm that does not exist.

Deterministic: the same scale gives the same rows in the same order on every server from
PostgreSQL 15 on. Everybody in it is made up: National Insurance numbers start with QQ, telephone
numbers are those that the regulator keeps for drama, addresses end in `.example`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources

_LAST_LOADED = dt.date(2026, 6, 16)

_SESSION = """\
SET LOCAL timezone = 'UTC';
SET LOCAL search_path = pg_catalog;
SET LOCAL statement_timeout = 0;
SET LOCAL synchronous_commit = off;
SET LOCAL client_min_messages = warning;
SET LOCAL maintenance_work_mem = '128MB';
SET LOCAL work_mem = '64MB';
SET LOCAL jit = off;
"""

# Same numbers on every server version, others every day: the day's number is part of every salt.
_SEED_BEGINS = """\
CREATE SCHEMA demo_seed;
GRANT USAGE ON SCHEMA demo_seed TO PUBLIC;
CREATE FUNCTION demo_seed.pick(n bigint, salt integer, size bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hashint8extended(n, {day} * 1000::bigint + salt) & 9223372036854775807) % size;
"""
_SEED_ENDS = "DROP SCHEMA demo_seed CASCADE;\n"

_CREATION = (
    ("roles", "01_roles.sql"),
    ("schema", "02_schema.sql"),
    ("people", "03_people.sql"),
    ("portfolios and transactions", "04_portfolios.sql"),
    ("valuations", "05_valuations.sql"),
    ("documents and large objects", "06_documents.sql"),
    ("messages and audit trail", "07_messages.sql"),
    ("keys and indexes", "08_keys.sql"),
    ("views, triggers, row security", "09_security.sql"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """SQL that any connection of a superuser can send as it is: one transaction of its own."""

    label: str
    sql: str


def create_sql(scale: float = 1.0) -> tuple[Step, ...]:
    """The steps that fill an empty database. Scale 1 is a dump of about 170 MB.

    Creates roles named `portal_…` where they are missing. Afterwards `ANALYZE` is done.
    """
    return (
        _step("random numbers", _seed(day=0), {}),
        *(_step(label, _text(name), _sizes(scale)) for label, name in _CREATION),
        _step("statistics", _SEED_ENDS + "ANALYZE;\n", {"default_statistics_target": "10"}),
    )


def change_sql(day: int = 1, scale: float = 1.0) -> tuple[Step, ...]:
    """The steps of the `day`-th business day (from 1) after the database of that scale was made.

    About one row in a hundred is new, changed or deleted. The days are meant to be run in order.
    """
    if day < 1:
        raise ValueError(f"days are counted from 1, not {day}")
    settings = _sizes(scale) | {
        "portal_demo.day": str(day),
        "portal_demo.date": _business_day(day).isoformat(),
    }
    text = _seed(day=day) + _text("day.sql") + _SEED_ENDS
    return (_step(f"business day {day}", text, settings),)


def as_script(steps: tuple[Step, ...]) -> str:
    r"""One text for `psql -X -v ON_ERROR_STOP=1 -f`."""
    return "\n".join(f"-- {step.label}\n{step.sql}" for step in steps)


async def run_steps(
    steps: tuple[Step, ...],
    execute: Callable[[str], Awaitable[object]],
    *,
    begin: Callable[[Step], object] = lambda _step: None,
) -> None:
    """Sends the steps in order; `execute` takes a text of many statements, as asyncpg's does."""
    for step in steps:
        begin(step)
        await execute(step.sql)


def _sizes(scale: float) -> dict[str, str]:
    """How many rows of each kind, as settings that the SQL reads with `current_setting`."""
    if not scale > 0:
        raise ValueError(f"scale must be above 0, not {scale}")
    base = {
        "clients": 3_000,
        "transactions": 200_000,
        "documents": 1_500,
        "messages": 40_000,
        "events": 120_000,
    }
    return {f"portal_demo.{name}": str(max(48, round(rows * scale))) for name, rows in base.items()}


def _seed(*, day: int) -> str:
    return _SEED_BEGINS.format(day=day) + _text("00_seed.sql")


def _step(label: str, text: str, settings: dict[str, str]) -> Step:
    values = "".join(f"SET LOCAL {k} = '{v}';\n" for k, v in settings.items())
    return Step(label=label, sql=f"BEGIN;\n{_SESSION}{values}{text}COMMIT;\n")


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _business_day(day: int) -> dt.date:
    weeks, rest = divmod(_LAST_LOADED.weekday() + day, 5)
    return _LAST_LOADED + dt.timedelta(days=7 * weeks + rest - _LAST_LOADED.weekday())
