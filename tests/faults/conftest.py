"""Fixtures for faults. `FAULTS=full` in the environment asks for the full numbers."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from backup.postgres.dsn import Dsn
from tests.faults.vault import DATABASE, Vault
from tests.lab.servers import LabServer

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Numbers:
    """How often a fault is tried."""

    is_full: bool

    def of(self, short: Number, full: Number) -> Number:
        """The number for this run."""
        return full if self.is_full else short


@pytest.fixture(scope="session")
def numbers() -> Numbers:
    """The short numbers, or those of `FAULTS=full`."""
    return Numbers(os.environ.get("FAULTS") == "full")


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
