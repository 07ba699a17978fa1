"""The reference of a backup finds each thing that a restore has got wrong, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from backup.evidence.comparison import compare, compared, table_results
from backup.evidence.verdict import Check
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import scratch_cluster
from backup.postgres.snapshot import hold_snapshot
from backup.postgres.soundness import observe_soundness
from backup.repository.catalog import Catalog
from backup.testpolicy import Question
from tests.lab.repositories import lab_repository
from tests.lab.servers import SETTINGS, LabServer
from tests.lab.torture import build_torture, forget_subscriptions, torture_database

NAME = "strongroom test"
SALT = bytes(32)
LIMIT = timedelta(minutes=2)
MORE = """
CREATE TABLE public.invoices (id int PRIMARY KEY, amount numeric(10, 2) CHECK (amount > 0));
INSERT INTO public.invoices SELECT n, n FROM generate_series(1, 1000) n;
CREATE INDEX invoices_by_amount ON public.invoices (amount);
CREATE TABLE public.lines (invoice int REFERENCES public.invoices, id serial);
INSERT INTO public.lines SELECT 1 + n % 10 FROM generate_series(1, 100) n;
CREATE VIEW public.sums AS SELECT sum(amount) FROM public.invoices;
CREATE MATERIALIZED VIEW public.totals AS SELECT count(*) AS c FROM public.invoices;
CREATE SEQUENCE public.numbers; SELECT setval('public.numbers', 50);
CREATE SEQUENCE public.downwards INCREMENT -1; SELECT setval('public.downwards', -50);
CREATE SEQUENCE public.around MAXVALUE 9 CYCLE; SELECT setval('public.around', 9);
ALTER TABLE public.invoices ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.invoices FOR SELECT TO torture_reader USING (amount < 10);
GRANT SELECT ON public.lines TO torture_reader;
GRANT UPDATE (amount) ON public.invoices TO torture_writer;
ALTER VIEW public.sums OWNER TO torture_owner;
CREATE ROLE unused NOLOGIN;
SELECT format('GRANT EXECUTE ON FUNCTION %1$s TO torture_reader;'
  ' REVOKE EXECUTE ON FUNCTION %1$s FROM PUBLIC', f.oid::regprocedure)
FROM pg_proc f JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = f.oid
WHERE d.deptype = 'e' AND f.pronamespace = 'public'::regnamespace AND f.prokind = 'f'
ORDER BY f.proname LIMIT 20 \\gexec
GRANT SELECT ON pg_catalog.pg_authid TO torture_reader WITH GRANT OPTION;
GRANT SELECT (subconninfo) ON pg_catalog.pg_subscription TO torture_reader;
"""


def observed(dsn: Dsn, salt: bytes | None = SALT) -> Catalog:
    async def look() -> Catalog:
        async with hold_snapshot(dsn, application_name=NAME) as snapshot:
            return await snapshot.catalog(jobs=1, digest_salt=salt)

    return asyncio.run(look())


def findings(checks: tuple[Check, ...]) -> list[tuple[str, str]]:
    return [(finding.code.value, finding.what) for check in checks for finding in check.findings]


def sound(
    dsn: Dsn, expected: Catalog, found: Catalog, *questions: Question, limit: timedelta = LIMIT
) -> tuple[Check, ...]:
    return asyncio.run(
        observe_soundness(
            dsn,
            expected=expected,
            observed=found,
            questions=questions,
            application_name=NAME,
            statement_timeout=limit,
        )
    ).checks


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A server with the restored database, from which copies are made, and what it was."""

    server: LabServer
    database: str
    expected: Catalog

    @contextlib.contextmanager
    def copy(self) -> Iterator[Dsn]:
        """Yield a copy of the database, and drop it."""
        name = f"copy_{next(_numbers)}"
        self.server.sql(f"CREATE DATABASE {name} TEMPLATE {self.database}")
        # What belongs to the database itself is not copied with it.
        own = self.expected.database
        self.server.sql(
            f"ALTER DATABASE {name} OWNER TO {own.owner};"
            f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC;"
            f"GRANT CREATE, CONNECT ON DATABASE {name} TO torture_reader WITH GRANT OPTION"
        )
        try:
            yield self.server.dsn.with_database(name)
        finally:
            self.server.sql(f"DROP DATABASE {name} WITH (FORCE)")


_numbers = itertools.count()


def test_the_hard_database_is_found_equal_with_writers_on_the_source(server: LabServer) -> None:
    """Level 4 to 7 without a finding, on every major, while somebody writes and draws numbers."""
    with (
        torture_database(server) as source,
        lab_repository() as repository,
        scratch_cluster(server.tools, superuser=server.dsn.user) as cluster,
    ):
        server.sql(MORE, source.database)
        server.sql("SELECT nextval('public.numbers')", source.database)
        made = repository.back_up(source)
        assert made.manifest.has_digests
        server.sql(
            "DELETE FROM public.lines; SELECT nextval('public.numbers');"
            "CREATE TABLE public.later (a int)",
            source.database,
        )
        expected = repository.opened.catalog(made.manifest, [repository.identity])
        assert expected.digests is not None
        dsn = cluster.dsn.with_database(source.database)
        repository.restore(made, dsn, is_fresh=True)
        found = observed(dsn, bytes.fromhex(expected.digests.salt))
        checks = (*compare(expected, found), *sound(dsn, expected, found))
        server.sql("DROP OWNED BY unused; DROP ROLE unused", source.database)
    assert findings(checks) == []
    assert [check.id for check in checks if check.status == "not_run"] in ([], ["amcheck"])
    numbers = compared(expected, found)
    assert numbers.tables_in_scope == numbers.tables_counted > 50
    assert numbers.tables_digested > 50
    assert numbers.schema_objects == len(expected.objects) > 200


@pytest.fixture(scope="module")
def restored(any_server: LabServer) -> Iterator[Restored]:
    """The hard database in a cluster of its own, whole, for copies to be damaged."""
    with scratch_cluster(any_server.tools, settings=SETTINGS) as cluster:
        server = replace(any_server, dsn=cluster.dsn)
        server.sql("CREATE DATABASE whole TEMPLATE template0")
        build_torture(server, cluster.dsn.with_database("whole"))
        server.sql(MORE, "whole")
        forget_subscriptions(server, cluster.dsn.with_database("whole"))
        server.sql(
            "ALTER DATABASE whole RESET ALL; ALTER ROLE torture_writer IN DATABASE whole RESET ALL"
        )
        expected = observed(cluster.dsn.with_database("whole"))
        yield Restored(server=server, database="whole", expected=expected)


ROW_SECURITY = "policy own on public.invoices"
MUTATIONS = {
    "DROP TABLE public.lines": [("SCHEMA_DIFF", "table public.lines")],
    "DROP INDEX public.invoices_by_amount": [("SCHEMA_DIFF", "index public.invoices_by_amount")],
    "ALTER TABLE public.invoices ADD COLUMN note text": [("SCHEMA_DIFF", "table public.invoices")],
    "CREATE OR REPLACE VIEW public.sums AS SELECT sum(amount) + 1 AS sum FROM public.invoices": [
        ("SCHEMA_DIFF", "view public.sums")
    ],
    "ALTER TABLE public.invoices DROP CONSTRAINT invoices_amount_check": [
        ("SCHEMA_DIFF", "table constraint invoices_amount_check on public.invoices")
    ],
    "ALTER TABLE torture.triggered DISABLE TRIGGER normal": [
        ("SCHEMA_DIFF", "trigger normal on torture.triggered")
    ],
    "DROP EVENT TRIGGER never_fires": [("SCHEMA_DIFF", "event trigger never_fires")],
    "ALTER TYPE torture.mood ADD VALUE 'new'": [("SCHEMA_DIFF", "type torture.mood")],
    "ALTER DOMAIN torture.positive SET DEFAULT 8": [("SCHEMA_DIFF", "type torture.positive")],
    "CREATE OR REPLACE FUNCTION torture.float_gap(a float8, b float8) RETURNS float8"
    " LANGUAGE sql IMMUTABLE RETURN a + b": [
        ("SCHEMA_DIFF", "function torture.float_gap(double precision,double precision)")
    ],
    "ALTER SEQUENCE public.numbers INCREMENT 2": [("SCHEMA_DIFF", "sequence public.numbers")],
    "DROP PUBLICATION nothing": [("SCHEMA_DIFF", "publication nothing")],
    "COMMENT ON TABLE public.lines IS 'other'": [("SCHEMA_DIFF", "table public.lines")],
    "ALTER TABLE public.invoices OWNER TO torture_owner": [("OWNER_DIFF", "table public.invoices")],
    "ALTER FUNCTION torture.as_owner() OWNER TO torture_group": [
        ("OWNER_DIFF", "function torture.as_owner()")
    ],
    "REVOKE SELECT ON public.lines FROM torture_reader": [("ACL_DIFF", "table public.lines")],
    "REVOKE UPDATE (amount) ON public.invoices FROM torture_writer": [
        ("ACL_DIFF", "table public.invoices")
    ],
    "GRANT SELECT ON public.sums TO PUBLIC": [("ACL_DIFF", "view public.sums")],
    "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_stat_reset() FROM torture_reader": [
        ("ACL_DIFF", "rights on function pg_stat_reset()")
    ],
    "GRANT EXECUTE ON FUNCTION public.vector_dims(public.vector) TO torture_reader": [
        ("ACL_DIFF", "rights on extension function public.vector_dims(public.vector)")
    ],
    "REVOKE EXECUTE ON FUNCTION public.vector_dims(public.vector) FROM PUBLIC": [
        ("ACL_DIFF", "rights on extension function public.vector_dims(public.vector)")
    ],
    "REVOKE GRANT OPTION FOR SELECT ON pg_catalog.pg_authid FROM torture_reader": [
        ("ACL_DIFF", "rights on system table pg_catalog.pg_authid")
    ],
    "GRANT UPDATE (subconninfo) ON pg_catalog.pg_subscription TO torture_reader": [
        ("ACL_DIFF", "rights on system table column pg_catalog.pg_subscription.subconninfo")
    ],
    # Given and taken back: other bytes, the same rights.
    "GRANT SELECT ON pg_catalog.pg_views TO unused; REVOKE SELECT ON pg_catalog.pg_views"
    " FROM unused": [],
    # No provider of labels is installed: what one would have written.
    "SET allow_system_table_mods = on; INSERT INTO pg_seclabel VALUES"
    " ('public.invoices'::regclass, 'pg_class'::regclass, 2, 'masks', 'MASKED')": [
        ("SCHEMA_DIFF", "security label masks on table column public.invoices.amount")
    ],
    "ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner IN SCHEMA torture"
    " REVOKE SELECT ON TABLES FROM torture_reader": [
        ("ACL_DIFF", "default privileges of torture_owner in torture for r")
    ],
    "DROP POLICY own ON public.invoices": [("RLS_DIFF", ROW_SECURITY)],
    "ALTER POLICY own ON public.invoices USING (true)": [("RLS_DIFF", ROW_SECURITY)],
    "ALTER TABLE public.invoices DISABLE ROW LEVEL SECURITY": [
        ("RLS_DIFF", "row security public.invoices")
    ],
    "DELETE FROM public.lines WHERE ctid <= '(0,50)'": [("ROWCOUNT_DIFF", "table public.lines")],
    "UPDATE public.invoices SET amount = amount + 0.01 WHERE id = 7": [
        ("DIGEST_DIFF", "table public.invoices")
    ],
    "SELECT setval('public.numbers', 49)": [("SEQUENCE_BEHIND", "sequence public.numbers")],
    "SELECT setval('public.numbers', 50, false)": [("SEQUENCE_BEHIND", "sequence public.numbers")],
    "SELECT setval('public.downwards', -49)": [("SEQUENCE_BEHIND", "sequence public.downwards")],
    "SELECT setval('public.numbers', 51)": [],
    "SELECT setval('public.around', 1)": [],
    "REFRESH MATERIALIZED VIEW public.totals WITH NO DATA": [
        ("MATVIEW_UNPOPULATED", "materialised view public.totals")
    ],
    "SELECT lo_put(4200003, 0, 'x')": [("DIGEST_DIFF", "large object 4200003")],
    "ALTER LARGE OBJECT 4200003 OWNER TO torture_group": [("OWNER_DIFF", "large objects")],
    "REVOKE UPDATE ON LARGE OBJECT 4200004 FROM PUBLIC": [("ACL_DIFF", "large objects")],
    "SELECT lo_unlink(4200003)": [("ROWCOUNT_DIFF", "large objects")],
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_one_broken_thing_has_one_finding(restored: Restored, mutation: str) -> None:
    """Its own code, by its own name, and no other."""
    with restored.copy() as dsn:
        restored.server.sql(mutation, dsn.database)
        checks = compare(restored.expected, observed(dsn))
    assert findings(checks) == MUTATIONS[mutation]


SUBSCRIPTION = """
CREATE ROLE told SUPERUSER;
CREATE TABLE clients (id int);
CREATE SUBSCRIPTION news CONNECTION 'host=nowhere.invalid password=x' PUBLICATION a, b
  WITH (connect = false, slot_name = NONE);
"""
SUBSCRIPTIONS = {
    "ALTER SUBSCRIPTION news SET (binary = true)": [("SCHEMA_DIFF", "subscription news")],
    "ALTER SUBSCRIPTION news SET PUBLICATION a WITH (refresh = false)": [
        ("SCHEMA_DIFF", "subscription news")
    ],
    "COMMENT ON SUBSCRIPTION news IS 'other'": [("SCHEMA_DIFF", "subscription news")],
    "ALTER SUBSCRIPTION news OWNER TO told": [("OWNER_DIFF", "subscription news")],
    "DROP SUBSCRIPTION news": [("SCHEMA_DIFF", "subscription news")],
}


def test_a_subscription_is_compared_but_for_its_connection(server: LabServer) -> None:
    """On every major; the connection may be read by few, and comes back cut."""
    with server.fresh_database() as dsn:
        server.sql(SUBSCRIPTION, dsn.database)
        try:
            expected = observed(dsn, None)
            server.sql("ALTER SUBSCRIPTION news CONNECTION 'host=elsewhere'", dsn.database)
            assert findings(compare(expected, observed(dsn, None))) == []
            for change, found in SUBSCRIPTIONS.items():
                server.sql(change, dsn.database)
                changed = observed(dsn, None)
                assert findings(compare(expected, changed)) == found, change
                expected = changed
        finally:
            forget_subscriptions(server, dsn)
            server.sql("DROP OWNED BY told; DROP ROLE told", dsn.database)


def test_what_a_reference_does_not_tell_of_is_not_compared(restored: Restored) -> None:
    """One that an earlier version took, or one by a role whose dump leaves subscriptions out."""
    with restored.copy() as dsn:
        restored.server.sql(
            "GRANT SELECT ON pg_catalog.pg_authid TO unused;"
            " CREATE SUBSCRIPTION news CONNECTION '' PUBLICATION a"
            " WITH (connect = false, slot_name = NONE)",
            dsn.database,
        )
        try:
            found = observed(dsn)
        finally:
            forget_subscriptions(restored.server, dsn)
    known = tuple(one for one in restored.expected.objects if not one.kind.startswith("rights on "))
    rights = tuple(one for one in restored.expected.objects if one.kind == "rights on function")
    earlier = replace(restored.expected, covers=(), objects=known + rights)
    assert findings(compare(earlier, found)) == []


def test_a_copy_has_no_finding(restored: Restored) -> None:
    """So that the findings of others are of what was done to them."""
    with restored.copy() as dsn:
        found = observed(dsn)
        checks = (*compare(restored.expected, found), *sound(dsn, restored.expected, found))
    assert findings(checks) == []
    assert all(table.is_compared for table in table_results(restored.expected, found))


def test_a_missing_extension(restored: Restored) -> None:
    """It alone is missing, and not what it brought."""
    with restored.copy() as dsn:
        found = observed(dsn)
    more = replace(restored.expected.extensions[0], name="another")
    expected = replace(restored.expected, extensions=(more, *restored.expected.extensions))
    assert findings(compare(expected, found)) == [("EXTENSION_DIFF", "extension another")]


def test_a_missing_role(restored: Restored) -> None:
    """It alone, not what it owned or was given."""
    role = "torture_reader"
    found = restored.expected
    without = replace(found, roles=tuple(one for one in found.roles if one.name != role))
    with restored.copy() as dsn:
        restored.server.sql(f"DROP OWNED BY {role}", dsn.database)
        seen = observed(dsn)
    changed = {
        (code, what)
        for code, what in findings(compare(found, replace(seen, roles=without.roles)))
        if code != "RLS_DIFF"  # DROP OWNED takes the role out of policies: they are others now
    }
    assert changed == {("ROLE_ABSENT", f"role {role}")}


def test_an_empty_database(restored: Restored) -> None:
    """Whether tables are missing or rows: that nothing is there is all that is said."""
    name = "empty"
    restored.server.sql(f"CREATE DATABASE {name} TEMPLATE template0")
    checks = compare(restored.expected, observed(restored.server.dsn.with_database(name)))
    restored.server.sql(f"DROP DATABASE {name}")
    assert findings(checks) == [("EMPTY_RESTORE", "database")]
    assert sum(check.status == "not_run" for check in checks) == 11


UNSOUND = {
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.invoices_by_amount'"
    "::regclass": [("INDEX_INVALID", "index public.invoices_by_amount")],
    "ALTER TABLE public.invoices DROP CONSTRAINT invoices_amount_check;"
    " ALTER TABLE public.invoices ADD CHECK (amount > 0) NOT VALID": [
        (
            "CONSTRAINT_VIOLATED",
            "constraint invoices_amount_check on public.invoices",
        )
    ],
}


@pytest.mark.parametrize("mutation", UNSOUND)
def test_what_is_not_sound_has_one_finding(restored: Restored, mutation: str) -> None:
    """The definitions are the same: only that they hold is not said."""
    with restored.copy() as dsn:
        restored.server.sql(mutation, dsn.database)
        found = observed(dsn)
        checks = (*compare(restored.expected, found), *sound(dsn, restored.expected, found))
    assert findings(checks) == UNSOUND[mutation]


@pytest.mark.parametrize(
    ("sql", "answer", "code"),
    [
        ("SELECT count(*) FROM public.invoices -- all of them", "1000", None),
        ("SELECT count(*) = 1000 FROM public.invoices;", "t", None),
        ("SELECT count(*) FROM public.invoices", "999", "INVARIANT_FAILED"),
        ("SELECT FROM public.invoices", "999", "INVARIANT_FAILED"),
        ("SELECT 1 / 0", "1", "CHECK_ERROR"),
        ("DELETE FROM public.invoices RETURNING 1", "1", "CHECK_ERROR"),
        ("SELECT pg_sleep(60)", "", "CHECK_TIMEOUT"),
    ],
)
def test_questions(restored: Restored, sql: str, answer: str, code: str | None) -> None:
    """Asked in a transaction that can write nothing, and for so long only."""
    question = Question(id="one", sql=sql, expected=answer)
    limit = timedelta(seconds=1) if code == "CHECK_TIMEOUT" else LIMIT
    checks = sound(
        restored.server.dsn.with_database(restored.database),
        restored.expected,
        restored.expected,
        question,
        limit=limit,
    )
    assert findings(checks) == ([(code, "invariant one")] if code else [])
