"""What is noted of damaged chunk objects, and when it is forgotten."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from backup.damaged import DamagedObjects
from backup.errors import (
    Flaw,
    IntegrityError,
    KeyUnavailableError,
    NotFoundError,
    StoreError,
    StrongroomError,
)

ONE, TWO = b"\1" * 32, b"\2" * 32


@pytest.fixture
def damaged(tmp_path: Path) -> DamagedObjects:
    """Those of one repository."""
    return DamagedObjects(tmp_path / "state", "a" * 32)


@pytest.mark.parametrize("flaw", ["altered", "truncated", "unauthentic"])
def test_wrong_bytes_are_noted(damaged: DamagedObjects, flaw: Flaw, tmp_path: Path) -> None:
    """For this repository, and for whoever looks next."""
    assert damaged.all() == frozenset()
    damaged.note(ONE, IntegrityError("wrong", flaw=flaw))
    assert DamagedObjects(tmp_path / "state", "a" * 32).all() == {ONE}
    assert DamagedObjects(tmp_path / "state", "b" * 32).all() == frozenset()


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("gone"),  # the listing tells
        StoreError("not read"),
        KeyUnavailableError("sealed to somebody else"),
        IntegrityError("its manifest", flaw="unsigned"),
    ],
)
def test_what_says_nothing_of_the_bytes_is_not_noted(
    damaged: DamagedObjects, error: StrongroomError
) -> None:
    """It would be stored twice for nothing."""
    damaged.note(ONE, error)
    assert damaged.all() == frozenset()


def test_who_is_sound_again_is_forgotten_by_who_can_tell(damaged: DamagedObjects) -> None:
    """A checksum says nothing of what only opening showed."""
    damaged.note(ONE, IntegrityError("bytes", flaw="altered"))
    damaged.note(TWO, IntegrityError("another chunk", flaw="unauthentic"))
    damaged.clear([b"\3" * 32], is_opened=True)
    assert damaged.all() == {ONE, TWO}
    damaged.clear([ONE, TWO], is_opened=False)
    assert damaged.all() == {TWO}
    damaged.clear([TWO], is_opened=True)
    assert damaged.all() == frozenset()


def test_what_cannot_be_noted_hides_nothing(
    damaged: DamagedObjects, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who finds damage goes on and tells it; who would rely on the notes is refused."""
    (tmp_path / "state").write_text("no directory", encoding="ascii")
    with caplog.at_level(logging.WARNING):
        damaged.note(ONE, IntegrityError("bytes"))
        damaged.clear([ONE], is_opened=True)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    with pytest.raises(StoreError, match=r"reading .*damaged"):
        damaged.all()
