"""Every store there is, each empty: a new kind of store is one more entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore


def _memory(directory: Path) -> Callable[[], Store]:
    store = MemoryStore(f"memory:{directory.name}")
    return lambda: store


def _local(directory: Path) -> Callable[[], Store]:
    return lambda: LocalStore(directory / "repository")


STORES = {"memory": _memory, "local": _local}


@pytest.fixture(params=sorted(STORES))
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """A way to open the same objects again, as another process would."""
    return STORES[request.param](tmp_path)


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Iterator[Store]:
    """An empty store."""
    opened = reopen()
    yield opened
    if isinstance(opened, LocalStore):
        opened.close()
