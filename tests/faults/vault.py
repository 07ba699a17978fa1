"""A repository and a database to hurt: what is done to them, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess  # noqa: TID251 - the command line itself is what is started and killed here
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard

from backup import keyring
from backup.crypto import age
from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import X25519Identity
from backup.journeys.initialize import initialize
from backup.journeys.progress import Silent
from backup.journeys.verify import Verified, verify
from backup.postgres.dsn import Dsn
from backup.repository.access import Repository
from backup.repository.chunking import KIB, ChunkSizes
from backup.repository.layout import CHUNKS_PREFIX, BackupKey
from backup.repository.stores.base import Store
from backup.repository.stores.local import LocalStore
from backup.repository.writing import WritingKeys
from tests.lab.processes import command_lines
from tests.lab.servers import LabServer

if TYPE_CHECKING:
    from tests.lab.buckets import S3Server

ROOT = Path(__file__).parents[2]
SIZES = ChunkSizes(minimum=4 * KIB, average=16 * KIB, maximum=64 * KIB)
# Objects are linked early and there are several parts, though the database is small.
SMALL = {"batch_bytes": 256 * KIB, "table_threshold": 512 * KIB}
LIMIT_SECONDS = 120
SOON_SECONDS = 60.0
# Gives the rest of its output when a file is gone: what comes meanwhile comes in its middle.
_HELD = (
    'set -o pipefail\n"$real" "$@" |'
    ' { head -c 100000; while [ -e "HOLD" ]; do sleep 0.1; done; cat; }'
)

DATABASE = """
CREATE TABLE clients (id int PRIMARY KEY, name text NOT NULL, note text);
INSERT INTO clients SELECT n, 'client ' || n, repeat(md5(n::text), 4)
  FROM generate_series(1, 3000) n;
CREATE TABLE papers (id int PRIMARY KEY, client int REFERENCES clients, content bytea);
INSERT INTO papers SELECT n, 1 + n % 3000, (SELECT string_agg(sha512((n * 100 + k)::text::bytea),
  ''::bytea) FROM generate_series(1, 16) k) FROM generate_series(1, 1500) n;
CREATE TABLE prices (id serial PRIMARY KEY, paper int, price numeric, at timestamptz);
INSERT INTO prices (paper, price, at) SELECT n % 1500, n * 1.01, 'epoch'::timestamptz + n * '1h'
  ::interval FROM generate_series(1, 12000) n;
CREATE MATERIALIZED VIEW newest AS SELECT paper, max(at) FROM prices GROUP BY paper;
SELECT count(lo_from_bytea(0, sha512(n::text::bytea))) FROM generate_series(1, 20) n;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a run of the command line ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """A repository with the keys of a host, the identity that opens it, and a database."""

    directory: Path
    server: LabServer
    dsn: Dsn
    identity: X25519Identity = field(default_factory=X25519Identity.generate)

    @classmethod
    def make(cls, directory: Path, server: LabServer, dsn: Dsn) -> Vault:
        """Initialise a repository below `directory`."""
        directory.mkdir(exist_ok=True)
        vault = cls(directory=directory, server=server, dsn=dsn)
        vault.begin()
        return vault

    def begin(self) -> None:
        """Write the identity and the settings, and initialise the repository."""
        self.identity_file.write_text(f"{self.identity.text}\n", encoding="ascii")
        self.identity_file.chmod(0o600)
        self.config.write_text(
            f'repository = "{self.address}"\nstate_directory = "{self.state}"\njobs = 2\n'
            f"{self.store_table}",
            encoding="utf-8",
        )
        self.initialize(self.store())

    def beside(self, name: str, store: Store) -> Vault:
        """Another host below this directory, and a new repository of the same database."""
        vault = replace(self, directory=self.directory / name)
        vault.directory.mkdir()
        shutil.copy(self.identity_file, vault.identity_file)
        vault.initialize(store)
        return vault

    @property
    def root(self) -> Path:
        """Where the repository lies."""
        return self.directory / "repository"

    @property
    def address(self) -> str:
        """The repository, as settings name it."""
        return str(self.root)

    @property
    def store_table(self) -> str:
        """What settings say of the way to it."""
        return ""

    def store(self) -> Store:
        """Where the repository lies, opened anew."""
        return LocalStore(self.root)

    @property
    def state(self) -> Path:
        """The host's keys and locks."""
        return self.directory / "state"

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.directory / "strongroom.toml"

    @property
    def identity_file(self) -> Path:
        """The operator's identity."""
        return self.directory / "identity.txt"

    def initialize(self, store: Store) -> None:
        """Make a repository in the store, and this host's keys for it."""
        initialize(
            store,
            [self.identity.recipient],
            sizes=SIZES,
            state_directory=self.state,
            principal="backup@lab",
            now=datetime.now(UTC).replace(microsecond=0),
            random=os.urandom,
            version="test",
        )

    def start(
        self,
        *arguments: str | Path,
        fault: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> subprocess.Popen[str]:
        """Start a verb of the command line; `prefix` is a program that starts it, as strace."""
        argv = (*prefix, sys.executable, "-m", "tests.faults.driver", arguments[0])
        settings = ("--config", self.config)
        if arguments[0] in {"-v", "log", "report"}:  # an option, or a group of verbs
            argv, arguments = (*argv, arguments[1]), arguments[1:]
        return subprocess.Popen(
            [*argv, *settings, *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.directory),
                "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
                "FAULT": json.dumps({**SMALL, **(fault or {})}),
                **(environment or {}),
            },
        )

    def run(
        self,
        *arguments: str | Path,
        fault: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        limit: float = LIMIT_SECONDS,
    ) -> Done:
        """Run a verb of the command line to its end."""
        return finish(
            self.start(*arguments, fault=fault, environment=environment, prefix=prefix), limit
        )

    def backup(self, *arguments: str | Path, **named: Any) -> Done:
        """Run `strongroom backup` of the database."""
        return self.run("backup", "--dsn", self.dsn.conninfo(), "--json", *arguments, **named)

    def start_backup(self, *arguments: str | Path, **named: Any) -> subprocess.Popen[str]:
        """Start `strongroom backup` of the database."""
        return self.start("backup", "--dsn", self.dsn.conninfo(), "--json", *arguments, **named)

    def repository(self, store: Store | None = None) -> Repository:
        """The repository, opened anew."""
        return Repository(store or self.store())

    def keys_directory(self, repository: Repository) -> Path:
        """Where the host keeps its keys for the repository."""
        return keyring.keys_directory(self.state, repository.id)

    def writing_keys(self, repository: Repository) -> WritingKeys:
        """The keys of the host."""
        return keyring.load_writing_keys(self.keys_directory(repository), None)

    def signers(self, repository: Repository) -> AllowedSigners | None:
        """The host's pins."""
        return keyring.load_allowed_signers(self.keys_directory(repository), None)

    def backups(self) -> list[BackupKey]:
        """The backups that exist."""
        return self.repository().backups()

    def verified(self, repository: Repository | None = None) -> Verified:
        """What `verify --all --identity` finds."""
        repository = repository or self.repository()
        return verify(
            repository,
            repository.backups(),
            self.signers(repository),
            identities=[self.identity],
            jobs=2,
            progress=Silent(),
        )

    def chunk_ids(self, repository: Repository | None = None) -> list[bytes]:
        """The chunk id of every object below `chunks/`, referred to or not."""
        repository = repository or self.repository()
        key = repository.chunk_key([self.identity])
        return [
            key.id_of(zstandard.decompress(age.unseal(repository.store.get(name), [self.identity])))
            for name in repository.store.list(CHUNKS_PREFIX)
        ]

    def left_incoming(self) -> list[Path]:
        """Files that are not visible yet, or never will be."""
        incoming = self.root / ".incoming"
        return sorted(path for path in incoming.glob("*/*") if path.is_file())

    def start_sql(self, text: str) -> subprocess.Popen[str]:
        """Start a psql of its own that runs one transaction."""
        return subprocess.Popen(
            [
                self.server.tools.program("psql"),
                *("--no-psqlrc", "--quiet", "--single-transaction", f"--command={text}"),
                f"--dbname={self.dsn.conninfo()}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            text=True,
        )

    def lock(self, table: str) -> subprocess.Popen[str]:
        """Keep everybody from reading a table; returns when that holds. `end_sql` ends it."""
        psql = self.start_sql(f"LOCK TABLE {table}; SELECT pg_sleep(600)")
        granted = (
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
            f" AND relation = '{table}'::regclass"
        )
        if not eventually(lambda: self.server.sql(granted, database=self.dsn.database) == "1"):
            self.end_sql(psql)
            raise AssertionError(f"{table} is not locked")
        return psql

    def end_sql(self, psql: subprocess.Popen[str]) -> None:
        """End a psql and its session: one that sleeps does not notice that its client is gone."""
        psql.kill()
        psql.wait()
        self.server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{self.dsn.database}' AND application_name = 'psql'",
            database="postgres",
        )

    def sessions(self) -> list[str]:
        """Who is connected to the database."""
        rows = self.server.sql(
            "SELECT application_name || ': ' || left(query, 80) FROM pg_stat_activity"
            f" WHERE datname = '{self.dsn.database}' AND pid <> pg_backend_pid()",
            database="postgres",
        )
        return rows.splitlines()

    def processes(self) -> list[str]:
        """Command lines of processes, our own included, that work on this database."""
        return [line for _, line in command_lines() if self.dsn.database in line]

    def assert_nobody_left(self) -> None:
        """No process and no session is at work on the database, or all go soon."""
        assert eventually(lambda: not self.processes()), self.processes()
        assert eventually(lambda: not self.sessions()), self.sessions()

    def assert_whole(self) -> None:
        """Every backup there is can be decrypted; no chunk is stored twice; nothing is left."""
        found = self.verified()
        assert found.is_good, found.damages
        ids = self.chunk_ids()
        assert len(ids) == len(set(ids)), f"{len(ids) - len(set(ids))} chunks are stored twice"
        assert self.left_incoming() == []

    def databases(self) -> list[str]:
        """The names of the server's databases."""
        return self.server.sql("SELECT datname FROM pg_database", database="postgres").split("\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketVault(Vault):
    """A vault whose repository is in a bucket."""

    s3: S3Server
    bucket: str

    @classmethod
    def within(cls, s3: S3Server, directory: Path, server: LabServer, dsn: Dsn) -> BucketVault:
        """Initialise a repository in a new bucket; the keys to it are in the host's home."""
        vault = cls(directory=directory, server=server, dsn=dsn, s3=s3, bucket=s3.new_bucket())
        keys = directory / ".aws" / "credentials"
        keys.parent.mkdir()
        keys.write_text(
            f"[default]\naws_access_key_id = {s3.keys.access_key_id}\n"
            f"aws_secret_access_key = {s3.keys.secret_access_key}\n",
            encoding="ascii",
        )
        vault.begin()
        return vault

    @property
    def address(self) -> str:
        """The repository, as settings name it."""
        return f"s3://{self.bucket}"

    @property
    def store_table(self) -> str:
        """What settings say of the way to it."""
        ca_file = f'ca_file = "{self.s3.ca_file}"\n' if self.s3.ca_file else ""
        return (
            f'[s3]\nprofile = "{self.s3.profile}"\nendpoint = "{self.s3.endpoint}"\n'
            f'region = "us-east-1"\npath_style = true\n{ca_file}'
        )

    def store(self) -> Store:
        """Where the repository lies, opened anew."""
        return self.s3.store(self.bucket)


def finish(process: subprocess.Popen[str], limit: float = LIMIT_SECONDS) -> Done:
    """Wait for a run; one that hangs is killed and fails the test."""
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"not done after {limit} s: {stdout} {stderr}") from None
    return Done(code=process.returncode, stdout=stdout, stderr=stderr)


def eventually(holds: Callable[[], bool], seconds: float = SOON_SECONDS) -> bool:
    """Whether it holds now or soon."""
    give_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def wrapped_tools(directory: Path, real: Path, **scripts: str) -> Iterator[Path]:
    """Yield a directory of client tools in which some are shell scripts; `$real` is the real one.

    `--version` is always answered by the real one.
    """
    directory.mkdir(exist_ok=True)
    for name in ("pg_dump", "pg_dumpall", "pg_restore", "psql"):
        body = scripts.get(name, 'exec "$real" "$@"')
        path = directory / name
        path.write_text(
            f'#!/bin/bash\nreal="{real}/{name}"\n'
            f'if [ "$1" = "--version" ]; then exec "$real" --version; fi\n{body}\n',
            encoding="utf-8",
        )
        path.chmod(0o755)
    yield directory


@contextmanager
def held_dumps(vault: Vault) -> Iterator[tuple[Path, Path]]:
    """Yield a directory of client tools, and a file; no pg_dump is done while that is there.

    One with little output waits at its end, one with much in the middle of it.
    """
    hold = vault.directory / "hold"
    hold.touch()
    script = _HELD.replace("HOLD", str(hold))
    with wrapped_tools(vault.directory / "tools", vault.server.tools.bin, pg_dump=script) as tools:
        try:
            yield tools, hold
        finally:
            hold.unlink(missing_ok=True)  # or a test that failed would leave its run at work
