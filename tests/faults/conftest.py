"""Fixtures for faults. `FAULTS=full` in the environment asks for the full numbers."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.postgres.dsn import Dsn
from tests.faults.forks import Forks, forking
from tests.faults.vault import DATABASE, Vault
from tests.lab.servers import LabServer


@pytest.fixture
def chance() -> random.Random:
    """Random numbers; the seed is printed, and `FAULTS_SEED` sets it."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FAULTS_SEED={seed}")  # noqa: T201 - shown when the test fails
    return random.Random(seed)


@pytest.fixture(scope="module")
def portal(any_server: LabServer) -> Iterator[Dsn]:
    """A database of several parts; tests only read it."""
    with any_server.fresh_database() as dsn:
        any_server.sql(DATABASE, database=dsn.database)
        yield dsn


@pytest.fixture
def vault(tmp_path: Path, any_server: LabServer, portal: Dsn) -> Vault:
    """A new repository for the database."""
    return Vault.make(tmp_path, any_server, portal)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """The program, loaded once."""
    with forking() as made:
        yield made


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A directory that is not on a disk, if there is one: none is waited for, hundreds of times."""
    root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="strongroom-refused-", dir=root) as name:
        yield Path(name)


@pytest.fixture
def place(memory: Path) -> Path:
    """A new directory there."""
    return Path(tempfile.mkdtemp(dir=memory))
