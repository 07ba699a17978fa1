"""Repositories in temporary directories, the journeys on them, and `strongroom` as a process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backup import keyring
from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import KeyPair, X25519Identity
from backup.journeys import archives
from backup.journeys.archives import OpenBackup
from backup.journeys.create import Created, Source, create
from backup.journeys.digestpolicy import DigestPolicy
from backup.journeys.initialize import initialize
from backup.journeys.progress import Progress, Silent
from backup.journeys.restore import Restored, restore
from backup.journeys.restoreplan import Destination, plan
from backup.postgres.command import Command
from backup.postgres.dsn import Dsn
from backup.postgres.process import run
from backup.repository.access import Repository
from backup.repository.chunking import DEFAULT_CHUNK_SIZES
from backup.repository.stores.local import LocalStore

_LIMIT = timedelta(minutes=15)
_STRONGROOM = Path(sys.executable).with_name("strongroom")
# Ends with the exit code of what it ran in one file, and its output in two more.
_RECORDING = """
out=$1 code=0; shift
"$@" >"$out.out" 2>"$out.err" </dev/null || code=$?
echo $code >"$out.code"
"""
# The same program, which writes at its end what it took of memory at most.
_MEASURED = """
import pathlib, re, sys
from backup.cli import main
try:
    main()
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    pathlib.Path(sys.argv[0]).write_text(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.stdout)


def ended(argv: tuple[str, ...], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end, whatever its exit code is."""
    # What it left behind was killed, and may be writing its last.
    with tempfile.TemporaryDirectory(
        prefix="strongroom-ended-", ignore_cleanup_errors=True
    ) as directory:
        base = Path(directory) / "it"
        command = Command(
            label=" ".join(argv[:2]),
            argv=("/bin/bash", "-c", _RECORDING, "bash", str(base), *argv),
            environment={"HOME": directory, **(environment or {})},
        )
        run(command, timeout=_LIMIT)
        return Ended(
            code=int(base.with_suffix(".code").read_text()),
            stdout=base.with_suffix(".out").read_text(encoding="utf-8", errors="replace"),
            stderr=base.with_suffix(".err").read_text(encoding="utf-8", errors="replace"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine with `strongroom` on it; its settings file and its state lie in `home`."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    has_settings: bool = True

    def strongroom(self, *arguments: str | Path, **environment: str) -> Ended:
        """Run `strongroom` as a process."""
        argv = (str(_STRONGROOM), *map(str, arguments))
        return ended(argv, {**self._environment, **environment})

    def strongroom_under(self, prefix: tuple[str, ...], *arguments: str | Path) -> Ended:
        """Run `strongroom` as a process that another program starts, as prlimit."""
        return ended((*prefix, str(_STRONGROOM), *map(str, arguments)), self._environment)

    def peak_bytes(self, *arguments: str | Path) -> int:
        """Run `strongroom`, which must succeed, and return its highest resident set."""
        with tempfile.NamedTemporaryFile(prefix="strongroom-peak-") as file:
            script = f"import sys; sys.argv[0] = {file.name!r}{_MEASURED}"
            argv = (sys.executable, "-c", script, *map(str, arguments))
            done = ended(argv, self._environment)
            assert done.code == 0, done.stderr
            return int(Path(file.name).read_text()) * 1024

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            **(
                {"STRONGROOM_CONFIG": str(self.home / "strongroom.toml")}
                if self.has_settings
                else {}
            ),
            "STRONGROOM_STATE_DIRECTORY": str(self.home / "state"),
            **self.environment,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRepository:
    """A repository, the keys of the host that writes it, and the identity that reads it."""

    directory: Path
    state_directory: Path
    identity: KeyPair
    identity_file: Path
    opened: Repository

    @property
    def keys_directory(self) -> Path:
        """Where the writing host has its keys."""
        return keyring.keys_directory(self.state_directory, self.opened.id)

    @property
    def allowed_signers_file(self) -> Path:
        """The pins, as `ssh-keygen` reads them."""
        return self.keys_directory / keyring.ALLOWED_SIGNERS_FILE

    @property
    def allowed(self) -> AllowedSigners | None:
        """The pins."""
        return keyring.load_allowed_signers(self.keys_directory, None)

    def back_up(
        self,
        dsn: Dsn,
        *,
        name: str | None = None,
        jobs: int = 2,
        lock_timeout: timedelta = timedelta(minutes=1),
        digests: DigestPolicy = "weekly",
        progress: Progress | None = None,
    ) -> Created:
        """Take a backup."""
        source = Source(
            dsn=dsn,
            name=name or dsn.database,
            jobs=jobs,
            compression_level=1,
            lock_timeout=lock_timeout,
            stall_timeout=timedelta(minutes=2),
            digests=digests,
        )
        return asyncio.run(
            create(
                source,
                self.opened,
                keyring.load_writing_keys(self.keys_directory, None),
                self.allowed,
                state_directory=self.state_directory,
                clock=lambda: datetime.now(UTC),
                random=os.urandom,
                version="strongroom test",
                progress=progress or Silent(),
            )
        )

    def open(self, made: Created) -> OpenBackup:
        """Open a backup for reading."""
        return archives.open_backup(self.opened, made.manifest.key, self.allowed, [self.identity])

    def path(self, made: Created) -> Path:
        """Return the backup's own directory."""
        return self.directory / made.manifest.key.prefix

    def restore(
        self,
        made: Created,
        dsn: Dsn,
        *,
        jobs: int = 2,
        is_fresh: bool = False,
        tables: tuple[str, ...] = (),
    ) -> Restored:
        """Restore a backup into the database that `dsn` names."""
        destination = Destination(
            dsn=dsn, jobs=jobs, stall_timeout=timedelta(minutes=2), tables=tables
        )
        backup = self.open(made)
        return asyncio.run(
            restore(
                backup,
                asyncio.run(plan(backup, destination)),
                destination,
                is_fresh=is_fresh,
                clock=lambda: datetime.now(UTC),
                progress=Silent(),
            )
        )


@contextmanager
def lab_repository(identity: KeyPair | None = None) -> Iterator[LabRepository]:
    """Yield a new repository with one recipient, and remove it."""
    identity = identity or X25519Identity.generate()
    with tempfile.TemporaryDirectory(prefix="strongroom-test-") as name:
        directory, state = Path(name) / "repository", Path(name) / "state"
        initialize(
            LocalStore(directory),
            [identity.recipient],
            sizes=DEFAULT_CHUNK_SIZES,
            state_directory=state,
            principal="strongroom@lab",
            now=datetime.now(UTC).replace(microsecond=0),
            random=os.urandom,
            version="strongroom test",
        )
        identity_file = Path(name) / "identity.txt"
        identity_file.write_text(f"{identity.text}\n")
        yield LabRepository(
            directory=directory,
            state_directory=state,
            identity=identity,
            identity_file=identity_file,
            opened=Repository(LocalStore(directory)),
        )
