"""Repositories without a server, and the command line in forks: for what is tried by hundreds."""

from __future__ import annotations

import errno
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup import keyring
from backup.evidence.report import REPORT_NAMESPACE
from backup.repository.manifest import MANIFEST_NAMESPACE
from backup.repository.stores.incoming import INCOMING
from backup.repository.stores.local import LocalStore
from tests import samples
from tests.faults.forks import Forks
from tests.faults.vault import Done
from tests.lab.prunes import DAY, PruneLab

CALLS = {
    "fsync": ["fsync", "fdatasync"],
    "rename": ["rename", "replace", "link"],
    "close": ["close"],
    "unlink": ["unlink"],
}
TOLD = re.compile(r"^strongroom: .*Input/output error$", re.MULTILINE)
# As `PruneLab` has it.
RETENTION = """
[retention]
keep_last = 2
keep_proven_monthly = 0
minimum_count = 1
minimum_age = 0
max_expire = 1000
sweep_grace = "3d"
"""
# What the tests themselves leave there, and what a local store has by design.
NOT_LEFT = {".stdout", ".stderr", ".calls", INCOMING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A directory with a repository, a host's state and its settings."""

    home: Path
    forks: Forks

    @property
    def store(self) -> LocalStore:
        """The repository's objects."""
        return LocalStore(self.home / "repository")

    @property
    def lab(self) -> PruneLab:
        """The same repository, looked at from here, tomorrow."""
        return PruneLab(self.store, self.home / "state", now=datetime.now(UTC) + DAY)

    def run(self, *verb: str | Path, **fault: Any) -> Done:
        """Run a verb with the settings of this place; `fault` as the driver has it."""
        return self.forks.run(
            self.home, *verb, "--config", self.home / "strongroom.toml", fault=fault
        )

    def refuse(self, call: str, at: int, *verb: str | Path) -> Done:
        """Run it with one call that fails; a run that fails must say clearly why."""
        done = self.run(*verb, calls=CALLS[call], at=at, then=errno.EIO)
        if done.code != 0:
            assert done.code in {2, 6}, done
            assert TOLD.search(done.stderr), done
        assert "Traceback" not in done.stderr, done
        return done

    def calls(self, call: str, *verb: str | Path) -> int:
        """How many such calls a run makes that nothing is in the way of."""
        report = self.home / ".calls"
        done = self.run(*verb, calls=CALLS[call], report=str(report))
        assert done.code == 0, done
        return int(json.loads(report.read_text(encoding="ascii"))["calls"])

    def configure(self, more: str = "") -> None:
        """Write the settings file."""
        (self.home / "strongroom.toml").write_text(
            f'repository = "{self.home}/repository"\nstate_directory = "{self.home}/state"\n'
            f"jobs = 2\n{more}",
            encoding="utf-8",
        )

    def keep_keys(self) -> None:
        """Have the host of `lab` hold its keys as the command line wants them."""
        signer = replace(
            samples.allowed().signers[0], namespaces=(MANIFEST_NAMESPACE, REPORT_NAMESPACE)
        )
        keyring.save(
            keyring.keys_directory(self.home / "state", samples.REPOSITORY_ID),
            chunk_key=samples.CHUNK_KEY,
            signing_key=samples.SIGNING_KEY,
            recipients=[samples.IDENTITY.recipient],
            allowed_signers=replace(samples.allowed(), signers=(signer,)).text,
            repository_files=samples.FILES,
        )

    def hidden(self) -> list[Path]:
        """Files and directories that were to get another name."""
        return [path for path in self.home.rglob(".*") if path.name not in NOT_LEFT]
