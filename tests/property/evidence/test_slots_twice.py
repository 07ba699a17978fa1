"""The stock verifier of a period pack and this program count the same slots; they share nothing."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from backup.errors import SettingsError
from backup.evidence.bundle import stock_verifier
from backup.schedule import Schedule
from tests.samples_bundle import at

VERIFIER: Any = ModuleType("verify_log")
exec(stock_verifier("verify-log.py"), VERIFIER.__dict__)

ZONES = [
    "UTC", "Europe/London", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kolkata",
    "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia", "America/Havana", "Asia/Kathmandu",
]  # fmt: skip
# Both changes of the clocks in most of these zones, a leap day, a year's end, a day that Apia left
# out.
MOMENTS = [
    at(day)
    for day in (
        "2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2028-02-29", "2026-12-31",
        "2026-04-05", "2026-10-04", "2011-12-30", "2026-04-24", "2026-10-29",
    )
]  # fmt: skip


def field(lowest: int, highest: int) -> st.SearchStrategy[str]:
    """One field of a crontab."""
    number = st.integers(lowest, highest)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 20)).map(
        lambda both: f"{both[0]}/{both[1]}"
    )
    return st.one_of(
        st.just("*"), st.lists(st.one_of(number.map(str), span, step), min_size=1).map(",".join)
    )


CRONTABS = st.one_of(
    st.sampled_from(["@hourly", "@daily", "@weekly", "0 * * * *", "30 1 * * *", "*/15 2 * * *"]),
    st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join),
    st.sampled_from(["0 0 * jan-mar mon-fri", "5 4 1 * sun", "1 1 * * fri-sun", "0 1-3 29 2 *"]),
)


@given(
    text=CRONTABS,
    zone=st.sampled_from(ZONES),
    moment=st.sampled_from(MOMENTS),
    before=st.integers(0, 2 * 86_400),
    length=st.integers(0, 3 * 86_400),
)
@example(text="30 1 * * *", zone="Europe/London", moment=MOMENTS[0], before=86_400, length=259_200)
@example(text="30 1 * * *", zone="Europe/London", moment=MOMENTS[1], before=86_400, length=259_200)
@example(text="0 * * * *", zone="Europe/London", moment=MOMENTS[1], before=86_400, length=259_200)
@example(text="0 0 * * *", zone="Pacific/Apia", moment=MOMENTS[8], before=86_400, length=259_200)
def test_both_count_the_same_slots(
    text: str, zone: str, moment: datetime, before: int, length: int
) -> None:
    """Every crontab, across changes of the clocks in both directions."""
    after = moment - timedelta(seconds=before)
    until = after + timedelta(seconds=length)
    try:
        schedule = Schedule.parse(text, zone)
    except SettingsError as error:
        assert re.search("no calendar has such a day", error.message)
        return
    ours = list(schedule.slots(after, until))
    assert list(VERIFIER.due_times(text, zone, after, until)) == ours
