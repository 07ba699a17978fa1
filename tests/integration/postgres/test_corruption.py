"""Corruption that was planted: in the bytes of an index and of a table, and in an index's order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backup.evidence.verdict import Check
from backup.postgres.dsn import Dsn
from backup.postgres.snapshot import hold_snapshot
from backup.postgres.soundness import observe_soundness
from backup.testpolicy import Question, RestoreTestPolicy
from tests.lab.repositories import lab_repository
from tests.lab.restoretests import codes, run_restore_test
from tests.lab.servers import LabServer, Servers

DEBIAN = 15  # amcheck comes with it, and not with the embedded servers
DATABASE = """
CREATE TABLE clients (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO clients SELECT n, 'client ' || n FROM generate_series(1, 3000) n;
CREATE INDEX clients_name ON clients (name);
"""
# Two ways to compare: who builds the index says another order than who reads it.
TWO_FACED = """
CREATE FUNCTION two_faced(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN current_setting('application_name') LIKE 'strongroom%'
     AND current_query() LIKE '%bt_index%' THEN btint4cmp($2, $1) ELSE btint4cmp($1, $2) END $$;
CREATE OPERATOR CLASS two_faced_ops FOR TYPE int USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
  FUNCTION 1 two_faced(int, int);
CREATE INDEX clients_two_faced ON clients (id two_faced_ops);
"""


@pytest.fixture
def debian(servers: Servers) -> LabServer:
    """A server that has amcheck."""
    return servers.of_major(DEBIAN)


@pytest.fixture
def source(debian: LabServer) -> Iterator[Dsn]:
    """A healthy database."""
    with debian.fresh_database() as dsn:
        debian.sql(DATABASE, dsn.database)
        yield dsn


@pytest.fixture
def cold(debian: LabServer, source: Dsn) -> Iterator[Dsn]:
    """A copy of it, of which nothing is in the server's memory."""
    name = f"{source.database}_cold"
    debian.sql(f"CREATE DATABASE {name} TEMPLATE {source.database} STRATEGY file_copy")
    try:
        yield source.with_database(name)
    finally:
        debian.sql(f"DROP DATABASE {name} WITH (FORCE)")


def pages(dsn: Dsn) -> Check:
    """What is seen of the pages."""

    async def look() -> Check:
        async with hold_snapshot(dsn, application_name="strongroom test") as snapshot:
            catalog = await snapshot.catalog(jobs=1, digest_salt=None)
        found = await observe_soundness(
            dsn,
            expected=catalog,
            observed=catalog,
            questions=(),
            application_name="strongroom test",
            statement_timeout=timedelta(minutes=2),
        )
        return next(check for check in found.checks if check.id == "amcheck")

    return asyncio.run(look())


def found(check: Check) -> list[tuple[str, str]]:
    """Codes, and what they are about."""
    return [(finding.code.value, finding.what) for finding in check.findings]


def spoil(server: LabServer, source: Dsn, copy: Dsn, relation: str) -> None:
    """Turn bits over in the second page of a relation's file, which the copy has under one name."""
    path = server.sql(f"SELECT pg_relation_filepath('{relation}')", source.database)
    number = server.sql(
        f"SELECT oid FROM pg_database WHERE datname = '{copy.database}'", source.database
    )
    base = Path(server.sql("SHOW data_directory"))
    file = base / "base" / number / Path(path).name
    content = bytearray(file.read_bytes())
    content[8192 + 4000 : 8192 + 4064] = bytes(byte ^ 0xFF for byte in content[12192:12256])
    file.write_bytes(content)


def test_a_healthy_database_has_no_damage(source: Dsn) -> None:
    """One table, two indexes: all of them looked at."""
    check = pages(source)
    assert (check.status, check.compared, found(check)) == ("passed", 3, [])


def test_an_index_file_with_bits_turned_over_is_corrupt(
    debian: LabServer, source: Dsn, cold: Dsn
) -> None:
    """That index, and nothing else."""
    spoil(debian, source, cold, "clients_name")
    check = pages(cold)
    assert found(check) == [("AMCHECK_CORRUPT", "index public.clients_name")]
    assert check.status == "failed"


def test_an_index_that_orders_otherwise_than_it_was_built_is_corrupt(
    debian: LabServer, source: Dsn
) -> None:
    """As after a change of the collation's version: every page is whole, the order is wrong."""
    debian.sql(TWO_FACED, source.database)
    assert found(pages(source)) == [("AMCHECK_CORRUPT", "index public.clients_two_faced")]


def test_a_restore_test_fails_with_the_code_of_a_corrupt_index(
    debian: LabServer, source: Dsn
) -> None:
    """The whole way: backed up, restored, and its index is not in order: level 6, and FAIL."""
    debian.sql(TWO_FACED, source.database)
    with lab_repository() as repository:
        made = repository.back_up(source)
        report = run_restore_test(repository, made.manifest.backup_id).report
    assert codes(report) == {"AMCHECK_CORRUPT"}, report.verdict.findings
    assert report.verdict.word.value == "FAIL"
    assert report.verdict.level == 6


def test_a_table_whose_pages_cannot_be_read_is_corrupt(
    debian: LabServer, source: Dsn, cold: Dsn
) -> None:
    """Its rows cannot be counted any more, but pages are looked at all the same."""
    spoil(debian, source, cold, "clients")

    async def look() -> Check:
        async with hold_snapshot(source, application_name="strongroom test") as snapshot:
            catalog = await snapshot.catalog(jobs=1, digest_salt=None)
        seen = await observe_soundness(
            cold,
            expected=catalog,
            observed=catalog,
            questions=(),
            application_name="strongroom test",
            statement_timeout=timedelta(minutes=2),
        )
        return next(check for check in seen.checks if check.id == "amcheck")

    assert ("AMCHECK_CORRUPT", "table public.clients") in found(asyncio.run(look()))


def test_a_healthy_backup_that_is_asked_everything_is_proven_to_level_8(source: Dsn) -> None:
    """Values, pages, the firm's questions, its application, and both targets."""
    policy = RestoreTestPolicy(
        questions=(
            Question(id="clients", sql="SELECT count(*) FROM public.clients", expected="3000"),
        ),
        smoke_command=("/bin/sh", "-c", 'test -S "$PGHOST/.s.PGSQL.$PGPORT"'),
        rto_target_ms=3_600_000,
        rpo_target_ms=3_600_000,
    )
    with lab_repository() as repository:
        repository.back_up(source, digests="always")
        report = run_restore_test(repository, policy=policy).report
    assert codes(report) == set(), report.verdict.findings
    assert (report.verdict.sentence, report.verdict.level) == ("PASS", 8)
