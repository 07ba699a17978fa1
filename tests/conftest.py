"""Fixtures for every test: real servers, started once a session, and fresh databases on them."""

from __future__ import annotations

import contextlib
import functools
import gc
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

gc.disable()  # loading makes many objects and no garbage

from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from backup.postgres.dsn import Dsn
from tests.lab.effort import EFFORT, Numbers, tries
from tests.lab.servers import ANY_MAJOR, MAJORS, LabServer, Servers

if TYPE_CHECKING:
    from tests.lab.buckets import S3Server
    from tests.lab.s3servers import S3Servers

HOSTS = "tests/deploy"
# What takes longest a file comes first; the many short ones fill what is left of a process.
ORDER = (HOSTS, *(f"tests/{lane}" for lane in ("faults", "soak", "e2e", "integration", "contract")))

# Every run draws other examples: few each time, and many where there is time.
settings.register_profile(EFFORT, max_examples=tries(few=8, some=30, full=2000), deadline=None)
settings.load_profile(EFFORT)


class Lanes(LoadFileScheduling):
    """Whole files to each process, as its fixtures are made once; all tests of the site to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return HOSTS if file.startswith(HOSTS) and not has_own_lab(file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    """Deal tests out to processes."""
    return Lanes(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, or one process would end long before the other.

    Lanes are dealt out in this order by `--no-loadscope-reorder`: else by the number of their
    tests, and two hosts with four tests would come last. In a lane the order stays random.
    """
    items.sort(key=_rank)


def pytest_collection_finish() -> None:
    """Collect garbage from here on, and look for it only in what tests make."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def _rank(item: pytest.Item) -> tuple[int, bool]:
    place = next((n for n, lane in enumerate(ORDER) if item.nodeid.startswith(lane)), len(ORDER))
    return place, has_own_lab(item.nodeid.partition("::")[0])


@functools.cache
def has_own_lab(file: str) -> bool:
    """Whether a file of tests boots hosts of its own, beside those of the site."""
    text = (Path(__file__).parents[1] / file).read_text(encoding="utf-8")
    return re.search(r"^from tests\.lab\.hosts import .*\blab\b", text, re.MULTILINE) is not None


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Servers by major."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(scope="session")
def numbers() -> Numbers:
    """The short numbers, or those of `FAULTS=full`."""
    return Numbers(EFFORT == "full")


@pytest.fixture(scope="session")
def s3_servers() -> Iterator[S3Servers]:
    """S3 servers by name, each started when it is first asked for."""
    from tests.lab.s3servers import S3Servers  # takes a second, and few tests ask for it

    with contextlib.ExitStack() as stack:
        yield S3Servers(stack)


@pytest.fixture
def real_s3(s3_servers: S3Servers) -> S3Server:
    """A real S3 server with Object Lock."""
    return s3_servers.named("radosgw")


@pytest.fixture(autouse=True, scope="module")
def clean_servers(servers: Servers) -> Iterator[None]:
    """Nothing of this module's is left on the shared servers for the next one."""
    yield
    servers.clean()


@pytest.fixture(scope="session", params=MAJORS, ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest, servers: Servers) -> LabServer:
    """The server of every major, one after the other."""
    return servers.of_major(request.param)


@pytest.fixture(scope="session")
def any_server(servers: Servers) -> LabServer:
    """One server, for what does not depend on the major."""
    return servers.of_major(ANY_MAJOR)


@pytest.fixture
def database(server: LabServer) -> Iterator[Dsn]:
    """A fresh, empty database on the server of every major."""
    with server.fresh_database() as dsn:
        yield dsn


@pytest.fixture
def any_database(any_server: LabServer) -> Iterator[Dsn]:
    """A fresh, empty database on one server."""
    with any_server.fresh_database() as dsn:
        yield dsn


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """An empty directory that servers can read too, whoever they run as."""
    with tempfile.TemporaryDirectory(prefix="strongroom-test-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
