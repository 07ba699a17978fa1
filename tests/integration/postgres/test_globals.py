"""The globals of one cluster, run on another, give the same roles."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from backup.postgres.commands import pg_dumpall_globals
from backup.postgres.database import connect
from backup.postgres.dsn import Dsn
from backup.postgres.globals import parse, statements_for
from backup.postgres.process import run
from backup.postgres.scratch import scratch_cluster
from tests.lab.servers import LabServer
from tests.lab.torture import torture_database

LIMIT = timedelta(minutes=1)


def globals_of(server: LabServer, dsn: Dsn) -> str:
    return run(pg_dumpall_globals(server.tools, dsn), timeout=LIMIT).stdout.decode()


def texts(dump: str) -> list[str]:
    return [statement.text for statement in parse(dump)]


async def apply(dsn: Dsn, statements: tuple[str, ...]) -> None:
    async with connect(dsn, application_name="strongroom test") as session:
        for statement in statements:
            await session.execute(statement)


def test_a_fresh_cluster_gets_every_role_as_it_was(server: LabServer) -> None:
    """Odd names, passwords, settings, comments and memberships: a second dump says the same."""
    with torture_database(server):
        dump = globals_of(server, server.dsn)
    with scratch_cluster(server.tools, superuser=server.dsn.user) as cluster:
        plan = statements_for(dump, [server.dsn.user], is_fresh=True)
        asyncio.run(apply(cluster.dsn, plan.statements))
        assert texts(globals_of(server, cluster.dsn)) == texts(dump)


def test_a_cluster_in_use_keeps_its_roles(server: LabServer) -> None:
    """Its own torture_reader keeps password and settings, the others come with all they had."""
    with torture_database(server):
        dump = globals_of(server, server.dsn)
    with scratch_cluster(server.tools, superuser="other_superuser") as cluster:
        own = ("CREATE ROLE torture_reader PASSWORD 'own' CONNECTION LIMIT 3",)
        asyncio.run(apply(cluster.dsn, own))
        before = [text for text in texts(globals_of(server, cluster.dsn)) if "reader" in text]
        plan = statements_for(
            dump, ["other_superuser", "torture_reader"], bootstrap_superuser=server.dsn.user
        )
        asyncio.run(apply(cluster.dsn, plan.statements))
        after = texts(globals_of(server, cluster.dsn))
    assert plan.created_superusers == (server.dsn.user,)
    assert [text for text in after if "reader" in text and "GRANT" not in text] == before
    assert any(text.startswith("GRANT torture_group TO torture_reader") for text in after)
