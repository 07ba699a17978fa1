"""Every store there is, each empty: a new kind of store is one more entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore
from tests.lab.s3servers import SERVERS, S3Servers


def _memory(directory: Path) -> Callable[[], Store]:
    store = MemoryStore(f"memory:{directory.name}")
    return lambda: store


def _local(directory: Path) -> Callable[[], Store]:
    return lambda: LocalStore(directory / "repository")


STORES = {"memory": _memory, "local": _local}


@pytest.fixture(params=sorted([*STORES, *SERVERS]))
def reopen(
    request: pytest.FixtureRequest, tmp_path: Path, s3_servers: S3Servers
) -> Callable[[], Store]:
    """A way to open the same objects again, as another process would."""
    if request.param in STORES:
        return STORES[request.param](tmp_path)
    server = s3_servers.named(request.param)
    bucket = server.new_bucket()
    return lambda: server.store(bucket, "some/prefix")


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Iterator[Store]:
    """An empty store."""
    opened = reopen()
    yield opened
    if isinstance(opened, LocalStore):
        opened.close()
