"""Packages, units, the machine itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pyinfra.api.facts import FactBase


class InstalledPackages(FactBase[tuple[str, ...]]):
    """Those of some Debian packages that are installed."""

    @staticmethod
    def default() -> tuple[str, ...]:
        """None of them."""
        return ()

    def command(self, packages: Sequence[str]) -> str:
        """Return what asks dpkg."""
        names = " ".join(shlex.quote(one) for one in packages)
        return (
            f"dpkg-query -W -f '${{Package}} ${{db:Status-Abbrev}}\\n' {names} 2>/dev/null || true"
        )

    def process(self, output: list[str]) -> tuple[str, ...]:
        """Return the names."""
        rows = (line.split() for line in output if line)
        return tuple(row[0] for row in rows if len(row) > 1 and row[1] == "ii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A systemd unit: whether it starts at boot, whether it runs, whether its file is newer."""

    is_there: bool
    is_enabled: bool
    is_active: bool
    needs_reload: bool
    drop_ins: tuple[str, ...] = ()


class UnitEntry(FactBase[Unit]):
    """What systemd says of a unit."""

    @staticmethod
    def default() -> Unit:
        """It is not there."""
        return Unit(is_there=False, is_enabled=False, is_active=False, needs_reload=False)

    def command(self, unit: str) -> str:
        """Return what asks systemd."""
        properties = "LoadState,UnitFileState,ActiveState,NeedDaemonReload,DropInPaths"
        return f"systemctl show -p {properties} {shlex.quote(unit)} 2>/dev/null || true"

    def process(self, output: list[str]) -> Unit:
        """Return the unit."""
        found = dict(line.split("=", 1) for line in output if "=" in line)
        return Unit(
            is_there=found.get("LoadState") == "loaded",
            is_enabled=found.get("UnitFileState")
            in {"enabled", "enabled-runtime", "static", "alias"},
            is_active=found.get("ActiveState") in {"active", "reloading", "activating"},
            needs_reload=found.get("NeedDaemonReload") == "yes",
            drop_ins=tuple(found.get("DropInPaths", "").split()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the tuning formula starts from, and which Debian it is."""

    memory_mib: int
    cpus: int
    codename: str
    architecture: str
    python: str


class HardwareOf(FactBase[Hardware | None]):
    """Memory, processors, Debian's codename, architecture, Python's version."""

    @staticmethod
    def default() -> Hardware | None:
        """Nothing is known."""
        return None

    def command(self) -> str:
        """Return what reads it."""
        return (
            "awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo; nproc;"
            ' . /etc/os-release; echo "$VERSION_CODENAME"; uname -m;'
            " python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")' 2>/dev/null"
            " || echo -"
        )

    def process(self, output: list[str]) -> Hardware | None:
        """Return the machine."""
        memory, cpus, codename, architecture, python = output[:5]
        return Hardware(
            memory_mib=int(memory),
            cpus=int(cpus),
            codename=codename,
            architecture=architecture,
            python=python,
        )


class Printed(FactBase[str | None]):
    """What a harmless line of shell prints, with a label for people; None if it fails."""

    @staticmethod
    def default() -> str | None:
        """Nothing."""
        return None

    def command(self, script: str) -> str:
        """Return the script, which may fail."""
        return f"{{ {script}\n}} 2>/dev/null || true"

    def process(self, output: list[str]) -> str | None:
        """Return the lines."""
        return "\n".join(output)
