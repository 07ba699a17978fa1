"""S3 servers by name, each started once a session, when a test first asks for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from tests.lab.buckets import S3Server, moto
from tests.lab.radosgw import radosgw, skip_without


@contextlib.contextmanager
def _unconditional() -> Iterator[S3Server]:
    """The mock, taken for a store that has no conditional put."""
    with moto() as server:
        yield replace(server, profile="other")


SERVERS: dict[str, Callable[[], AbstractContextManager[S3Server]]] = {
    "moto": moto,
    "moto-unconditional": _unconditional,
    "radosgw": radosgw,
}


class S3Servers:
    """The servers that run; they end with the session."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, S3Server] = {}

    def named(self, name: str) -> S3Server:
        """Return the server of that name; skips the test where it can't be had."""
        if name not in self._running:
            if name == "radosgw":
                skip_without()
            self._running[name] = self._stack.enter_context(SERVERS[name]())
        return self._running[name]
