"""A PostgreSQL cluster of one's own for a while: reachable through a socket directory only.

Everything it has lies in one directory, which only its user can enter, so that `trust` is enough.
The directory is locked as long as we live. When we are killed, the kernel stops the server and
the next cluster that starts removes what was left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import pwd
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from backup.errors import PostgresError, ToolMissingError
from backup.postgres import locktable
from backup.postgres.dsn import DEFAULT_PORT, Dsn
from backup.postgres.process import Command, RunAs, Server, run, serving
from backup.postgres.tools import Tools

START_LIMIT: Final = timedelta(minutes=2)
_REMOVAL_LIMIT: Final = timedelta(seconds=10)
PREFIX: Final = "strongroom-scratch-"
_SOCKET_PATH_BYTES: Final = 107  # sockaddr_un(7), without the zero byte
_SOCKET_NAME: Final = ".s.PGSQL.65535.lock"

# Nobody else reaches it, and it leaves nothing outside its directory.
CONFINED: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "dynamic_shared_memory_type": "mmap",
    "logging_collector": "off",
    "log_destination": "stderr",
    "lc_messages": "C",
    "jit": "off",  # the daemon's unit admits no memory that is written and run
}
_SESSIONS: Final = "max_connections"
# Loses everything at a power cut, which is what it is for.
THROW_AWAY: Final[Mapping[str, str]] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1d",
    "autovacuum": "off",
    "maintenance_work_mem": "128MB",
    _SESSIONS: "64",
    locktable.SETTING: "1024",
}


def throw_away_for(tables: int) -> Mapping[str, str]:
    """Return the settings of a cluster in which one session can lock so many tables."""
    sessions = int(THROW_AWAY[_SESSIONS])
    locks = max(int(THROW_AWAY[locktable.SETTING]), -(-tables // sessions))
    return {**THROW_AWAY, locktable.SETTING: str(locks)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running cluster; `dsn` is its superuser's, in database `postgres`."""

    dsn: Dsn
    directory: Path
    server: Server


@contextlib.contextmanager
def scratch_cluster(
    tools: Tools,
    *,
    superuser: str = "postgres",
    encoding: str = "UTF8",
    locale: tuple[str, ...] = ("--locale=C.UTF-8",),
    has_checksums: bool = False,
    settings: Mapping[str, str] = THROW_AWAY,
    directory: Path | None = None,
) -> Iterator[Cluster]:
    """Make a cluster, yield it running, and remove it on every path.

    `locale` is what `initdb` takes for it; `settings` are those of the server's command line, on
    top of `CONFINED`. `directory` is where its directory is made. As root it runs as `postgres`,
    or `nobody`. Raises `PostgresError` with the end of its log when it does not start, and when
    it could not be removed.
    """
    user = unprivileged_user()
    with _own_directory(directory or Path(tempfile.gettempdir()), user) as home:
        tools = _runnable(tools, user, home)
        data = home / "data"
        run(
            Command(
                label=f"initdb of a scratch cluster with PostgreSQL {tools.version}",
                argv=(
                    tools.program("initdb"),
                    f"--pgdata={data}",
                    f"--username={superuser}",
                    f"--encoding={encoding}",
                    *locale,
                    *_checksum_option(tools, has_checksums=has_checksums),
                    "--auth=trust",
                    "--no-sync",
                    "--no-instructions",
                ),
                user=user,
            ),
            timeout=START_LIMIT,
        )
        with _socket_directory(home, user) as sockets:
            wanted = {**CONFINED, "unix_socket_directories": str(sockets), **settings}
            with serving(_postgres(tools, data, wanted, user), stop=signal.SIGQUIT) as server:
                _wait_until_ready(server, data / "postmaster.pid")
                port = int(settings.get("port", DEFAULT_PORT))
                dsn = Dsn(host=str(sockets), port=port, user=superuser, database="postgres")
                yield Cluster(dsn=dsn, directory=home, server=server)


def unprivileged_user() -> RunAs | None:
    """Return whom a server must run as: nobody else (None), unless we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return RunAs(uid=entry.pw_uid, gid=entry.pw_gid, name=name)
    raise ToolMissingError(
        "PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it as",
        hint="useradd --system postgres",
    )


def sweep(parent: Path) -> tuple[Path, ...]:
    """Remove the directories of clusters whose owner was killed; return them."""
    swept: list[Path] = []
    user = unprivileged_user()
    owners = {os.geteuid(), *(() if user is None else (user.uid,))}
    for path in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid not in owners:
                continue
            lock = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                shutil.rmtree(path)
                swept.append(path)
            finally:
                os.close(lock)
    return tuple(swept)


def _postgres(tools: Tools, data: Path, settings: Mapping[str, str], user: RunAs | None) -> Command:
    options = (
        argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")
    )
    return Command(
        label=f"scratch cluster with PostgreSQL {tools.version}",
        argv=(tools.program("postgres"), "-D", str(data), *options),
        user=user,
        death_signal=signal.SIGQUIT,
        grace=timedelta(seconds=15),  # it kills its own sessions after five
    )


def _checksum_option(tools: Tools, *, has_checksums: bool) -> tuple[str, ...]:
    if has_checksums:
        return ("--data-checksums",)
    return ("--no-data-checksums",) if tools.major >= 18 else ()


def _wait_until_ready(server: Server, pid_file: Path) -> None:
    """Wait as `pg_ctl` does: the eighth line of `postmaster.pid` says when it takes sessions."""
    give_up = time.monotonic() + START_LIMIT.total_seconds()
    while True:
        with contextlib.suppress(FileNotFoundError):
            lines = pid_file.read_text().splitlines()
            if len(lines) >= 8 and lines[7].strip() == "ready":
                return
        if server.ended_within(timedelta(milliseconds=10)) or time.monotonic() > give_up:
            log = "; ".join(server.stderr_tail.splitlines()[-20:])
            raise PostgresError(f"the scratch cluster did not start: {log}")


@contextlib.contextmanager
def _own_directory(parent: Path, user: RunAs | None) -> Iterator[Path]:
    """Yield a new, locked directory that only `user` can enter, and remove it."""
    sweep(parent)
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = _locked(path, fcntl.LOCK_EX)
        except FileNotFoundError:  # swept before it was locked
            continue
        break
    try:
        if user is not None:
            os.chown(path, user.uid, user.gid)
        yield path
    finally:
        try:
            _remove(path)
        finally:
            os.close(lock)


def _remove(path: Path) -> None:
    """Remove a directory, and be sure of it."""
    give_up = time.monotonic() + _REMOVAL_LIMIT.total_seconds()
    while True:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            # Sessions of a server that was killed write for a moment longer than it.
            if not path.exists():
                return
        except OSError as error:
            if time.monotonic() > give_up:
                raise PostgresError(
                    f"the scratch cluster in {path} could not be removed: {error.strerror}",
                    hint=f"rm -r {path}",
                ) from error
        else:
            return
        time.sleep(0.05)


def _locked(path: Path, how: int) -> int:
    """Return a descriptor that holds the lock of a directory which is still there."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, how)
        if not os.path.samestat(os.fstat(lock), path.lstat()):
            raise FileNotFoundError(path)
    except BaseException:
        os.close(lock)
        raise
    return lock


@contextlib.contextmanager
def _socket_directory(home: Path, user: RunAs | None) -> Iterator[Path]:
    """Yield `home`, or a directory with a shorter name where a socket's name would not fit."""
    if len(os.fsencode(home / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES:
        yield home
        return
    with _own_directory(Path("/tmp"), user) as sockets:  # noqa: S108  (made by mkdtemp)
        yield sockets


def _runnable(tools: Tools, user: RunAs | None, home: Path) -> Tools:
    """Return tools that `user` can run: a copy, where root keeps them out of others' reach."""
    if user is None:
        return tools
    # Asked of the user: setpriv's own start of a program still has root's rights.
    may_run = Command(
        label=f"test of {tools.bin} as {user.name}",
        argv=("test", "-x", tools.program("postgres")),
        user=user,
    )
    try:
        run(may_run, timeout=START_LIMIT)
    except PostgresError:
        return dataclasses.replace(tools, bin=_copied(tools.bin.parent, home / "copy") / "bin")
    return tools


def _copied(installation: Path, target: Path) -> Path:
    """Copy a relocatable installation, with the libraries that lie beside a wheel's package."""
    package = installation.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return Path(
        shutil.copytree(installation, target / package.name / installation.name, symlinks=True)
    )
