"""Scratch clusters start, are confined, and are gone afterwards whatever happened."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sys
from pathlib import Path

import pytest

from backup.errors import PostgresError
from backup.postgres.command import Command, RunAs
from backup.postgres.dsn import Dsn
from backup.postgres.process import reading, run
from backup.postgres.scratch import PREFIX, START_LIMIT, Cluster, scratch_cluster, sweep
from backup.postgres.tools import Tools
from tests.lab.processes import SOON, is_gone
from tests.lab.servers import LabServer

ROOT = Path(__file__).parents[3]
HOLDS_A_CLUSTER = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from backup.postgres.scratch import scratch_cluster
from backup.postgres.tools import Tools
tools = Tools(bin=Path(sys.argv[2]), version=sys.argv[3])
with scratch_cluster(tools, directory=Path(sys.argv[4])) as cluster:
    print(cluster.server.pid, cluster.directory, flush=True)
    if sys.argv[5:] == ["stay"]:
        signal.pause()
"""


class OurFaultError(Exception):
    """Something in our own code."""


@pytest.fixture
def parent(shared_directory: Path) -> Path:
    """An empty directory that anyone may make directories in."""
    shared_directory.chmod(0o1777)
    return shared_directory


def ask(tools: Tools, dsn: Dsn, sql: str) -> str:
    """One value, asked by psql."""
    argv = (tools.program("psql"), "-XAtc", sql, f"--dbname={dsn.conninfo()}")
    return run(Command(label="psql", argv=argv), timeout=SOON).stdout.decode().rstrip("\n")


def holder(tools: Tools, parent: Path, *arguments: str, user: RunAs | None = None) -> Command:
    """A process of its own that holds a cluster."""
    return Command(
        label="holder",
        argv=(
            *(os.path.realpath(sys.executable) if user else sys.executable, "-c", HOLDS_A_CLUSTER),
            *(str(ROOT), str(tools.bin), tools.version, str(parent), *arguments),
        ),
        environment={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        user=user,
    )


def test_server_of_every_major(server: LabServer, database: Dsn) -> None:
    """The server runs the major asked for, with checksums, and its databases are UTF-8."""
    assert server.sql("SHOW server_version_num")[:2] == str(server.major)
    assert server.sql("SHOW data_checksums") == "on"
    assert server.sql("SHOW server_encoding", database.database) == "UTF8"
    assert server.sql("SHOW listen_addresses") == ""


def test_start_use_and_removal(server: LabServer, parent: Path) -> None:
    """A cluster of every major starts throw-away and confined, and leaves nothing."""
    with scratch_cluster(server.tools, superuser="Super User", directory=parent) as cluster:
        assert ask(server.tools, cluster.dsn, "SELECT current_user") == "Super User"
        assert ask(server.tools, cluster.dsn, "SHOW fsync") == "off"
        assert ask(server.tools, cluster.dsn, "SHOW data_checksums") == "off"
        assert cluster.directory.stat().st_mode & 0o777 == 0o700
        assert list(parent.iterdir()) == [cluster.directory]
    assert is_gone(cluster.server.pid)
    assert not list(parent.iterdir())


@pytest.mark.parametrize("interruption", [OurFaultError, KeyboardInterrupt, PostgresError("x")])
def test_removed_after_an_exception(
    any_server: LabServer, parent: Path, interruption: BaseException
) -> None:
    """Any exception passes through, and the cluster is gone."""
    held: list[Cluster] = []
    with (
        pytest.raises((OurFaultError, KeyboardInterrupt, PostgresError)),
        scratch_cluster(any_server.tools, directory=parent) as cluster,
    ):
        held.append(cluster)
        raise interruption
    assert is_gone(held[0].server.pid)
    assert not list(parent.iterdir())


def test_removed_when_the_server_was_killed(any_server: LabServer, parent: Path) -> None:
    """A cluster whose server died in use is removed all the same."""
    with scratch_cluster(any_server.tools, directory=parent) as cluster:
        os.kill(cluster.server.pid, signal.SIGKILL)
        assert cluster.server.ended_within(SOON)
    assert not list(parent.iterdir())


def test_server_that_does_not_start(server: LabServer, parent: Path) -> None:
    """A server that refuses its settings says so in the error, and leaves nothing."""
    settings = {"shared_buffers": "lots"}
    with (
        pytest.raises(PostgresError, match=r'did not start: .*"shared_buffers"'),
        scratch_cluster(server.tools, settings=settings, directory=parent),
    ):
        pass
    assert not list(parent.iterdir())


def test_initdb_that_fails(any_server: LabServer, parent: Path) -> None:
    """An initdb that fails says why, and leaves nothing."""
    with (
        pytest.raises(PostgresError, match=r"initdb of .*invalid locale name"),
        scratch_cluster(any_server.tools, locale=("--locale=xx_YY.UTF-8",), directory=parent),
    ):
        pass
    assert not list(parent.iterdir())


def test_long_directory(any_server: LabServer, parent: Path) -> None:
    """Where a socket's path would be too long, the socket lies in a directory of its own."""
    long = parent / ("x" * 100)
    long.mkdir()
    long.chmod(0o755)
    with scratch_cluster(any_server.tools, directory=long) as cluster:
        assert ask(any_server.tools, cluster.dsn, "SELECT 1") == "1"
        assert Path(cluster.dsn.host) != cluster.directory
    assert not Path(cluster.dsn.host).exists()
    assert not list(long.iterdir())


def test_killed_owner_leaves_no_server_and_the_next_removes_the_rest(
    server: LabServer, parent: Path
) -> None:
    """SIGKILL for us stops the server; the next cluster removes what was left on disk."""
    with (
        pytest.raises(PostgresError, match="SIGKILL"),
        reading(holder(server.tools, parent, "stay"), stall=START_LIMIT) as reader,
    ):
        buffer = memoryview(bytearray(1000))
        pid, directory = bytes(buffer[: reader.readinto(buffer)]).decode().split()
        assert sweep(parent) == ()  # it is in use
        os.kill(reader.pid, signal.SIGKILL)
        reader.readinto(buffer)
    assert is_gone(int(pid))
    assert Path(directory).exists()
    with scratch_cluster(server.tools, directory=parent) as cluster:
        assert list(parent.iterdir()) == [cluster.directory]


def test_sweep_leaves_strangers_alone(parent: Path) -> None:
    """Only directories with our name that nobody holds are swept; links are not followed."""
    kept = parent / "kept"
    kept.mkdir()
    (parent / f"{PREFIX}link").symlink_to(kept)
    (parent / f"{PREFIX}file").touch()
    left = parent / f"{PREFIX}left"
    left.mkdir()
    assert sweep(parent) == (left,)
    assert {path.name for path in parent.iterdir()} == {"kept", f"{PREFIX}link", f"{PREFIX}file"}


def test_ordinary_user(server: LabServer, parent: Path) -> None:
    """A user without privileges runs a cluster as itself."""
    if os.geteuid() != 0:
        pytest.skip("the other tests of this file run as an ordinary user here")
    entry = pwd.getpwnam("nobody")
    nobody = RunAs(uid=entry.pw_uid, gid=entry.pw_gid, name="nobody")
    try:
        run(
            Command(label="ls", argv=("/bin/ls", str(ROOT), str(server.tools.bin)), user=nobody),
            timeout=SOON,
        )
    except PostgresError:
        pytest.skip("this checkout cannot be read by another user")
    run(holder(server.tools, parent, user=nobody), timeout=START_LIMIT)
    assert not list(parent.iterdir())


def test_installation_that_only_root_reaches(any_server: LabServer, parent: Path) -> None:
    """As root, an installation that the server's user cannot enter is copied for it."""
    if os.geteuid() != 0:
        pytest.skip("only root runs a server as somebody else")
    hidden = parent / "hidden"
    prefix = any_server.tools.bin.parent
    shutil.copytree(prefix, hidden / prefix.parent.name / prefix.name, symlinks=True)
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, hidden / libraries.name, symlinks=True)
    hidden.chmod(0o700)
    tools = Tools(
        bin=hidden / prefix.parent.name / prefix.name / "bin", version=any_server.tools.version
    )
    with scratch_cluster(tools, directory=parent) as cluster:
        assert ask(tools, cluster.dsn, "SELECT 1") == "1"
    assert [path.name for path in parent.iterdir()] == ["hidden"]
