"""Real Debian hosts for tests: systemd, sshd and addresses of their own, by systemd-nspawn.

Each host is an overlay over one root file system, in memory, on a bridge of the lab's own with a
way out through NAT. A lab has a number that nobody else on this machine has, and everything that
it makes has that number in its name: a lab that was killed is cleared away by the next one with
its number. Nothing but processes that the lab itself started is ever ended.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess  # noqa: TID251 - mount, ip, nft, ssh
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import MappingProxyType

import pytest

from backup.postgres.process import Command, Server, serving
from tests.lab.repositories import Ended
from tests.lab.rootfs import ANY_SUITE, root_filesystem

# The names of the Vagrantfile and the last number of each address there, and somebody else.
PLACES = {"db1": 11, "db2": 12, "app1": 13, "backup1": 21}
# Who logs in as an operator does: not root, with sudo.
OPERATOR = "admin"

_NUMBERS = range(20, 100)
_NEEDS = ("mmdebstrap", "systemd-nspawn", "ip", "nft", "ssh", "ssh-keygen", "mount")
_SOON = timedelta(minutes=4)
_POWER_OFF = timedelta(minutes=1)
_MEMORY = "12g"
# What Debian does now and then, some of it at a time by chance, with locks that deploys wait for.
_TIMERS = ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "logrotate")
_NEVER = "[Timer]\nOnCalendar=\nOnCalendar=*-01-01 00:07\nRandomizedDelaySec=0\nPersistent=no\n"
# The units that deploys make or change, or that a host is reached by.
_OURS = ("strongroom", "postgresql", "prometheus", "nftables", "ssh", "systemd-networkd.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """One host: its name, and its address on the lab's bridge."""

    name: str
    address: str
    root: Path


class Lab:
    """Hosts by name. All that is done on them goes over SSH."""

    def __init__(
        self, directory: Path, number: int, lower: Path, lower_of: Mapping[str, Path]
    ) -> None:
        self.directory = directory
        self.number = number
        self._lower = lower
        self._lower_of = lower_of
        self.key = directory / "id_ed25519"
        self.known_hosts = directory / "known_hosts"
        self._running: dict[str, tuple[contextlib.ExitStack, Server]] = {}
        self._hosts: dict[str, LabHost] = {}

    @property
    def bridge(self) -> str:
        """The bridge, and the name of the table of nftables."""
        return f"srlab{self.number}"

    @property
    def gateway(self) -> str:
        """This machine's address on the bridge."""
        return f"10.77.{self.number}.1"

    @property
    def hosts(self) -> Mapping[str, LabHost]:
        """The hosts that were booted, by name."""
        return self._hosts

    def host(self, name: str) -> LabHost:
        """Return a host, which is booted if it is not yet."""
        self.boot([name])
        return self._hosts[name]

    def address_of(self, name: str) -> str:
        """The address that a host has or will have."""
        return f"10.77.{self.number}.{PLACES[name]}"

    def boot(self, names: Sequence[str]) -> None:
        """Boot the hosts that do not run, all at once; each has started all its units on return."""
        started = [name for name in names if name not in self._running]
        for name in started:
            if name not in self._hosts:
                self._make(name)
            self._start(name)
        for name in started:
            self._wait_for_ssh(name)

    def run(
        self,
        name: str,
        command: str,
        *,
        stdin: bytes = b"",
        check: bool = True,
        user: str = "root",
        limit: timedelta = timedelta(minutes=5),
    ) -> Ended:
        """Run a line of shell on a host and return how it ended; with `check` that is with 0."""
        done = subprocess.run(
            (*self.ssh(name, user=user), command),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=limit.total_seconds(),
        )
        ended = Ended(
            code=done.returncode,
            stdout=done.stdout.decode(errors="replace"),
            stderr=done.stderr.decode(errors="replace"),
        )
        if check and ended.code:
            raise AssertionError(
                f"{name}: {command!r} ended with {ended.code}\n{ended.stdout}\n{ended.stderr}"
            )
        return ended

    def ssh(self, name: str, *, user: str = "root") -> tuple[str, ...]:
        """Return how to call ssh: without a word to the person's own configuration."""
        return ("ssh", "-F", str(self.ssh_config), "-l", user, self.address_of(name))

    @property
    def ssh_config(self) -> Path:
        """A configuration for ssh that knows the lab's key and its hosts."""
        return self.directory / "ssh_config"

    def failed_units(self, name: str) -> list[str]:
        """Return the units that have failed, once the host has booted.

        But for those of Debian's own that start when they are asked again: what a busy machine
        makes one of them miss says nothing of the host.
        """
        self.run(name, "systemctl is-system-running --wait", check=False)
        listed = self.run(name, "systemctl --failed --plain --no-legend").stdout
        failed = [line.split()[0] for line in listed.splitlines()]
        return [
            unit
            for unit in failed
            if unit.startswith(_OURS)
            or self.run(name, f"systemctl restart {unit}", check=False).code
        ]

    def read(self, name: str, path: str) -> bytes:
        """Return a file of a host."""
        return base64.b64decode(self.run(name, f"base64 {shlex.quote(path)}").stdout)

    def write(self, name: str, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file of root's on a host."""
        quoted = shlex.quote(path)
        self.run(name, f"install -m {mode:o} /dev/stdin {quoted}", stdin=content)

    def power_off(self, name: str) -> None:
        """Shut a host down in good order; its disk stays."""
        self._stop(name)

    def cut_power(self, name: str) -> None:
        """End a host without a word to it; its disk stays, without what was not flushed."""
        stack, server = self._running.pop(name)
        for leader in _children(server.pid):
            os.kill(leader, SIGKILL)
        assert server.ended_within(_POWER_OFF)
        stack.close()

    def reboot(self, name: str) -> None:
        """Shut down, boot, and wait until SSH answers again."""
        self._stop(name)
        self.boot([name])

    def wipe(self, name: str) -> None:
        """Make a host a bare Debian again, with the same name and address and new host keys."""
        self._stop(name)
        base = self.directory / name
        _do("umount", "--lazy", str(base / "root"))
        for part in ("up", "work", "root"):
            shutil.rmtree(base / part)
        del self._hosts[name]
        self.boot([name])

    def remove(self, name: str) -> None:
        """End a host and forget it, with its disk."""
        if name in self._hosts:
            self._stop(name)
            self._remove(name)

    def keep(self, name: str) -> None:
        """Keep a host's disk as it is now, for `put_back`."""
        self._stop(name)
        base = self.directory / name
        shutil.rmtree(base / "kept", ignore_errors=True)
        _do("cp", "-a", str(base / "up"), str(base / "kept"))
        self.boot([name])

    def put_back(self, name: str) -> None:
        """Make a host's disk what it was when it was kept."""
        self._stop(name)
        base = self.directory / name
        _do("umount", "--lazy", str(base / "root"))
        for part in ("up", "work"):
            shutil.rmtree(base / part)
        _do("cp", "-a", str(base / "kept"), str(base / "up"))
        (base / "work").mkdir()
        self._mount(base)
        host_key = base / "root/etc/ssh/ssh_host_ed25519_key.pub"
        self._note_host_key(name, host_key.read_text())
        self.boot([name])

    def close(self) -> None:
        """End every host and remove what the lab made; safe to call twice."""
        for name in list(self._running):
            self._stop(name)
        for name in list(self._hosts):
            self._remove(name)

    def _make(self, name: str) -> None:
        base = self.directory / name
        for part in ("up", "work", "root"):
            (base / part).mkdir(parents=True)
        root = base / "root"
        self._mount(base)
        self._hosts[name] = LabHost(name=name, address=self.address_of(name), root=root)
        self._furnish(name, root)

    def _mount(self, base: Path) -> None:
        lower = self._lower_of.get(base.name, self._lower)
        layers = f"lowerdir={lower},upperdir={base / 'up'},workdir={base / 'work'}"
        _do("mount", "-t", "overlay", "overlay", "-o", layers, str(base / "root"))

    def _furnish(self, name: str, root: Path) -> None:
        (root / "etc/hostname").write_text(f"{name}\n")
        (root / "etc/machine-id").write_text("")
        shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
        names = "".join(f"{self.address_of(other)} {other}\n" for other in PLACES)
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{names}")
        network = root / "etc/systemd/network/10-host0.network"
        network.write_text(
            f"[Match]\nName=host0\n[Network]\nAddress={self.address_of(name)}/24\n"
            f"Gateway={self.gateway}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        )
        _do("chroot", str(root), "systemctl", "--quiet", "enable", "systemd-networkd")
        for timer in _TIMERS:
            place = root / f"etc/systemd/system/{timer}.timer.d"
            place.mkdir()
            (place / "lab.conf").write_text(_NEVER)
        _do("chroot", str(root), "useradd", "--create-home", "--shell=/bin/bash", OPERATOR)
        sudoers = root / "etc/sudoers.d/admin"
        sudoers.write_text(f"{OPERATOR} ALL=(ALL) NOPASSWD: ALL\n")
        sudoers.chmod(0o440)
        public = self.key.with_suffix(".pub").read_bytes()
        for home in ("root", f"home/{OPERATOR}"):
            (root / home / ".ssh").mkdir(mode=0o700, exist_ok=True)
            (root / home / ".ssh/authorized_keys").write_bytes(public)
        _do("chroot", str(root), "chown", "-R", f"{OPERATOR}:", f"/home/{OPERATOR}/.ssh")
        for old in (root / "etc/ssh").glob("ssh_host_*"):
            old.unlink()
        host_key = root / "etc/ssh/ssh_host_ed25519_key"
        _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(host_key))
        self._note_host_key(name, host_key.with_suffix(".pub").read_text())

    def _note_host_key(self, name: str, public: str) -> None:
        address = self.address_of(name)
        lines = self.known_hosts.read_text().splitlines() if self.known_hosts.exists() else []
        kept = [line for line in lines if not line.startswith(f"{address},")]
        kept.append(f"{address},{name} {' '.join(public.split()[:2])}")
        self.known_hosts.write_text("\n".join(kept) + "\n")

    def _start(self, name: str) -> None:
        host = self._hosts[name]
        command = Command(
            label=f"host {name}",
            argv=(
                *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
                *(f"--directory={host.root}", f"--machine=s{self.number}{name}"),
                *(f"--hostname={name}", f"--network-bridge={self.bridge}", "--console=read-only"),
                "--resolv-conf=off",
            ),
            grace=_POWER_OFF,
        )
        # Of an nspawn that was killed: the kernel may take a while to remove it.
        _do("ip", "link", "delete", f"vb-s{self.number}{name}", check=False)
        stack = contextlib.ExitStack()
        server = stack.enter_context(serving(command, stop=SIGTERM))
        self._running[name] = (stack, server)
        self._note_processes(name, server.pid)

    def _wait_for_ssh(self, name: str) -> None:
        _, server = self._running[name]
        deadline = time.monotonic() + _SOON.total_seconds()
        while not self._answers(name):
            assert not server.ended_within(timedelta(milliseconds=200)), server.stderr_tail
            assert time.monotonic() < deadline, f"{name} has no SSH:\n{server.stderr_tail}"
        self.run(name, "systemctl is-system-running --wait", check=False)
        # The host's first process too: it would outlive an nspawn that is killed.
        self._note_processes(name, server.pid, *_children(server.pid))

    def _answers(self, name: str) -> bool:
        program, *arguments = self.ssh(name)
        argv = (program, "-o", "ConnectTimeout=2", *arguments, "true")
        return subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode == 0

    def _note_processes(self, name: str, *pids: int) -> None:
        lines = "".join(f"{pid} {_started_at(pid)}\n" for pid in pids)
        (self.directory / f"{name}.pids").write_text(lines)

    def _stop(self, name: str) -> None:
        if name in self._running:
            stack, _ = self._running.pop(name)
            stack.close()
            _end_noted(self.directory / f"{name}.pids")

    def _remove(self, name: str) -> None:
        host = self._hosts.pop(name)
        _do("umount", "--lazy", str(host.root))
        shutil.rmtree(self.directory / name)


@contextlib.contextmanager
def lab(suite: str = ANY_SUITE, suites: Mapping[str, str] = MappingProxyType({})) -> Iterator[Lab]:
    """Yield a lab without hosts yet; skips the test where hosts can't be booted.

    `suites` names the Debian of hosts that have another one.
    """
    if os.geteuid() != 0:
        pytest.skip("real hosts need root: mounts, a bridge, systemd-nspawn")
    missing = [name for name in _NEEDS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"real hosts need {', '.join(missing)}")
    lower = root_filesystem(suite)
    lower_of = {name: root_filesystem(other) for name, other in suites.items()}
    with _number() as number:
        directory = Path(f"/var/tmp/strongroom-lab-{number}")
        made = Lab(directory, number, lower, lower_of)
        _clear(made)
        try:
            _prepare(made)
            yield made
        finally:
            try:
                made.close()
            finally:
                _clear(made)


@contextlib.contextmanager
def _number() -> Iterator[int]:
    """Yield a number that no other lab on this machine has while the block lasts."""
    for number in _NUMBERS:
        with Path(f"/run/lock/strongroom-lab-{number}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    raise AssertionError("every number of a lab is taken")


def _prepare(made: Lab) -> None:
    made.directory.mkdir(mode=0o700)
    options = f"size={_MEMORY},mode=0700"
    _do("mount", "-t", "tmpfs", "-o", options, "strongroom-lab", str(made.directory))
    _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(made.key))
    made.ssh_config.write_text(
        f"IdentityFile {made.key}\nUserKnownHostsFile {made.known_hosts}\n"
        "GlobalKnownHostsFile /dev/null\nIdentitiesOnly yes\nStrictHostKeyChecking yes\n"
        "BatchMode yes\nConnectTimeout 30\nLogLevel ERROR\n"
    )
    _do("ip", "link", "add", made.bridge, "type", "bridge")
    _do("ip", "address", "add", f"{made.gateway}/24", "dev", made.bridge)
    _do("ip", "link", "set", made.bridge, "up")
    # Stays on afterwards: another lab may need it.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    network = f"10.77.{made.number}.0/24"
    rules = (
        f"table ip {made.bridge} {{\n chain post {{\n"
        "  type nat hook postrouting priority srcnat; policy accept;\n"
        f'  ip saddr {network} oifname != "{made.bridge}" masquerade\n }}\n}}\n'
    )
    _do("nft", "-f", "-", stdin=rules)


def _clear(made: Lab) -> None:
    """Remove whatever is there of a lab with this number: its own, or of one that was killed."""
    if made.directory.is_dir():
        for noted in made.directory.glob("*.pids"):
            _end_noted(noted)
        for root in made.directory.glob("*/root"):
            _do("umount", "--lazy", str(root), check=False)
        _do("umount", "--lazy", str(made.directory), check=False)
        shutil.rmtree(made.directory)
    _do("ip", "link", "delete", made.bridge, check=False)
    _do("nft", "delete", "table", "ip", made.bridge, check=False)


def _end_noted(noted: Path) -> None:
    for line in noted.read_text().splitlines():
        pid, _, started = line.partition(" ")
        _end(int(pid), started)


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _end(pid: int, started: str) -> None:
    """End a process that a lab started, in good order, unless it is gone."""
    for how, patience in ((SIGTERM, _POWER_OFF), (SIGKILL, _POWER_OFF)):
        if not started or _started_at(pid) != started:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + patience.total_seconds()
        while _started_at(pid) == started and time.monotonic() < deadline:
            time.sleep(0.05)


def _started_at(pid: int) -> str:
    """When a process started, in ticks since boot: with its number that is who it is."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _do(*argv: str, stdin: str = "", check: bool = True) -> None:
    done = subprocess.run(
        argv, input=stdin, text=True, capture_output=True, check=False, timeout=60
    )
    if check and done.returncode:
        raise RuntimeError(f"{shlex.join(argv)}: {done.stderr}")
