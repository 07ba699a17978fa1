"""What measures the daemon with hundreds of databases counts right; here there is one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks.load import Load, measure
from tests.lab.repositories import ended
from tests.lab.s3servers import S3Servers
from tests.lab.servers import LabServer

ROOT = Path(__file__).parents[3]


def test_all_are_backed_up_at_once_and_again_after_an_outage(
    s3_servers: S3Servers,
    any_server: LabServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each slot once; of five missed hours one is caught up on, and four are told of."""
    server = s3_servers.named("moto")
    load = Load(
        home=tmp_path,
        server=server,
        dsn=any_server.dsn,
        tools=any_server.tools,
        databases=1,
        concurrency=2,
        has_backups=True,
    )
    load.make()
    measure(load)
    first, status, after, total = re.findall(
        r"^(?:first backups|status|after an outage|\d+ slots) ?.*$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert "1 slots in" in first
    assert "missed slots told of: 0; failed attempts: none" in first
    assert re.match(r"status: exit code \d after", status)
    assert "missed slots told of: 4; failed attempts: none" in after
    assert total.startswith("2 slots backed up, 0 of them twice; 0 unaccounted for; ")


@pytest.mark.parametrize("name", ["benchmarks", "benchmarks.bucket", "benchmarks.prune"])
def test_every_benchmark_starts(name: str) -> None:
    """As it is called by hand, with an example of that."""
    done = ended((sys.executable, "-m", name, "--help"), {"PYTHONPATH": str(ROOT)})
    assert done.code == 0, done.stderr
    assert f"Example: python -m {name}" in " ".join(done.stdout.split())
