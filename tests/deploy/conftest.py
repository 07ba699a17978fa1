"""Real hosts for the tests of deploys: one lab for a whole test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Lab, lab


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The lab; a host is booted when it is first asked for."""
    with lab() as made:
        yield made
