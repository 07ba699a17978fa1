"""What every host has: updates, the right time, a kernel that keeps to itself."""

from __future__ import annotations

from functools import partial
from typing import Final

from pyinfra.api.deploy import deploy

from deploy.core import sources
from deploy.core.model import Estate, Site
from deploy.ops import files, system

_PACKAGES: Final = ("ca-certificates", "openssl", "nftables", "procps", "systemd-timesyncd")
_UPDATES: Final = "/etc/apt/apt.conf.d/52-strongroom"
_UPDATES_TEXT: Final = """\
// Made by `strongroom host apply`. Security updates are installed by themselves; PostgreSQL's too,
// which restart the server. Nothing reboots by itself.
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Automatic-Reboot "false";
"""
_KERNEL: Final = "/etc/sysctl.d/60-strongroom.conf"
_KERNEL_SETTINGS: Final = (
    ("kernel.dmesg_restrict", "1"),
    ("kernel.kptr_restrict", "2"),
    ("kernel.unprivileged_bpf_disabled", "1"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.all.accept_source_route", "0"),
    ("net.ipv6.conf.all.accept_redirects", "0"),
    ("fs.protected_hardlinks", "1"),
    ("fs.protected_symlinks", "1"),
    ("fs.suid_dumpable", "0"),
)
_TIME: Final = "/etc/systemd/timesyncd.conf.d/strongroom.conf"


@deploy("base")
def base(site: Site) -> None:
    """Put it all there."""
    updates = ("unattended-upgrades",) if site.automatic_updates else ()
    system.packages(name="packages of every host", names=(*_PACKAGES, *updates))
    if site.automatic_updates:
        files.file(name="automatic security updates", path=_UPDATES, content=_UPDATES_TEXT)
    lines = "".join(f"{name} = {value}\n" for name, value in _KERNEL_SETTINGS)
    header = "# Made by `strongroom host apply`.\n"
    files.file(name="kernel settings", path=_KERNEL, content=header + lines)
    # A container has only some of them, and may not set those that it shares.
    system.command(
        name="kernel settings in force",
        item="kernel settings",
        expected="in force",
        unless=_unless_in_force(),
        run=f"sysctl -q -e -p {_KERNEL} || true",
    )
    if site.time_servers:
        files.directory(name="directory of time servers", path="/etc/systemd/timesyncd.conf.d")
        files.file(
            name="time servers",
            path=_TIME,
            content=f"{header}[Time]\nNTP={' '.join(site.time_servers)}\n",
        )
    system.unit(
        name="time synchronization", unit_name="systemd-timesyncd.service", is_running=False
    )


def repository(estate: Estate, host_name: str) -> None:
    """Have apt know where PostgreSQL comes from, if not from the distribution."""
    package = sources.package_of(estate, host_name)
    if package is not None and package.signing_key is not None:
        system.repository(
            name="repository of PostgreSQL",
            package=package,
            key=partial(package.signing_key.read_text, encoding="ascii"),
        )


def _unless_in_force() -> str:
    """Return shell that succeeds if every setting that can be written has its value."""
    checks = (
        f'f=/proc/sys/{name.replace(".", "/")}; [ ! -w "$f" ] || [ "$(cat "$f")" = {value} ]'
        for name, value in _KERNEL_SETTINGS
    )
    return "(" + " && ".join(f"{{ {check}; }}" for check in checks) + ")"
