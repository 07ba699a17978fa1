"""What is said of a server's lock table."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from backup.postgres.locktable import HINT, SETTING, LockTable, is_full
from backup.postgres.scratch import THROW_AWAY, throw_away_for

# PostgreSQL's own defaults: 100 sessions, 64 locks each, three workers, eight more, ten senders.
DEFAULTS = LockTable(
    tables=100, sequences=100, major=16, per_session=64, sessions=100, all_sessions=121
)


@pytest.mark.parametrize(
    ("tables", "sequences", "major", "status"),
    [
        (0, 0, 16, "good"),
        (2133, 0, 16, "good"),
        (2134, 0, 16, "warning"),
        (1280, 1280, 16, "good"),
        (1281, 1280, 16, "warning"),
        (1281, 1280, 17, "good"),
        (2133, 9999, 18, "good"),
        (7744, 0, 18, "warning"),
        (7745, 0, 18, "bad"),
        (50_000, 50_000, 18, "bad"),
    ],
)
def test_status(tables: int, sequences: int, major: int, status: str) -> None:
    """Three locks a table; before 17 two a sequence; bad only where no two sessions find room."""
    assert replace(DEFAULTS, tables=tables, sequences=sequences, major=major).status == status


@pytest.mark.parametrize("tables", [2134, 5000, 50_000, 1_000_000])
@pytest.mark.parametrize("major", [15, 18])
def test_the_value_that_is_named_is_enough(tables: int, major: int) -> None:
    """With it the status is good, and with a step less it is not."""
    table = replace(DEFAULTS, tables=tables, sequences=tables, major=major)
    value = table.needed_per_session
    assert replace(table, per_session=value).status == "good"
    assert replace(table, per_session=value - 64).status != "good"
    assert value % 64 == 0


def test_a_full_table_is_known_by_the_setting() -> None:
    """The server's words may be in any language; what helps names the command that knows more."""
    german = "FEHLER: kein Shared Memory mehr; TIPP: Sie müssen evtl. max_locks_per_transaction …"
    assert is_full(german)
    assert not is_full("ERROR:  out of memory")
    assert re.search(rf"{SETTING}.*strongroom doctor", HINT)


@pytest.mark.parametrize("tables", [0, 65_536, 65_537, 1_000_000])
def test_a_scratch_cluster_takes_every_table(tables: int) -> None:
    """One session can lock all of them, and small databases get what they always had."""
    settings = throw_away_for(tables)
    slots = int(settings[SETTING]) * int(settings["max_connections"])
    assert slots >= tables
    assert settings.keys() == THROW_AWAY.keys()
    assert int(settings[SETTING]) >= int(THROW_AWAY[SETTING])
