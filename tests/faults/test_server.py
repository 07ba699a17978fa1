"""The server or its client tools fail: a clear message, no backup, and the next run is good."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from backup.postgres.scratch import scratch_cluster, unprivileged_user
from tests.faults.vault import DATABASE, Vault, eventually, finish, held_dumps, wrapped_tools
from tests.lab.effort import Numbers
from tests.lab.servers import SETTINGS, LabServer

# Unlike any word that a process of somebody else's may have in its command line.
CRASHING = "vault_that_crashes"
# Which dumps a wrapper breaks, as patterns of their arguments.
DUMPS = ("*section=pre-data*", "*exclude-table-data*", "*strict-names*")
# Half the output comes late, so that there is time to break something in the middle.
SLOW = 'set -o pipefail\n"$real" "$@" | { head -c 150000; sleep 0.7; cat; }'


def assert_failed(vault: Vault, done_code: int, stderr: str, *, code: int) -> None:
    """The run failed as documented and left neither a backup nor anybody at work."""
    assert done_code == code, stderr
    assert stderr.startswith("strongroom: ")
    assert "Traceback" not in stderr
    vault.assert_nobody_left()


def broken(vault: Vault, name: str, *, code: int = 5, stall: str = "PT1M", **scripts: str) -> str:
    """Back up with broken tools; return the message."""
    before = vault.backups()
    with wrapped_tools(vault.directory / name, vault.server.tools.bin, **scripts) as tools:
        done = vault.backup(
            "--tool-directories", tools, environment={"STRONGROOM_STALL_TIMEOUT": stall}
        )
    assert_failed(vault, done.code, done.stderr, code=code)
    assert vault.backups() == before
    return done.stderr


def assert_next_run_good(vault: Vault) -> None:
    """The next run makes a whole backup."""
    done = vault.backup()
    assert done.code == 0, done.stderr
    vault.assert_whole()


def test_pg_dump_killed_at_random_bytes(
    vault: Vault, numbers: Numbers, chance: random.Random
) -> None:
    """A pg_dump that is killed after any number of bytes gives no backup."""
    for number in range(numbers.of(12, 200)):
        size = chance.randrange(0, chance.choice((1_000, 100_000, 3_000_000)))
        script = (
            f'case "$*" in {chance.choice(DUMPS)}) "$real" "$@" | head -c {size}; kill -9 $$;; esac'
            '\nexec "$real" "$@"'
        )
        message = broken(vault, f"tools-{number}", pg_dump=script)
        assert "ended by SIGKILL" in message
    assert vault.backups() == []
    assert_next_run_good(vault)


@pytest.mark.parametrize("dump", DUMPS)
def test_a_dump_that_fails_after_all_its_output(vault: Vault, dump: str) -> None:
    """Every byte arrived, and the exit code is not 0: no backup."""
    script = f'"$real" "$@" || exit\ncase "$*" in {dump}) echo late >&2; exit 3;; esac'
    message = broken(vault, "tools", pg_dump=script)
    assert "exit code 3: late" in message
    assert_next_run_good(vault)


def test_globals_that_fail_after_all_their_output(vault: Vault) -> None:
    """A pg_dumpall that exits with an error gives no backup."""
    message = broken(vault, "tools", pg_dumpall='"$real" "$@"; exit 1')
    assert "pg_dumpall of globals: exit code 1" in message
    assert_next_run_good(vault)


@pytest.mark.parametrize("dump", DUMPS)
@pytest.mark.parametrize("output", ["head -c 300000 /dev/urandom", "true", "echo PGDM"])
def test_a_dump_that_is_no_archive(vault: Vault, dump: str, output: str) -> None:
    """What does not begin as an archive does is refused, though the exit code is 0."""
    script = f'case "$*" in {dump}) {output}; exit 0;; esac\nexec "$real" "$@"'
    message = broken(vault, "tools", pg_dump=script)
    assert "is no archive" in message
    assert_next_run_good(vault)


@pytest.mark.parametrize("output", ["head -c 3000 /dev/urandom", "true"])
def test_globals_that_are_no_script(vault: Vault, output: str) -> None:
    """What does not begin as pg_dumpall's output does is refused."""
    message = broken(vault, "tools", pg_dumpall=output)
    assert "is no script" in message
    assert_next_run_good(vault)


@pytest.mark.parametrize(
    "script",
    ["sleep 1000", '"$real" "$@" | { head -c 100000; sleep 1000; }', 'trap "" TERM; sleep 1000'],
    ids=["at the start", "in the middle", "deaf"],
)
def test_a_dump_that_stalls(vault: Vault, script: str) -> None:
    """No byte for longer than allowed ends the run with an exit code of its own."""
    # What is not over in two minutes fails: these sleep for much longer.
    message = broken(vault, "tools", code=10, stall="PT2S", pg_dump=script)
    assert "moved no byte for 0:00:02" in message
    assert_next_run_good(vault)


OURS = "FROM pg_stat_activity WHERE datname = '{0}' AND application_name LIKE 'strongroom%'"
# Whose transaction began first holds the snapshot; who can't write his rows is in the middle.
HOLDER = f"xact_start = (SELECT min(xact_start) {OURS})"
DUMPING = "query LIKE 'COPY %' AND wait_event = 'ClientWrite'"


@pytest.mark.parametrize("whom", [HOLDER, DUMPING], ids=["holder", "dump"])
def test_sessions_are_terminated(
    vault: Vault, numbers: Numbers, chance: random.Random, whom: str
) -> None:
    """A dump or the snapshot's holder that loses its session ends the run without a backup."""

    def sessions(what: str, those: str) -> int:
        sql = f"SELECT count({what}) {OURS} AND {those}".format(vault.dsn.database)
        return int(vault.server.sql(sql, database="postgres"))

    with held_dumps(vault) as (tools, hold):
        for _ in range(numbers.of(3, 50)):
            hold.touch()
            before = vault.backups()
            process = vault.start_backup("--tool-directories", tools)
            assert eventually(lambda: sessions("*", DUMPING) > 0)
            time.sleep(chance.uniform(0, 0.3))
            assert eventually(lambda: sessions("pg_terminate_backend(pid)", whom) > 0)
            hold.unlink()
            done = finish(process)
            assert_failed(vault, done.code, done.stderr, code=5)
            assert vault.backups() == before
    assert_next_run_good(vault)


def test_the_server_stops_at_once(
    tmp_path: Path, any_server: LabServer, numbers: Numbers, chance: random.Random
) -> None:
    """A server that crashes during a dump gives no backup; when it is back, the next is good."""
    vault = None
    for _ in range(numbers.of(2, 50)):
        with scratch_cluster(any_server.tools, settings=SETTINGS) as cluster:
            server = LabServer(
                dsn=cluster.dsn,
                tools=any_server.tools,
                major=any_server.major,
                pid=cluster.server.pid,
                user=unprivileged_user(),
            )
            server.sql(f"CREATE DATABASE {CRASHING}", database="postgres")
            server.sql(DATABASE, database=CRASHING)
            dsn = cluster.dsn.with_database(CRASHING)
            if vault is None:
                vault = Vault.make(tmp_path, server, dsn)
            vault = Vault(directory=tmp_path, server=server, dsn=dsn, identity=vault.identity)
            done = vault.backup()
            assert done.code == 0, done.stderr
            before = vault.backups()
            with held_dumps(vault) as (tools, hold):
                process = vault.start_backup("--tool-directories", tools)
                time.sleep(chance.uniform(0.4, 0.9))
                os.kill(cluster.server.pid, signal.SIGQUIT)
                assert cluster.server.ended_within(timedelta(minutes=1))
                hold.unlink()
                done = finish(process)
            assert done.code == 5, done.stderr
            assert done.stderr.startswith("strongroom: ")
            assert vault.backups() == before
            assert eventually(lambda vault=vault: not vault.processes())  # type: ignore[misc]
    assert vault is not None
    assert vault.verified().is_good
