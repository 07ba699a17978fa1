"""Restoring as someone does who has nothing of ours: `restore.sh`, or an export's README."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backup.journeys.create import Created
from backup.postgres.dsn import Dsn
from backup.postgres.tools import Tools
from tests.lab.repositories import Ended, LabRepository, ended

needs_stock_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("age", "zstd", "awk", "ssh-keygen"))),
    reason="age, zstd, awk and ssh-keygen are not all installed",
)


def restore_sh(
    repository: LabRepository,
    made: Created,
    tools: Tools,
    dsn: Dsn,
    *arguments: str,
    root: Path | None = None,
    identity: Path | None = None,
    **environment: str,
) -> Ended:
    """Run the script of a repository (or of its copy in `root`) against a server."""
    root = root or repository.directory
    return ended(
        (
            *("bash", str(root / "restore.sh"), str(identity or repository.identity_file)),
            *(str(root / made.manifest.key.prefix), *arguments),
        ),
        {
            **_surroundings(tools, dsn),
            "ALLOWED_SIGNERS": str(repository.allowed_signers_file),
            **environment,
        },
    )


def run_readme(directory: Path, tools: Tools, dsn: Dsn, name: str) -> Ended:
    """Do as the README of an export says, line by line, until something fails."""
    text = (directory / "README.txt").read_text(encoding="utf-8").replace("NEW", name)
    return ended(
        ("bash", "-e", "-c", f'cd "$0"\n{text}', str(directory)), _surroundings(tools, dsn)
    )


def _surroundings(tools: Tools, dsn: Dsn) -> dict[str, str]:
    return {
        "PATH": f"{tools.bin}:/usr/bin:/bin",
        "PGHOST": dsn.host,
        "PGPORT": str(dsn.port),
        "PGUSER": dsn.user,
    }
