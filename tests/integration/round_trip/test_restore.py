"""A backup of the hard database restores to the same database, in every detail."""

from __future__ import annotations

from backup.postgres.scratch import scratch_cluster
from tests.integration.round_trip.conftest import Hard
from tests.lab.likeness import assert_alike, globals_of, likeness
from tests.lab.torture import forget_subscriptions


def test_a_fresh_cluster_gets_everything(hard: Hard) -> None:
    """Definitions, rows, owners, grants, roles with memberships and passwords, its settings."""
    with scratch_cluster(hard.server.tools, superuser=hard.server.dsn.user) as cluster:
        dsn = cluster.dsn.with_database(hard.dsn.database)
        restored = hard.repository.restore(hard.made, dsn, is_fresh=True)
        assert_alike(hard.likeness, likeness(hard.server.tools, dsn))
    assert restored.notes == ()
    assert restored.rows > 3_000


def test_the_same_cluster_gets_it_beside_the_source(hard: Hard) -> None:
    """Under another name; roles that are there stay untouched."""
    dsn = hard.dsn.with_database("hard copy 'beside' \\ \"it\"")
    before = globals_of(hard.server.tools, dsn)
    restored = hard.repository.restore(hard.made, dsn)
    try:
        found = likeness(hard.server.tools, dsn)
        assert_alike(hard.likeness, found, same_globals=False)
        assert found.globals == before
        assert restored.created_roles == ()
        assert restored.notes == ()
    finally:
        forget_subscriptions(hard.server, dsn)
        quoted = '"' + dsn.database.replace('"', '""') + '"'
        hard.server.sql(f"DROP DATABASE {quoted} WITH (FORCE)")
