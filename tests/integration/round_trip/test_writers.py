"""A backup of a database that is written to is that database at one moment, exactly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from backup.journeys.progress import Silent
from backup.postgres.command import Command
from backup.postgres.dsn import Dsn
from backup.postgres.process import run
from tests.lab import servers as lab_servers
from tests.lab.repositories import LabRepository
from tests.lab.servers import LabServer

SESSIONS = 4
BACKUPS = 5
_SQL = Path(lab_servers.__file__).with_name("churn.sql")
# Every table as it is in the transaction's snapshot: how many rows, and a sum over their hashes.
DIGESTS = """
SELECT string_agg(format(
  'SELECT %L, count(*), sum(hashtextextended(t::text, 0)::numeric) FROM %I t',
  relname, relname), ' UNION ALL ' ORDER BY relname)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' \\gexec
"""
NOT_ADDING_UP = """
SELECT count(*) FROM account a WHERE balance <> 1000
  + (SELECT coalesce(sum(amount), 0) FROM ledger WHERE target = a.id)
  - (SELECT coalesce(sum(amount), 0) FROM ledger WHERE source = a.id)
"""


@contextlib.contextmanager
def writers(server: LabServer, dsn: Dsn, limit: timedelta = timedelta(minutes=9)) -> Iterator[None]:
    """Several sessions that transfer, insert, delete, create, drop, alter and truncate."""
    server.sql(_SQL.read_text(), dsn.database)

    def write(seed: int) -> None:
        argv = (server.tools.program("psql"), "-X", f"--command=CALL churn({seed})")
        command = Command(label="writer", argv=(*argv, f"--dbname={dsn.conninfo()}"))
        run(command, timeout=limit)

    with ThreadPoolExecutor(SESSIONS) as pool:
        working = [pool.submit(write, seed) for seed in range(SESSIONS)]
        try:
            yield
        finally:
            server.sql("INSERT INTO control VALUES (true)", dsn.database)
        for one in working:
            one.result()


class Witness(Silent):
    """Reads the database in the backup's own snapshot, while that is held."""

    def __init__(self, server: LabServer, dsn: Dsn) -> None:
        self._server = server
        self._dsn = dsn
        self.seen = ""

    def begin(self, activity: str, total_bytes: int | None) -> None:
        """Called between the snapshot and the dumps."""
        del total_bytes
        assert activity == "backing up"
        [snapshot_id] = self._server.sql("SELECT pg_ls_dir('pg_snapshots')").split()
        self.seen = self._server.sql(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = 0;"
            f"SET TRANSACTION SNAPSHOT '{snapshot_id}';{DIGESTS}",
            self._dsn.database,
        )


def test_a_restored_database_is_the_snapshot(server: LabServer, repository: LabRepository) -> None:
    """Row for row in every table, again and again; and nobody's money was lost."""
    seen: dict[str, str] = {}
    with server.fresh_database() as dsn:
        with writers(server, dsn):
            for number in range(BACKUPS):
                witness = Witness(server, dsn)
                made = repository.back_up(dsn, name="written to", progress=witness)
                restored = dsn.with_database(f"{dsn.database}_{number}")
                repository.restore(made, restored)
                seen[restored.database] = witness.seen
        moved = int(server.sql("SELECT count(*) FROM ledger", dsn.database))
    for name, expected in seen.items():
        found = server.sql(DIGESTS, name)
        assert sorted(found.splitlines()) == sorted(expected.splitlines())
        assert len(found.splitlines()) > 5
        assert server.sql("SELECT sum(balance) FROM account", name) == "200000"
        assert server.sql(NOT_ADDING_UP, name) == "0"
        server.sql(f"DROP DATABASE {name}")
    assert len(set(seen.values())) == BACKUPS
    assert any(part.kind == "table" for part in made.manifest.parts)
    assert moved > 100
