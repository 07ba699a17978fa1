"""Packages and units."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Final

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.core import sources
from deploy.core.model import Package
from deploy.facts.system import HardwareOf, InstalledPackages, Printed, UnitEntry
from deploy.ops import files, record
from deploy.ops.record import Commands

# Waits for unattended-upgrades to finish; keeps configuration files that are already there.
_APT: Final = (
    "DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300"
    " -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
)


@operation()
def repository(package: Package, key: Callable[[], str]) -> Commands:
    """Keep a repository of packages known to apt, by its key, and for its purpose only."""
    hardware = host.get_fact(HardwareOf)
    assert hardware is not None
    for path, content in (
        (sources.KEY_FILE, key()),
        (sources.PREFERENCES_FILE, sources.preferences_text(package)),
        (sources.SOURCES_FILE, sources.sources_text(package, hardware.codename)),
    ):
        yield from files.keep(path, content.encode(), owner="root", group="root", mode="0644")


@operation()
def packages(names: Sequence[str]) -> Commands:
    """Keep Debian packages installed."""
    there = host.get_fact(InstalledPackages, packages=tuple(names))
    missing = [one for one in names if one not in there]
    for one in missing:
        record.change(f"package {one}", expected="installed", observed="not installed")
    if missing:
        wanted = " ".join(shlex.quote(one) for one in missing)
        # A list of packages that is days old names versions that are gone.
        yield StringCommand(
            f"{_APT} update && {_APT} install --no-install-recommends {wanted} >/dev/null"
        )


@operation()
def unit(unit_name: str, *, is_running: bool = True) -> Commands:
    """Keep a unit enabled and running; first have systemd read its file, if that is newer."""
    found = host.get_fact(UnitEntry, unit=unit_name)
    quoted = shlex.quote(unit_name)
    if found.needs_reload:
        record.change(f"unit {unit_name}", expected="read by systemd", observed="changed on disk")
        yield StringCommand("systemctl daemon-reload")
    if not found.is_enabled:
        record.change(f"unit {unit_name}", expected="enabled", observed="not enabled")
        yield StringCommand(f"systemctl -q enable {quoted}")
    if is_running and not found.is_active:
        record.change(f"unit {unit_name}", expected="running", observed="not running")
        # One that failed too often in a row is refused until that is forgotten.
        yield StringCommand(
            f"systemctl reset-failed {quoted} 2>/dev/null; systemctl start {quoted}"
        )


@operation()
def daemon_reload(unit_name: str, drop_in: str) -> Commands:
    """Have systemd read a unit's files if they are newer than what it knows, or unknown to it.

    It does not notice the first file in a directory that was not there before.
    """
    found = host.get_fact(UnitEntry, unit=unit_name)
    if found.needs_reload or drop_in not in found.drop_ins:
        record.change(f"unit {unit_name}", expected="read by systemd", observed="changed on disk")
        yield StringCommand("systemctl daemon-reload")


@operation()
def fresh(unit_name: str, watched: str) -> Commands:
    """Restart a unit that began before one of its files (the shell's words) was changed.

    To the nanosecond: a package starts its unit in the very second in which its options follow.
    """
    shown = f"systemctl show --timestamp=us+utc -p ActiveEnterTimestamp --value {unit_name}"
    began = f'began=$(date -d "$({shown})" +%s%N)'
    newer = (
        f'for f in {watched}; do changed=$(stat -c %.9Y "$f");'
        ' [ "${changed%.*}${changed#*.}" -le "$began" ] || echo "$f"; done'
    )
    changed = host.get_fact(Printed, script=f"{began}\n{newer}")
    if changed:
        names = ", ".join(changed.split())
        record.change(f"unit {unit_name}", expected="started with its files", observed=names)
        yield StringCommand(f"systemctl restart {shlex.quote(unit_name)}")


@operation()
def doctor(item: str, run: str) -> Commands:
    """Fail unless a check on the host succeeds: nothing is changed by it."""
    said = host.get_fact(Printed, script=f"{run}\necho $?") or ""
    *lines, code = said.splitlines() or ["", "127"]
    if code != "0":
        yield record.failing(item, "; ".join(line.strip() for line in lines if line) or "fails")


@operation()
def command(
    item: str, *, expected: str, unless: str, run: str, stdin: str | None = None
) -> Commands:
    """Run a line of shell unless another one succeeds; `item` and `expected` are for people."""
    if host.get_fact(Printed, script=f"{unless}\necho $?") == "0":
        return
    record.change(item, expected=expected, observed="not so")
    yield StringCommand(run) if stdin is None else StringCommand(run, _stdin=stdin)
