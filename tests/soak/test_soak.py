"""The short form of `make soak`."""

from __future__ import annotations

from pathlib import Path

from backup.postgres.dsn import Dsn
from tests.faults.vault import DATABASE, Vault
from tests.lab.servers import LabServer
from tests.soak.soak import Soak, faults_of


def test_days_of_kills_store_errors_and_restarts(
    tmp_path: Path, any_server: LabServer, any_database: Dsn
) -> None:
    """Every promised slot is accounted for, none is done twice, the newest restores equal."""
    any_server.sql(DATABASE, database=any_database.database)
    vault = Vault.make(tmp_path / "vault", any_server, any_database)
    figures = Soak(vault, days=6, seed=11, faults=25).run()
    print(figures)  # noqa: T201
    assert faults_of(figures) == []
    assert figures.promised >= 6
    assert figures.backups >= 3
