"""Hosts that reach for the one lease of a repository at the same moment: one of them gets it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from backup.errors import BusyError
from backup.repository.lease import Lease, read_leases, release, take
from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from tests.lab.effort import Numbers
from tests.samples import MOMENT
from tests.unit.repository.test_lease import lease

if TYPE_CHECKING:
    from tests.lab.s3servers import S3Servers

HOSTS = 6


def places(where: str, directory: Path, s3_servers: S3Servers) -> list[Store]:
    """The same place as each of the hosts opens it."""
    if where == "directory":
        return [LocalStore(directory) for _ in range(HOSTS)]
    server = s3_servers.named("moto")
    bucket = server.new_bucket()
    return [server.store(bucket) for _ in range(HOSTS)]


@pytest.mark.parametrize("where", ["directory", "bucket"])
@pytest.mark.parametrize("kind", ["daemon", "prune"])
def test_one_host_of_many_gets_the_lease(
    where: str,
    kind: Literal["daemon", "prune"],
    numbers: Numbers,
    tmp_path: Path,
    s3_servers: S3Servers,
) -> None:
    """All the others are told that somebody is at work; when it is over, one of them gets it."""
    stores = places(where, tmp_path, s3_servers)
    for _ in range(numbers.of(4, 100)):
        start = threading.Barrier(HOSTS)

        def reach(host: int, start: threading.Barrier = start) -> Lease | None:
            mine = replace(lease(kind), host=f"host{host}")
            start.wait(60)
            try:
                return take(stores[host], mine, MOMENT)
            except BusyError:
                return None

        with ThreadPoolExecutor(HOSTS) as hosts:
            (won,) = filter(None, hosts.map(reach, range(HOSTS)))
        assert [one.host for one in read_leases(stores[0])] == [won.host]
        release(stores[0], won)
        assert read_leases(stores[0]) == []
