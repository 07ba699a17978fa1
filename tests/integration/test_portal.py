"""The sample portal on real servers: the same everywhere, protected, and changed a little a day."""

from __future__ import annotations

from backup.demo.portal import as_script, change_sql, create_sql
from backup.postgres.dsn import Dsn
from tests.lab.servers import LabServer

SCALE = 0.04
TABLES = """
    SELECT c.oid::regclass::text FROM pg_class AS c
    WHERE c.relnamespace::regnamespace::text IN ('portal', 'audit') AND c.relkind IN ('r', 'm')
    ORDER BY 1
"""


def load(server: LabServer, dsn: Dsn) -> None:
    """Make the sample database and live through one business day."""
    server.sql(as_script(create_sql(SCALE)), dsn.database)
    server.sql(as_script(change_sql(1, SCALE)), dsn.database)


def contents(server: LabServer, dsn: Dsn) -> tuple[str, ...]:
    """Table, number of rows and a sum over the rows' hashes, for every table and large object."""
    tables = server.sql(TABLES, dsn.database).splitlines()
    queries = [
        f"SELECT '{table}', count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} AS t"
        for table in tables
    ]
    queries.append(
        "SELECT 'large objects', count(*), sum(hashtextextended(loid || ' ' || "
        "encode(lo_get(loid), 'hex'), 0)::numeric) FROM (SELECT oid AS loid FROM "
        "pg_largeobject_metadata) AS objects"
    )
    return tuple(server.sql(";\n".join(queries), dsn.database).splitlines())


def test_same_rows_on_every_server(
    server: LabServer, database: Dsn, any_server: LabServer, any_database: Dsn
) -> None:
    """Two servers of whatever major hold the same rows after the same steps."""
    load(server, database)
    load(any_server, any_database)
    found = contents(server, database)
    assert len(found) > 75
    assert found == contents(any_server, any_database)


def test_day_changes_about_one_row_in_a_hundred(any_server: LabServer, any_database: Dsn) -> None:
    """A business day adds, changes or deletes between half and two percent of the rows."""
    server, name = any_server, any_database.database
    server.sql(as_script(create_sql(SCALE)), name)
    # Prices come for every fund, however few the clients are: at this scale they would rule.
    tables = [t for t in server.sql(TABLES, name).splitlines() if t != "portal.fund_prices"]
    every_row = "\nUNION ALL ".join(
        f"SELECT '{table}' AS relation, hashtextextended(t::text, 0) AS row FROM {table} AS t"
        for table in tables
    )
    server.sql(f"CREATE TABLE public.earlier AS {every_row}", name)
    server.sql(as_script(change_sql(1, SCALE)), name)
    rows = int(server.sql("SELECT count(*) FROM public.earlier", name))
    new = int(
        server.sql(
            f"SELECT count(*) FROM ({every_row} EXCEPT ALL TABLE public.earlier) AS new", name
        )
    )
    gone = int(
        server.sql(
            f"SELECT count(*) FROM (TABLE public.earlier EXCEPT ALL ({every_row})) AS gone", name
        )
    )
    assert gone > 0
    assert 0.005 < new / rows < 0.02


def test_row_security_holds(any_server: LabServer, any_database: Dsn) -> None:
    """The application sees the client whose session it is, and nobody when it has none."""
    load(any_server, any_database)
    name = any_database.database
    own = "SET ROLE portal_app; SET portal.client_id = 7; SELECT client_id FROM portal.clients"
    assert any_server.sql(own, name) == "7"
    nobody = "SET ROLE portal_app; SELECT count(*) FROM portal.messages"
    assert any_server.sql(nobody, name) == "0"
    forced = "SELECT count(*) FROM pg_class WHERE relforcerowsecurity"
    assert any_server.sql(forced, name) == "2"
