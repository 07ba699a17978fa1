"""A site on real hosts for the tests of deploys: one for a whole test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Lab, lab
from tests.lab.sites import Site, new_site

LONGEST_SECONDS = 1500


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever comes first builds a Debian or two and makes hosts; the longest does many deploys."""
    for item in items:
        if "tests/deploy" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(LONGEST_SECONDS))


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The site's lab; a host is booted when it is first asked for."""
    with lab() as made:
        yield made


@pytest.fixture(scope="session")
def site(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that was applied once, and whose disks are kept as they were then."""
    hosts.boot(["db1", "backup1"])
    made = new_site(hosts, tmp_path_factory.mktemp("operator"))
    made.first_apply.append(made.apply())
    made.keep()
    return made


@pytest.fixture
def fresh_db1(site: Site) -> Iterator[Site]:
    """The site; what a test does to db1 and to the operator's files is gone afterwards."""
    yield site
    site.put_back(["db1"])
