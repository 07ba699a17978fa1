"""Trees of partitions: one session, alone, does what locks several tables of them, in any restore.

Several that do so wait for each other now and then, which the server ends as a deadlock. Where that
is rare, that none happened would prove little, so the server's log is asked who did what, and when.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.journeys.export import export
from backup.journeys.progress import Silent
from backup.journeys.restore import restore
from backup.journeys.restoreplan import Destination, plan
from backup.postgres.command import Command
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import THROW_AWAY, scratch_cluster
from tests.integration.round_trip.conftest import Hard
from tests.lab.effort import Numbers
from tests.lab.likeness import assert_alike, likeness
from tests.lab.repositories import lab_repository
from tests.lab.servers import LabServer
from tests.lab.stock import needs_stock_tools, restore_sh

# Each of two trees has a partition that refers to all of the other: more often than not that ends
# `pg_restore --jobs=2` with a deadlock.
TWO_TREES = """
CREATE TABLE a (id int, k int, PRIMARY KEY (id, k), b_id int, b_k int) PARTITION BY LIST (k);
CREATE TABLE b (id int, k int, PRIMARY KEY (id, k), a_id int, a_k int) PARTITION BY LIST (k);
SELECT format('CREATE TABLE %s_%s PARTITION OF %1$s FOR VALUES IN (%2$s)', tree, k)
  FROM unnest('{a,b}'::text[]) tree, generate_series(1, 12) k \\gexec
INSERT INTO a SELECT n, 1 + n % 12 FROM generate_series(1, 200) n;
INSERT INTO b SELECT n, 1 + n % 12 FROM generate_series(1, 200) n;
ALTER TABLE a_1 ADD FOREIGN KEY (b_id, b_k) REFERENCES b;
ALTER TABLE b_2 ADD FOREIGN KEY (a_id, a_k) REFERENCES a;
"""
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
BUILDS = re.compile(r"CREATE (?:UNIQUE )?INDEX|ALTER TABLE ONLY")
DEFINES = re.compile(r"CREATE TABLE")


def by_us(hard: Hard, dsn: Dsn) -> None:
    """Restore with our own program, in two sessions."""
    hard.repository.restore(hard.made, dsn.with_database("restored"), is_fresh=True)


def by_the_script(hard: Hard, dsn: Dsn) -> None:
    """Restore with what lies in the repository, which has two sessions as well."""
    done = restore_sh(hard.repository, hard.made, hard.server.tools, dsn, "restored")
    assert done.code == 0, done.stderr


each_way = pytest.mark.parametrize(
    "way", [by_us, pytest.param(by_the_script, marks=needs_stock_tools)]
)


@each_way
def test_nobody_else_is_at_work_on_what_locks_a_tree(
    hard: Hard, way: Callable[[Hard, Dsn], None]
) -> None:
    """Indexes themselves, which take long, are built by both sessions before that."""
    with scratch_cluster(
        hard.server.tools, superuser=hard.server.dsn.user, settings=LOGGED
    ) as cluster:
        way(hard, cluster.dsn)
        log = (cluster.directory / "data" / "log" / "ddl").read_text(encoding="utf-8")
    said = STATEMENT.findall(log)
    attaching = [at for at, (_, text) in enumerate(said) if ATTACHES.match(text)]
    of_trees = [at for at, (_, text) in enumerate(said) if OF_TREES.match(text)]
    assert min(len(attaching), len(of_trees)) > 10
    first, last = attaching[0], max(of_trees)
    assert min(of_trees) > attaching[-1]
    assert len({session for session, _ in said[first : last + 1]}) == 1
    assert not any(text.startswith("CREATE INDEX") for _, text in said[first:])
    defining = {session for session, text in said if DEFINES.match(text)}
    building = {session for session, text in said[:first] if BUILDS.match(text)}
    assert len(building - defining) == 2


@pytest.fixture
def two_trees(server: LabServer) -> Iterator[Hard]:
    """Two trees whose keys lock each other's partitions, and their backup."""
    with server.fresh_database() as dsn, lab_repository() as repository:
        server.sql(TWO_TREES, dsn.database)
        yield Hard(
            server=server,
            dsn=dsn,
            repository=repository,
            made=repository.back_up(dsn),
            likeness=likeness(server.tools, dsn),
        )


@each_way
def test_keys_of_partitions_do_not_lock_each_other_out(
    two_trees: Hard, way: Callable[[Hard, Dsn], None], numbers: Numbers
) -> None:
    """A foreign key locks the partitions of the table that it refers to."""
    for _ in range(numbers.of(3, 50)):
        way(two_trees, two_trees.server.dsn)
        found = likeness(two_trees.server.tools, two_trees.dsn.with_database("restored"))
        assert_alike(two_trees.likeness, found, same_globals=False)
        two_trees.server.sql("DROP DATABASE restored")


def test_a_restore_that_is_cancelled_between_two_stages_leaves_nothing(two_trees: Hard) -> None:
    """The next stage is not begun, and the database is dropped."""
    backup = two_trees.repository.open(two_trees.made)
    destination = Destination(
        dsn=two_trees.dsn.with_database("restored"), jobs=2, stall_timeout=timedelta(minutes=2)
    )
    ended: list[Command] = []

    async def cancelled() -> None:
        loop = asyncio.get_running_loop()

        def heard(command: Command, _stderr: str, _duration: timedelta) -> None:
            ended.append(command)
            if command.attached is not None:
                loop.call_soon_threadsafe(restoring.cancel)
                time.sleep(1)  # in its own thread, until the cancellation was heard

        restoring = asyncio.ensure_future(
            restore(
                backup,
                await plan(backup, destination),
                destination,
                heard=heard,
                clock=lambda: datetime.now(UTC),
                progress=Silent(),
            )
        )
        await restoring

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert [command.attached is not None for command in ended].count(True) == 1
    there = "SELECT datname FROM pg_database WHERE datname = 'restored'"
    assert two_trees.server.sql(there) == ""


def test_the_commands_beside_an_export_use_one_session(hard: Hard, tmp_path: Path) -> None:
    """A person who follows them has no list of lines."""
    backup = hard.repository.open(hard.made)
    asyncio.run(export(backup, tmp_path / "out", jobs=1, progress=Silent()))
    text = (tmp_path / "out" / "README.txt").read_text(encoding="utf-8")
    assert "--section=post-data schema.dump" in text
    assert "--jobs" not in text
