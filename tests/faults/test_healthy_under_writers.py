"""A healthy backup of a database that is written to passes, to the values, every time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.round_trip.test_writers import writers
from tests.lab.effort import Numbers
from tests.lab.repositories import lab_repository
from tests.lab.restoretests import codes, run_restore_test
from tests.lab.servers import LabServer, Servers


@pytest.fixture(params=[15, 18])
def busy(request: pytest.FixtureRequest, servers: Servers) -> LabServer:
    """The oldest and the newest server."""
    return servers.of_major(request.param)


def test_a_healthy_backup_passes_at_level_6_every_time(busy: LabServer, numbers: Numbers) -> None:
    """Four sessions transfer, create, drop, alter and truncate while each backup is digested."""
    with busy.fresh_database() as dsn, lab_repository() as repository:
        with writers(busy, dsn, timedelta(minutes=30)):
            made = [repository.back_up(dsn, digests="always") for _ in range(numbers.of(2, 12))]
        before = 0
        for one in made:
            report = run_restore_test(repository, one.manifest.backup_id).report
            assert codes(report) == set(), report.verdict.findings
            assert report.verdict.sentence == "PASS"
            assert report.verdict.level >= 6
            rows = {table.name: table.rows_restored or 0 for table in report.tables}
            assert rows["ledger"] > before
            before = rows["ledger"]
