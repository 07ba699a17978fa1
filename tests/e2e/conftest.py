"""The situations that the runbooks begin in: a server with a portal, a spare one, a backup."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from backup.demo.portal import as_script, create_sql
from backup.postgres.command import SEARCH_PATH
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import scratch_cluster, unprivileged_user
from backup.postgres.tools import find_tools
from tests.e2e import documents
from tests.lab.repositories import Ended, ended
from tests.lab.servers import ANY_MAJOR, SETTINGS, LabServer

DATABASE = "portal"
_SCALE = 0.02


@contextmanager
def lab_server() -> Iterator[LabServer]:
    """Yield a server of its own: runbooks make roles and rename databases."""
    tools = find_tools(ANY_MAJOR, with_server=True)
    with scratch_cluster(tools, settings=SETTINGS, has_checksums=True) as cluster:
        yield LabServer(
            dsn=cluster.dsn,
            tools=tools,
            major=ANY_MAJOR,
            pid=cluster.server.pid,
            user=unprivileged_user(),
        )


def url(dsn: Dsn) -> str:
    """The server and database as people write them."""
    host = quote(dsn.host, safe="")
    return f"postgresql://{dsn.user}@/{dsn.database}?host={host}&port={dsn.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A person at a shell: what is around, and what the environment says of it."""

    directory: Path
    server: LabServer
    variables: Mapping[str, str] = field(default_factory=dict)
    has_strongroom: bool = True

    @property
    def repository(self) -> Path:
        """Where the repository is."""
        return self.directory / "repository"

    @property
    def state(self) -> Path:
        """Where the backup host keeps its keys."""
        return self.directory / "state"

    @property
    def offline(self) -> Path:
        """What lies in the safe."""
        return self.directory / "offline"

    @property
    def environment(self) -> dict[str, str]:
        """All variables; `USER` is nobody whom the server knows."""
        programs = [str(self.server.tools.bin), SEARCH_PATH]
        if self.has_strongroom:
            programs.insert(0, str(Path(sys.executable).parent))
        return {
            "HOME": str(self.directory),
            "PATH": os.pathsep.join(programs),
            "STRONGROOM_CONFIG": str(self.directory / "strongroom.toml"),
            "STRONGROOM_STATE_DIRECTORY": str(self.state),
            "DATABASE": DATABASE,
            "TABLE": "portal.messages",
            "REPOSITORY": str(self.repository),
            "STATE": str(self.state),
            "OFFLINE": str(self.offline),
            "IDENTITY": str(self.offline / "identity.txt"),
            "SIGNERS": str(self.offline / "allowed_signers"),
            "PGHOST": self.server.dsn.host,
            "PGPORT": str(self.server.dsn.port),
            "PGUSER": self.server.dsn.user,
            **self.variables,
        }

    def bash(self, text: str) -> Ended:
        """Run a script to its end, in this directory."""
        text = f"cd {self.directory}\n{text}"
        return ended(("/bin/bash", "-c", text), self.environment)

    def follow(self, document: Path, *, leave_out: tuple[str, ...] = ()) -> Ended:
        """Do what a document says; all that it asks for is filled in."""
        assert documents.to_fill_in(document) <= self.environment.keys()
        done = self.bash(documents.script(document, leave_out=leave_out))
        assert done.code == 0, f"{done.stdout}\n{done.stderr}"
        return done

    def json(self, command: str) -> Any:
        """What a `strongroom` command prints with --json."""
        done = self.bash(f"strongroom {command} --json")
        assert done.code == 0, done.stderr
        return json.loads(done.stdout)

    def on(self, server: LabServer) -> Situation:
        """The same person before another server."""
        return replace(self, server=server)

    def given(self, **variables: str | Path) -> Situation:
        """The same with more filled in."""
        more = {name: str(value) for name, value in variables.items()}
        return replace(self, variables={**self.variables, **more})


def rows(server: LabServer, database: str = DATABASE) -> str:
    """The number of rows of each table of the portal."""
    counts = server.sql(
        "SELECT string_agg(format('SELECT %L, count(*) FROM %s', c.oid::regclass, c.oid::regclass),"
        " ' UNION ALL ' ORDER BY c.oid::regclass::text) FROM pg_class c"
        " WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('portal', 'audit')",
        database,
    )
    return server.sql(f"{counts} ORDER BY 1", database)


@pytest.fixture(scope="module")
def source() -> Iterator[LabServer]:
    """A server with the sample portal."""
    with lab_server() as server:
        server.sql(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        server.sql(as_script(create_sql(_SCALE)), DATABASE)
        yield server


@pytest.fixture
def spare() -> Iterator[LabServer]:
    """A fresh server."""
    with lab_server() as server:
        yield server


@pytest.fixture
def newcomer(tmp_path: Path, source: LabServer) -> Situation:
    """Somebody with a database and nothing else."""
    here = Situation(directory=tmp_path, server=source)
    here.offline.mkdir()
    database_url = url(source.dsn.with_database(DATABASE))
    return here.given(
        DATABASE_URL=database_url,
        RESTORE_URL=url(source.dsn.with_database(f"{DATABASE}_restored")),
    )


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory, source: LabServer) -> Path:
    """What a backup host and a safe hold after one backup; tests work on copies."""
    directory = tmp_path_factory.mktemp("vault")
    here = Situation(directory=directory, server=source)
    here.offline.mkdir()
    done = here.given(DATABASE_URL=url(source.dsn.with_database(DATABASE))).bash(
        "set -euo pipefail\n"
        "strongroom keygen -o $IDENTITY\n"
        "strongroom keygen -y $IDENTITY >$OFFLINE/recipients.txt\n"
        "strongroom init --repository $REPOSITORY -R $OFFLINE/recipients.txt\n"
        "rm strongroom.toml\n"
        "unset STRONGROOM_CONFIG\n"
        "strongroom backup --repository $REPOSITORY\n"
        "cp $STATE/keys/*/allowed_signers $REPOSITORY/restore.sh $OFFLINE\n"
        "tar -C $STATE -c keys | age -R $OFFLINE/recipients.txt >$OFFLINE/host-keys.tar.age\n"
    )
    assert done.code == 0, done.stderr
    return directory


@pytest.fixture
def backed_up(vault: Path, tmp_path: Path, source: LabServer) -> Situation:
    """Somebody whose database was backed up once; no settings file."""
    directory = tmp_path / "host"
    shutil.copytree(vault, directory)
    (directory / "strongroom.toml").touch()
    here = Situation(directory=directory, server=source)
    return here.given(DATABASE_URL=url(source.dsn.with_database(DATABASE)))


@pytest.fixture
def chunk_of(backed_up: Situation) -> Callable[[str], Path]:
    """Find the object of the first chunk of a part."""

    def find(part: str) -> Path:
        (chunks,) = backed_up.repository.glob(f"backups/*/*/parts/{part}.chunks")
        sha256 = chunks.read_text().split()[1]
        return backed_up.repository / "chunks" / sha256[:2] / sha256

    return find
