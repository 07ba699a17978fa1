"""`[retention]`: what it makes of a policy, and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from backup.repository.retention import Policy
from backup.retentionpolicy import DatabaseRetention, RetentionSettings


def test_what_is_not_set_asks_for_nothing_and_brakes_as_it_should() -> None:
    """Nobody said what may go, so nothing may; months of proof are kept for a year."""
    policy = RetentionSettings().policy()
    assert policy.is_empty
    assert policy.keep_proven_monthly == 12
    assert policy.minimum_count == 3
    assert policy.minimum_age == timedelta(days=1)


def test_a_database_inherits_what_its_own_table_leaves_out() -> None:
    """Also where it sets something back to nothing."""
    given = RetentionSettings(keep_daily=14, keep_weekly=5, max_expire=7)
    own = DatabaseRetention(keep_daily=0, keep_hourly=48)
    assert given.of_database(own, "Europe/London") == Policy(
        keep_hourly=48, keep_weekly=5, keep_proven_monthly=12, minimum_count=3, max_expire=7,
        zone=ZoneInfo("Europe/London"),
    )  # fmt: skip
    assert given.of_database(None) == given.policy()


@pytest.mark.parametrize(
    "given",
    [
        {"keep_dayly": 3},
        {"keep_daily": -1},
        {"zone": "Mars/Olympus"},
        {"zone": "../etc/passwd"},
        {"minimum_count": 0},
        {"sweep_grace": timedelta(hours=23)},
    ],
)
def test_what_would_delete_by_mistake_is_refused(given: dict[str, object]) -> None:
    """A typo, a zone that does not exist, a grace period shorter than a run may take."""
    with pytest.raises(ValidationError):
        RetentionSettings.model_validate(given)
