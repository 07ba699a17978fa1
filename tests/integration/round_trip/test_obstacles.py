"""Databases that resist their own restore come back all the same, each of the three ways."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backup.journeys.create import Created
from backup.journeys.export import export
from backup.journeys.progress import Silent
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import Cluster, scratch_cluster
from tests.lab.likeness import Likeness, assert_alike, likeness
from tests.lab.repositories import LabRepository, lab_repository
from tests.lab.servers import LabServer
from tests.lab.stock import needs_stock_tools, restore_sh, run_readme

# Each of these has stopped a restore: an event trigger that refuses, settings that hold for the
# restoring session too, a tablespace that only the old machine has.
STUBBORN = """
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE "fast disk" LOCATION '';
CREATE TABLE placed (id int PRIMARY KEY, v text) TABLESPACE "fast disk";
INSERT INTO placed SELECT n, 'row ' || n FROM generate_series(1, 1000) n;
CREATE INDEX ON placed (v) TABLESPACE "fast disk";
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS c FROM placed;
CREATE UNIQUE INDEX ON counted (c);
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'no DDL here: %', tg_tag; END$$;
SELECT format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database())
\\gexec
SELECT format('ALTER DATABASE %I SET search_path = nowhere', current_database()) \\gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \\gexec
CREATE EVENT TRIGGER stubborn ON ddl_command_start EXECUTE FUNCTION refuse();
"""
_PLACEMENT = re.compile(r"; Tablespace: .*|\nSET default_tablespace = .*\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubborn:
    """The database that resists, its backup, and what it looked like without its tablespace."""

    server: LabServer
    repository: LabRepository
    made: Created
    likeness: Likeness


@pytest.fixture(scope="session")
def stubborn(server: LabServer) -> Iterator[Stubborn]:
    """One of every major, in a cluster of its own: a tablespace is seen by every database."""
    with (
        scratch_cluster(server.tools, superuser=server.dsn.user) as cluster,
        lab_repository() as repository,
    ):
        own = replace(server, dsn=cluster.dsn)
        with own.fresh_database("stubborn") as dsn:
            own.sql(STUBBORN, dsn.database)
            yield Stubborn(
                server=own,
                repository=repository,
                made=repository.back_up(dsn),
                likeness=likeness(own.tools, dsn),
            )


@pytest.fixture
def cluster(server: LabServer) -> Iterator[Cluster]:
    """A fresh cluster, without the tablespace."""
    with scratch_cluster(server.tools, superuser=server.dsn.user) as made:
        yield made


def assert_restored(stubborn: Stubborn, dsn: Dsn) -> None:
    expected, found = (
        replace(one, schema=_PLACEMENT.sub("", one.schema))
        for one in (stubborn.likeness, likeness(stubborn.server.tools, dsn))
    )
    assert_alike(expected, found, same_globals=False)


def test_restore(stubborn: Stubborn, cluster: Cluster) -> None:
    """Ours says that the tablespace is not there."""
    dsn = cluster.dsn.with_database("stubborn")
    done = stubborn.repository.restore(stubborn.made, dsn)
    assert [note for note in done.notes if "tablespace" in note] == list(done.notes) != []
    assert_restored(stubborn, dsn)


@needs_stock_tools
def test_the_script(stubborn: Stubborn, cluster: Cluster) -> None:
    """So does the script in the repository."""
    tools = stubborn.server.tools
    done = restore_sh(stubborn.repository, stubborn.made, tools, cluster.dsn)
    assert done.code == 0, done.stderr
    assert "default tablespace" in done.stderr
    assert_restored(stubborn, cluster.dsn.with_database("stubborn"))


def test_an_export(stubborn: Stubborn, cluster: Cluster, tmp_path: Path) -> None:
    """The commands that an export comes with do it."""
    backup = stubborn.repository.open(stubborn.made)
    asyncio.run(export(backup, tmp_path / "out", jobs=2, progress=Silent()))
    done = run_readme(tmp_path / "out", stubborn.server.tools, cluster.dsn, "stubborn")
    assert done.code == 0, done.stderr
    assert_restored(stubborn, cluster.dsn.with_database("stubborn"))
