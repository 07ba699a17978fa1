"""Hosts that reach for the one lease of a repository at the same moment: one of them gets it.

Threads for many hosts at exactly the same moment, and real daemons for two.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from backup.errors import BusyError
from backup.postgres.dsn import Dsn
from backup.repository.lease import Lease, read_leases, release, take
from backup.repository.retention import CLOCK_TOLERANCE
from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from tests.faults.vault import BucketVault, Vault
from tests.faults.watched import Running, Watched, until
from tests.lab.effort import Numbers
from tests.lab.servers import LabServer
from tests.samples import MOMENT
from tests.unit.repository.test_lease import lease

if TYPE_CHECKING:
    from tests.lab.s3servers import S3Servers

HOSTS = 6
# Of buckets a real server's: the mock has puts that are one step only because the lab makes it so.
PLACES = ("directory", "radosgw")


def places(where: str, directory: Path, s3_servers: S3Servers) -> list[Store]:
    """The same place as each of the hosts opens it."""
    if where == "directory":
        return [LocalStore(directory) for _ in range(HOSTS)]
    server = s3_servers.named(where)
    bucket = server.new_bucket()
    return [server.store(bucket) for _ in range(HOSTS)]


@pytest.mark.parametrize("where", PLACES)
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


@pytest.fixture(params=PLACES)
def shared(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    any_server: LabServer,
    portal: Dsn,
    s3_servers: S3Servers,
) -> Watched:
    """Settings of a daemon whose repository other hosts may open too."""
    if request.param == "directory":
        return Watched.make(Vault.make(tmp_path, any_server, portal))
    s3 = s3_servers.named(request.param)
    return Watched.make(BucketVault.within(s3, tmp_path, any_server, portal))


@pytest.fixture
def elsewhere(shared: Watched, tmp_path: Path) -> Watched:
    """The same daemon on another host: it has the keys, and a state directory of its own."""
    other = Watched(vault=shared.vault, config=tmp_path / "other.toml")
    state = tmp_path / "other-state"
    state.mkdir()
    (state / "keys").symlink_to(shared.vault.state / "keys")
    text = shared.config.read_text(encoding="utf-8")
    other.config.write_text(text.replace(str(shared.vault.state), str(state)), encoding="utf-8")
    return other


def refused(watched: Watched) -> str:
    """What a daemon says that finds another one at work; it ends with the code for that."""
    daemon = watched.start()
    try:
        assert daemon.ended() == BusyError.exit_code, daemon.text
    finally:
        daemon.process.kill()
        daemon.process.wait()
        daemon.close()
    return "".join(daemon.text)


def test_one_of_two_daemons_runs(shared: Watched, elsewhere: Watched) -> None:
    """On one host by a lock, on two by a lease; a killed one is followed at once."""
    daemon = shared.start()
    try:
        daemon.says("daemon_started")
        assert "another run is at work" in refused(shared)
        assert "daemon on" in refused(elsewhere)
    finally:
        daemon.tell(signal.SIGKILL)
        daemon.ended()
    with shared.running():
        pass


def test_of_two_daemons_that_start_together_one_runs(
    shared: Watched, elsewhere: Watched, numbers: Numbers
) -> None:
    """On two hosts: the other one says that it is busy, and ends."""
    for _ in range(numbers.of(1, 20)):
        pair = (shared.start(), elsewhere.start())
        try:
            assert_one_runs(pair)
        finally:
            for daemon in pair:
                daemon.process.kill()
                daemon.process.wait()
                daemon.close()


def assert_one_runs(pair: Iterable[Running]) -> None:
    """Of daemons that were just started."""

    def ended() -> list[Running]:
        return [daemon for daemon in pair if daemon.process.poll() is not None]

    until(lambda: bool(ended()), lambda: [daemon.text for daemon in pair])
    [beaten] = ended()
    assert beaten.ended() == BusyError.exit_code, beaten.text
    # Who looks later sees whose it is; who looks at the same moment is told that it was taken.
    assert re.search("daemon on |just taken the lease of daemon", "".join(beaten.text))
    [daemon] = [one for one in pair if one is not beaten]
    daemon.says("daemon_started")
    daemon.tell(signal.SIGTERM)
    assert daemon.ended() == 0, daemon.text


def test_another_host_follows(shared: Watched, elsewhere: Watched) -> None:
    """At once if the first ended in good order; when its lease is over if it was killed."""
    with shared.running():
        pass
    with elsewhere.running():
        pass
    daemon = shared.start()
    try:
        daemon.says("daemon_started")
    finally:
        daemon.tell(signal.SIGKILL)
        daemon.ended()
    [left] = read_leases(shared.vault.store(), ["daemon"])
    shared.go_to(left.expires)  # the other host's clock may be ahead
    assert "its lease ends at" in refused(elsewhere)
    shared.go_to(left.expires + CLOCK_TOLERANCE)
    with elsewhere.running() as other:
        other.says("slot_finished")
    assert shared.doubled() == []
    assert shared.unaccounted() == []
    assert len(shared.vault.backups()) == 1
    assert shared.vault.verified().is_good
