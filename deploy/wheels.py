"""The wheels that a backup host gets: ours, built from this checkout, and the locked ones.

They are fetched once, on the operator's machine, by their hashes: no backup host needs a way to a
package index, and all of them have the same bytes.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from backup.errors import PostgresError, SettingsError
from backup.postgres.process import Command, run

_CHECKOUT: Final = Path(__file__).parents[1]
_SOURCES: Final = ("backup", "scheduler", "deploy", "migration")
_FILES: Final = ("pyproject.toml", "README.md", "LICENSE")
_LOCK: Final = _CHECKOUT / "requirements" / "run.txt"
_LIMIT: Final = timedelta(minutes=20)
_BUILD: Final = """\
import os, sys
os.chdir(sys.argv[1])
from setuptools import build_meta
build_meta.build_wheel(sys.argv[2])
"""
# glibc 2.36 is Debian 12's.
_PLATFORMS: Final = ("2_34", "2_31", "2_28", "2_17", "2_12", "2_5")


def collect(directory: Path, *, python: str, architecture: str) -> tuple[Path, ...]:
    """Put all wheels for a Python (`3.11`) and architecture (`x86_64`) there; return them.

    Others that lie there are removed: what a host installs is what lies there. Raises
    `SettingsError` outside a checkout.
    """
    if not _LOCK.is_file():
        raise SettingsError(
            "wheels are built from a checkout of strongroom, which this is not",
            hint="run it from a checkout, or copy its wheels directory",
        )
    with tempfile.TemporaryDirectory(prefix="strongroom-wheels-") as name:
        made = Path(name) / "wheels"
        made.mkdir()
        _build(Path(name) / "source", made)
        try:
            # All of them may lie there from the last time, with the right hashes.
            offline = ("--no-index", "--find-links", str(directory))
            _download(made, offline, python=python, architecture=architecture)
        except PostgresError:
            _download(made, (), python=python, architecture=architecture)
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("*.whl"):
            old.unlink()
        for wheel in sorted(made.glob("*.whl")):
            shutil.copyfile(wheel, directory / wheel.name)
    return tuple(sorted(directory.glob("*.whl")))


def _build(source: Path, into: Path) -> None:
    source.mkdir()
    for name in _SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(_CHECKOUT / name, source / name, ignore=ignored)
    for name in _FILES:
        shutil.copyfile(_CHECKOUT / name, source / name)
    command = Command(
        label="building the wheel", argv=(sys.executable, "-c", _BUILD, str(source), str(into))
    )
    run(command, timeout=_LIMIT)


def _download(into: Path, source: Sequence[str], *, python: str, architecture: str) -> None:
    platforms = (f"manylinux_{version}_{architecture}" for version in _PLATFORMS)
    command = Command(
        label="fetching wheels",
        argv=(
            *_pip(),
            *("download", "--quiet", "--disable-pip-version-check", "--no-deps", *source),
            *("--only-binary=:all:", "--require-hashes", "--python-version", python),
            *(word for platform in platforms for word in ("--platform", platform)),
            *("--requirement", str(_LOCK), "--dest", str(into)),
        ),
    )
    run(command, timeout=_LIMIT)


def _pip() -> tuple[str, ...]:
    has_pip = importlib.util.find_spec("pip") is not None
    return (sys.executable if has_pip else "python3", "-m", "pip")
