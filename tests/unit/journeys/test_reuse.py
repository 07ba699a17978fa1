"""Which backups a new one takes known chunks from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from backup.journeys.reuse import _recent
from backup.repository.layout import BackupId, BackupKey

START = datetime(2026, 3, 1, tzinfo=UTC)


def backup(database: str, hours: int) -> BackupKey:
    """A backup that began so many hours after the first."""
    return BackupKey(database, BackupId.new(START + timedelta(hours=hours), b"abc"))


def test_three_of_this_database_and_the_newest_of_ten_others() -> None:
    """The others are those backed up last; however many there are, no more are read."""
    own = [backup("portal", hours) for hours in range(5)]
    others = [
        backup(f"d{number:03}", 10 * day + number % 10) for day in (1, 2) for number in range(200)
    ]
    recent = _recent([*others, *own], "portal")
    assert [key for key in recent if key.database == "portal"] == own[2:]
    rest = [key for key in recent if key.database != "portal"]
    assert len(rest) == len({key.database for key in rest}) == 10
    assert {key.id.started for key in rest} == {START + timedelta(hours=29)}
    assert recent == sorted(recent, key=lambda key: (key.id, key.database))


def test_a_database_without_a_backup_has_the_others() -> None:
    """And a repository without any has none."""
    assert _recent([backup("other", 1), backup("other", 2)], "portal") == [backup("other", 2)]
    assert _recent([], "portal") == []
