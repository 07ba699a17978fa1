"""A role that may only read takes the reference too: what it tells is what a superuser tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from backup.postgres.dsn import Dsn
from tests.lab.repositories import lab_repository
from tests.lab.restoretests import codes, reference, run_restore_test
from tests.lab.servers import LabServer
from tests.lab.torture import forget_subscriptions

READER = "CREATE ROLE least LOGIN NOSUPERUSER BYPASSRLS; GRANT pg_read_all_data TO least;"
DATABASE = """
CREATE ROLE least_owner NOLOGIN;
CREATE ROLE least_user LOGIN PASSWORD 'secret' VALID UNTIL '2099-01-01';
GRANT least_owner TO least_user;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA private AUTHORIZATION least_owner;
CREATE TABLE private.clients (id bigserial PRIMARY KEY, adviser name NOT NULL, name text);
ALTER TABLE private.clients OWNER TO least_owner;
INSERT INTO private.clients (adviser, name)
  SELECT 'least_user', 'client ' || n FROM generate_series(1, 700) n;
ALTER TABLE private.clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE private.clients FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON private.clients FOR SELECT TO least_user USING (adviser = current_user);
GRANT SELECT (id, name) ON private.clients TO least_user;
CREATE TABLE private.papers (id int, paper oid);
INSERT INTO private.papers
  SELECT n, lo_from_bytea(0, convert_to('paper ' || n, 'UTF8')) FROM generate_series(1, 3) n;
DO $$ DECLARE one oid; BEGIN FOR one IN SELECT paper FROM private.papers LOOP
  EXECUTE format('ALTER LARGE OBJECT %s OWNER TO least_owner', one);
  EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO least', one);
END LOOP; END $$;
CREATE MATERIALIZED VIEW private.totals AS SELECT count(*) AS c FROM private.clients;
CREATE FUNCTION private.secret() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
REVOKE ALL ON FUNCTION private.secret() FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE least_owner IN SCHEMA private
  GRANT SELECT ON TABLES TO least_user;
CREATE FUNCTION private.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
GRANT EXECUTE ON FUNCTION pg_catalog.plpgsql_call_handler() TO least_user;
GRANT SELECT ON pg_catalog.pg_authid TO least_user;
CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION private.watch();
"""
SUBSCRIPTION = """
CREATE SUBSCRIPTION news CONNECTION 'host=nowhere.invalid password=x' PUBLICATION a
  WITH (connect = false, slot_name = NONE);
"""


@pytest.fixture
def source(server: LabServer) -> Iterator[Dsn]:
    """A database that nobody but its owner, a superuser and the reader may enter."""
    with server.fresh_database() as dsn:
        try:
            server.sql(READER + DATABASE, dsn.database)
            server.sql(
                f"REVOKE ALL ON DATABASE {dsn.database} FROM PUBLIC;"
                f"GRANT CONNECT ON DATABASE {dsn.database} TO least"
            )
            yield dsn
        finally:
            forget_subscriptions(server, dsn)
            server.sql(f"DROP DATABASE {dsn.database} WITH (FORCE)")
            server.sql("DROP ROLE least_owner, least_user, least")


def test_a_backup_by_a_role_that_may_only_read_passes_to_level_6(
    server: LabServer, source: Dsn
) -> None:
    """Row security, large objects, rights and digests: as complete as a superuser's reference."""
    reader = replace(source, user="least")
    seen, all_there_is = (
        # Some settings of the server are a superuser's to read; they are told, not compared.
        # Subscriptions are in the dump of a superuser only, and in no other reference.
        replace(reference(dsn), server_settings=(), covers=())
        for dsn in (reader, source)
    )
    assert seen == all_there_is
    assert any(one.kind == "rights on system table" for one in seen.objects)
    server.sql(SUBSCRIPTION, source.database)
    with lab_repository() as repository:
        made = repository.back_up(reader)
        assert made.manifest.has_digests
        report = run_restore_test(repository, made.manifest.backup_id).report
    assert codes(report) == set(), report.verdict.findings
    assert report.verdict.sentence == "PASS"
    assert report.verdict.level >= 6
    assert report.coverage.tables_counted == report.coverage.tables_in_scope == 2
    compared = {check.id: check.compared for check in report.checks}
    assert compared["roles"] >= 3
