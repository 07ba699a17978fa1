"""Every store there is, each empty: a new kind of store is one more entry here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from backup.repository.stores.memory import MemoryStore
from tests.lab import buckets
from tests.lab.buckets import S3Server


def _memory(directory: Path) -> Callable[[], Store]:
    store = MemoryStore(f"memory:{directory.name}")
    return lambda: store


def _local(directory: Path) -> Callable[[], Store]:
    return lambda: LocalStore(directory / "repository")


STORES = {"memory": _memory, "local": _local}


@contextlib.contextmanager
def _unconditional() -> Iterator[S3Server]:
    """The mock, taken for a store that has no conditional put."""
    with buckets.moto() as server:
        yield replace(server, profile="other")


SERVERS: dict[str, Callable[[], AbstractContextManager[S3Server]]] = {
    "moto": buckets.moto,
    "moto-unconditional": _unconditional,
}


class S3Servers:
    """S3 servers, each started when it is first asked for."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, S3Server] = {}

    def named(self, name: str) -> S3Server:
        """The server of that name."""
        if name not in self._running:
            self._running[name] = self._stack.enter_context(SERVERS[name]())
        return self._running[name]


@pytest.fixture(scope="session")
def s3_servers() -> Iterator[S3Servers]:
    """The servers, until the session ends."""
    with contextlib.ExitStack() as stack:
        yield S3Servers(stack)


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
