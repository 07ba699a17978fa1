"""Somebody else is at work: a lock that is held, a second run, another database."""

from __future__ import annotations

from backup.lock import exclusive
from backup.postgres.dsn import Dsn
from backup.repository.layout import encode_name
from tests.faults.test_server import SLOW
from tests.faults.vault import DATABASE, Vault, eventually, finish, held_dumps, wrapped_tools
from tests.lab.effort import Numbers
from tests.lab.servers import LabServer

BUSY = 8


def test_a_held_lock_ends_the_run_in_time(vault: Vault) -> None:
    """ACCESS EXCLUSIVE on a table is waited for as long as `lock_timeout` says, no longer."""
    locker = vault.lock("prices")
    try:
        done = vault.backup(environment={"STRONGROOM_LOCK_TIMEOUT": "PT2S"})
        assert locker.poll() is None, "it was waited for"
    finally:
        vault.end_sql(locker)
    assert done.code == 5
    assert "lock timeout" in done.stderr
    assert "hint: find the session that holds the lock" in done.stderr
    assert vault.backups() == []
    vault.assert_nobody_left()
    assert vault.backup().code == 0
    vault.assert_whole()


def test_a_lock_that_pg_dump_itself_waits_for(vault: Vault) -> None:
    """Who queues for ACCESS EXCLUSIVE between our lock and pg_dump's makes pg_dump wait."""
    late_is_over = vault.directory / "over"
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        f" AND database = (SELECT oid FROM pg_database WHERE datname = '{vault.dsn.database}')"
    )
    late = (
        f'case "$*" in *section=pre-data*) until [ -e "{late_is_over}" ]; do sleep 0.1; done;; esac'
        '\nexec "$real" "$@"'
    )
    with wrapped_tools(vault.directory / "tools", vault.server.tools.bin, pg_dump=late) as tools:
        process = vault.start_backup(
            "--tool-directories", tools, environment={"STRONGROOM_LOCK_TIMEOUT": "PT3S"}
        )
        assert eventually(lambda: "/pg_dump --format" in " ".join(vault.processes()))
        # It waits for us, and pg_dump for it: neither may wait for ever.
        locker = vault.start_sql("LOCK TABLE prices")
        try:
            assert eventually(lambda: vault.server.sql(waiting, database="postgres") != "0")
            late_is_over.touch()
            done = finish(process)
        finally:
            vault.end_sql(locker)
    assert done.code in {0, 5}, done.stderr
    if done.code == 5:
        assert "lock timeout" in done.stderr or "LOCK TABLE" in done.stderr
        assert vault.backups() == []
    vault.assert_nobody_left()
    assert vault.backup().code == 0
    vault.assert_whole()


def test_two_backups_of_one_database(vault: Vault, numbers: Numbers) -> None:
    """Of two runs at once, one makes the backup and the other ends with 8 and changes nothing."""
    with held_dumps(vault) as (tools, hold):
        for _ in range(numbers.of(1, 10)):
            hold.touch()
            before = len(vault.backups())
            first = vault.start_backup("--tool-directories", tools)
            second = vault.start_backup("--tool-directories", tools)
            either = (first, second)
            assert eventually(lambda: any(one.poll() is not None for one in either), 120)  # noqa: B023
            hold.unlink()
            ends = sorted((finish(first), finish(second)), key=lambda done: done.code)
            assert [done.code for done in ends] == [0, BUSY]
            assert "another run is at work" in ends[1].stderr
            assert len(vault.backups()) == before + 1
    vault.assert_whole()


def test_the_lock_of_a_killed_run_is_free(vault: Vault) -> None:
    """A lock dies with its process: its file alone stops nobody."""
    run = f"{vault.repository().id}-{encode_name(vault.dsn.database)}"
    with exclusive(vault.state / "locks" / f"{run}.lock", "testing"):
        assert vault.backup().code == BUSY
    assert vault.backup().code == 0


def test_two_databases_at_once(vault: Vault, any_server: LabServer, any_database: Dsn) -> None:
    """Backups of two databases into one repository do not get in each other's way."""
    any_server.sql(DATABASE, database=any_database.database)
    with wrapped_tools(vault.directory / "tools", vault.server.tools.bin, pg_dump=SLOW) as tools:
        first = vault.start_backup("--tool-directories", tools)
        second = vault.start(
            "backup", "--dsn", any_database.conninfo(), "--json", "--tool-directories", tools
        )
        for done in (finish(first), finish(second)):
            assert done.code == 0, done.stderr
    assert len(vault.backups()) == 2
    assert vault.verified().is_good
    assert vault.left_incoming() == []


def test_a_repository_that_another_process_is_reading(vault: Vault) -> None:
    """`verify` beside a running backup sees whole backups only."""
    assert vault.backup().code == 0
    with wrapped_tools(vault.directory / "tools", vault.server.tools.bin, pg_dump=SLOW) as tools:
        process = vault.start_backup("--tool-directories", tools)
        while process.poll() is None:
            assert vault.run("verify", "--all").code == 0
        assert finish(process).code == 0
