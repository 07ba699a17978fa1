"""Whether content is digested follows from the setting and from earlier backups that count."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backup.journeys.digestpolicy import are_digests_due
from backup.repository.access import Repository
from backup.repository.manifest import MANIFEST_NAMESPACE
from tests.samples import KEY, MOMENT, STRANGER, Writing, allowed, repository


@pytest.fixture
def earlier() -> Repository:
    """A repository with one backup of `MOMENT`, which has digests."""
    opened = repository()
    writing = Writing(opened.store)
    writing.writer.finish(writing.store_all({"schema": b"s", "rest": b"r", "globals": b"g"}))
    return opened


def test_never_and_always_ask_nobody() -> None:
    """They hold whatever was taken before."""
    assert not are_digests_due(repository(), KEY.database, allowed(), "never", now=MOMENT)
    assert are_digests_due(repository(), KEY.database, allowed(), "always", now=MOMENT)


@pytest.mark.parametrize(
    ("later", "is_due"),
    [
        (timedelta(days=1), False),
        (timedelta(days=6, hours=11), False),
        (timedelta(days=7) - timedelta(minutes=1), True),
    ],
)
def test_weekly_counts_from_the_newest_digests(
    earlier: Repository, later: timedelta, is_due: bool
) -> None:
    """A weekly backup that begins a minute early takes them too."""
    now = MOMENT + later
    assert are_digests_due(earlier, KEY.database, allowed(), "weekly", now=now) is is_due


def test_weekly_is_of_one_name(earlier: Repository) -> None:
    """Another database's digests say nothing of this one."""
    assert are_digests_due(earlier, "other", allowed(), "weekly", now=MOMENT)


def test_what_nobody_vouches_for_does_not_count(earlier: Repository) -> None:
    """Neither an unpinned signer's word, nor a damaged manifest's."""
    now = MOMENT + timedelta(days=1)
    strangers = allowed(STRANGER, MANIFEST_NAMESPACE)
    assert are_digests_due(earlier, KEY.database, None, "weekly", now=now)
    assert are_digests_due(earlier, KEY.database, strangers, "weekly", now=now)
    earlier.store.delete(KEY.signature)
    assert are_digests_due(earlier, KEY.database, allowed(), "weekly", now=now)
