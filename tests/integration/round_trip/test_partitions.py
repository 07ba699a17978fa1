"""Trees of partitions: one session, alone, attaches the indexes of partitions, in any restore.

Several that do so wait for each other now and then, which the server ends as a deadlock: of a
thousand restores of the hard database with `pg_restore --jobs`, five did. That none happened would
prove little, so the server's log is asked who did what, and when.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from backup.journeys.export import export
from backup.journeys.progress import Silent
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import THROW_AWAY, scratch_cluster
from tests.integration.round_trip.conftest import Hard
from tests.lab.stock import needs_stock_tools, restore_sh

LOGGED = {
    **THROW_AWAY,
    "logging_collector": "on",
    "log_filename": "ddl",
    "log_line_prefix": "%p ",
    "log_statement": "ddl",
}
STATEMENT = re.compile(r"^(\d+) LOG:  statement: (.*)$", re.MULTILINE)
ATTACHES = re.compile(r"ALTER INDEX .* ATTACH PARTITION")
OF_TREES = re.compile(r"CREATE (?:TRIGGER|RULE|POLICY)|ALTER TABLE .* ENABLE ROW LEVEL SECURITY")
INDEXES = re.compile(r"CREATE (?:UNIQUE )?INDEX")


def by_us(hard: Hard, dsn: Dsn) -> None:
    """Restore with our own program, in two sessions."""
    hard.repository.restore(hard.made, dsn.with_database("restored"), is_fresh=True)


def by_the_script(hard: Hard, dsn: Dsn) -> None:
    """Restore with what lies in the repository, which has two sessions as well."""
    done = restore_sh(hard.repository, hard.made, hard.server.tools, dsn, "restored")
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("way", [by_us, pytest.param(by_the_script, marks=needs_stock_tools)])
def test_nobody_else_is_at_work_while_indexes_are_attached(
    hard: Hard, way: Callable[[Hard, Dsn], None]
) -> None:
    """Indexes themselves, which take long, are built by several sessions before that."""
    with scratch_cluster(
        hard.server.tools, superuser=hard.server.dsn.user, settings=LOGGED
    ) as cluster:
        way(hard, cluster.dsn)
        log = (cluster.directory / "data" / "log" / "ddl").read_text(encoding="utf-8")
    said = STATEMENT.findall(log)
    attaching = [at for at, (_, text) in enumerate(said) if ATTACHES.match(text)]
    assert len(attaching) > 10
    assert len({session for session, _ in said[attaching[0] : attaching[-1] + 1]}) == 1
    indexes = [at for at, (_, text) in enumerate(said) if INDEXES.match(text)]
    assert len({said[at][0] for at in indexes}) == 2
    assert max(indexes) < attaching[0]
    of_trees = [at for at, (_, text) in enumerate(said) if OF_TREES.match(text)]
    assert len(of_trees) > 10
    assert min(of_trees) > attaching[-1]


def test_the_commands_beside_an_export_use_one_session(hard: Hard, tmp_path: Path) -> None:
    """A person who follows them has no list of lines."""
    backup = hard.repository.open(hard.made)
    asyncio.run(export(backup, tmp_path / "out", jobs=1, progress=Silent()))
    text = (tmp_path / "out" / "README.txt").read_text(encoding="utf-8")
    assert "--section=post-data schema.dump" in text
    assert "--jobs" not in text
