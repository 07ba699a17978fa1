"""The hard database of each major, backed up once for all tests that only read the backup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from backup.journeys.create import Created
from backup.postgres.dsn import Dsn
from tests.lab.likeness import Likeness, likeness
from tests.lab.repositories import LabRepository, lab_repository
from tests.lab.servers import LabServer
from tests.lab.torture import torture_database

ODD_NAME = "Hard \"db\" 'x' \\ %s = $1\n\t😀"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hard:
    """The hard database under an odd name, its backup, and what it looked like."""

    server: LabServer
    dsn: Dsn
    repository: LabRepository
    made: Created
    likeness: Likeness


@pytest.fixture(scope="module")
def hard(server: LabServer) -> Iterator[Hard]:
    """The hard database of every major; it stays as it is."""
    with torture_database(server, ODD_NAME) as dsn, lab_repository() as repository:
        yield Hard(
            server=server,
            dsn=dsn,
            repository=repository,
            made=repository.back_up(dsn, name="hard"),
            likeness=likeness(server.tools, dsn),
        )


@pytest.fixture(scope="module")
def repository() -> Iterator[LabRepository]:
    """One repository for what leaves it whole."""
    with lab_repository() as made:
        yield made
