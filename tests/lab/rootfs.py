"""Debian root file systems for test hosts, built by mmdebstrap from this machine's own mirror.

They are kept for a day in a cache, by suite and recipe. What deploys install lies in the host's
package cache, as with a mirror nearby, but is not installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess  # noqa: TID251 - mmdebstrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

SUITES = {"bookworm": 15, "trixie": 17}
ANY_SUITE = "bookworm"

_BASE = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "python3", "nftables", "iproute2",
    "ca-certificates", "procps", "openssl",
)  # fmt: skip
_NEEDED = "postgresql postgresql-{major} postgresql-client-{major} postgresql-{major}-pgaudit"
_DOWNLOADED = (
    "python3-venv", "age", "zstd", "unattended-upgrades", "systemd-timesyncd", "logrotate",
    "prometheus-node-exporter", "prometheus-postgres-exporter",
)  # fmt: skip
_UTMP = "systemd-update-utmp-runlevel.service"
_OPTIONS = (
    '--aptopt=Apt::Install-Recommends "false"',
    '--aptopt=Acquire::Check-Valid-Until "false"',
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Retries "5"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--skip=cleanup/apt",
    # It asks D-Bus for the runlevel while that starts, and now and then in vain: the host would be
    # `degraded` for a record that nobody reads here.
    f'--customize-hook=ln -s /dev/null "$1/etc/systemd/system/{_UTMP}"',
)
_LIMIT_SECONDS = 900
_TRIES = 3
# Locks of what this process uses, until it ends.
_used: list[int] = []


def root_filesystem(suite: str = ANY_SUITE) -> Path:
    """Return a root file system to make overlays of; builds it unless the cache has it.

    Whoever comes while it is being built waits for it. It must not be written to.
    """
    name = f"debian-{suite}"
    return cached(name, f"{name}-{_recipe(suite)}", lambda target: _build(suite, target))


def cached(kind: str, name: str, build: Callable[[Path], None]) -> Path:
    """Return today's root file system of that name from the cache; builds it unless it is there.

    Others of its kind that nobody uses any more go. An archive that does not answer is asked again.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    made = cache / f"{name}-{datetime.now(UTC):%Y%m%d}"
    with (cache / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            unfinished = cache / f"unfinished-{kind}"
            for left in range(_TRIES - 1, -1, -1):
                shutil.rmtree(unfinished, ignore_errors=True)
                try:
                    build(unfinished)
                    break
                except RuntimeError:
                    if not left:
                        raise
            unfinished.rename(made)
        _used.append(_locked(made, fcntl.LOCK_SH))
        for old in cache.glob(f"{kind}-*"):
            with contextlib.suppress(BlockingIOError):
                os.close(_locked(old, fcntl.LOCK_EX | fcntl.LOCK_NB))
                shutil.rmtree(old)
    return made


def _locked(directory: Path, how: int) -> int:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _build(suite: str, target: Path) -> None:
    packages = " ".join((_NEEDED.format(major=SUITES[suite]), *_DOWNLOADED))
    argv = (
        *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root"),
        f"--include={','.join(_BASE)}",
        *_OPTIONS,
        f'--customize-hook=chroot "$1" apt-get -qq -y install --download-only {packages}',
        *(suite, str(target), "-"),
    )
    sources = "\n".join(sources_of(suite)) + "\n"
    done = subprocess.run(
        argv,
        input=sources,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"mmdebstrap of {suite} failed:\n{done.stderr[-4000:]}")


def sources_of(suite: str) -> list[str]:
    """Return lines of a sources.list for a suite, of the mirrors that this machine's apt uses."""
    codename = _codename()
    lines = []
    for uri, name in _entries():
        matched = re.fullmatch(rf"{codename}(-updates|-security)?", name)
        if matched:
            lines.append(f"deb {uri} {suite}{matched[1] or ''} main")
    assert lines, "apt on this machine has no Debian mirror"
    return lines


def _entries() -> Iterator[tuple[str, str]]:
    """Every pair of address and suite in the sources of this machine's apt."""
    apt = Path("/etc/apt")
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))):
        for line in path.read_text().splitlines() if path.exists() else ():
            found = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line)
            if found:
                yield found[1], found[2]
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^(\w[\w-]*):[ \t]*(.*)$", stanza, re.MULTILINE))
            for uri in fields.get("URIs", "").split():
                for name in fields.get("Suites", "").split():
                    yield uri, name


def _codename() -> str:
    release = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)$", release, re.MULTILINE)
    return found[1] if found else ANY_SUITE


def _recipe(suite: str) -> str:
    text = repr((suite, _BASE, _NEEDED, _DOWNLOADED, _OPTIONS, sources_of(suite)))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def cache_directory() -> Path:
    """Return where root file systems are kept; it may be empty."""
    given = os.environ.get("STRONGROOM_LAB_CACHE")
    return Path(given) if given else Path("/var/tmp/strongroom-lab-cache")
