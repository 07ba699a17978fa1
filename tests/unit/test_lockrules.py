"""Which rule locks follow, by the settings: of each database, of a copy, or none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from backup.errors import SettingsError
from backup.lockrules import lock_rule, longest
from backup.settings import Settings, load

DAY = timedelta(days=1)
FILE = """
repository = "s3://firm/backups"
zone = "Europe/London"
[s3]
lock = "compliance"
[retention]
keep_daily = 14
[databases.portal]
schedule = "0 * * * *"
[databases.stock]
zone = "Asia/Tokyo"
retention = {keep_daily = 0, keep_weekly = 3}
[[copies]]
name = "offsite"
repository = "s3://other/backups"
[copies.s3]
lock = "compliance"
lock_at_most = "P100D"
[copies.retention]
keep_monthly = 6
[[copies]]
name = "byhand"
repository = "s3://third/backups"
[copies.s3]
lock = "governance"
lock_for = "P30D"
"""


def loaded(path: Path, text: str) -> Settings:
    """Settings that a file says."""
    file = path / "strongroom.toml"
    file.write_text(text)
    return load(environment={"HOME": str(path)}, is_root=False, config=file)


def test_a_rule_has_the_policy_and_the_schedule_of_its_database(tmp_path: Path) -> None:
    """And a copy its own policy, unless its lock was set by hand."""
    settings = loaded(tmp_path, FILE)
    portal, stock = lock_rule(settings, "portal"), lock_rule(settings, "stock")
    assert portal is not None
    assert stock is not None
    assert portal.schedule is not None
    assert (portal.schedule.text, portal.schedule.zone) == ("0 * * * *", "Europe/London")
    assert (portal.policy.keep_daily, portal.at_most) == (14, 365 * DAY)
    assert stock.schedule is None
    assert (stock.policy.keep_weekly, stock.policy.zone.key) == (3, "Asia/Tokyo")
    assert longest(settings, None) == 21 * DAY
    unknown = lock_rule(settings, "gone")
    assert unknown is not None
    assert unknown.policy.keep_daily == 14
    offsite, byhand = settings.copies
    rule = lock_rule(settings, "portal", offsite)
    assert rule is not None
    assert (rule.policy.keep_monthly, rule.policy.keep_daily) == (6, 0)
    assert longest(settings, offsite) == 100 * DAY
    assert lock_rule(settings, "portal", byhand) is None
    assert longest(settings, byhand) is None


def test_a_lock_without_a_policy_or_a_time_is_refused(tmp_path: Path) -> None:
    """Nobody said how long; also of a copy, which may have a policy of its own."""
    with pytest.raises(SettingsError, match="s3: lock needs a retention that keeps something"):
        loaded(tmp_path, '[s3]\nlock = "compliance"\n')
    of_copy = (
        '[[copies]]\nname = "off"\nrepository = "s3://x-y"\n[copies.s3]\nlock = "compliance"\n'
    )
    with pytest.raises(SettingsError, match="copy off: lock needs a retention"):
        loaded(tmp_path, of_copy)
    settings = loaded(tmp_path, of_copy + "[copies.retention]\nkeep_last = 2\n")
    assert longest(settings, settings.copies[0]) == DAY
    settings = loaded(tmp_path, '[s3]\nlock = "compliance"\nlock_for = "P1D"\n')
    assert lock_rule(settings, "portal") is None
    alone = '[s3]\nlock = "compliance"\n[retention]\nkeep_last = 1\n'
    settings = loaded(tmp_path, f'name = "portal"\nschedule = "0 2 * * *"\n{alone}')
    rule = lock_rule(settings, "portal")
    assert rule is not None
    assert rule.schedule is not None
