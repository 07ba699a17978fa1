"""Runs commands and tells what they took: the one module here that starts what is measured.

The products' own `backup/postgres/process.py` is not used: peers are started as a shell would
start them, and each process's use of the processor comes from `wait4`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess  # noqa: TID251 - the measured programs are not ours to hold to our rules
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LIMIT_SECONDS = 3600.0
_INTERVAL_SECONDS = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A measured program failed, so there is nothing to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Programs joined by pipes; the last one's output goes to `output`, or nowhere."""

    stages: tuple[tuple[str, ...], ...]
    output: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one run took. Bytes and seconds of the client side leave the server out."""

    wall_seconds: float
    client_seconds: float
    server_seconds: float
    peak_bytes: int
    staging_bytes: int
    stored_bytes: int


def pipeline(*stages: tuple[str, ...], output: Path | None = None) -> Pipeline:
    """Return the programs joined by pipes."""
    return Pipeline(stages=stages, output=output)


def run_quietly(work: tuple[Pipeline, ...], environment: Mapping[str, str]) -> None:
    """Run what is not measured."""
    for each in work:
        with _started(each, environment) as children:
            _finish(each, children)


def measure(
    work: tuple[Pipeline, ...],
    environment: Mapping[str, str],
    *,
    postmaster: int,
    stage: Path,
    target: Path,
) -> Measurement:
    """Run the pipelines one after the other and return what they took together.

    Memory is the sum of the proportional set sizes (Pss) of all our processes, seen every tenth
    of a second. Staging is what lies in `stage`, the run's TMPDIR, and in files open for writing
    that have no name or lie outside of `target`. `stored_bytes` is what `target` gained.
    """
    os.sync()
    before = tree_bytes(target)
    server = _server_seconds(postmaster)
    seconds = 0.0
    with _watching(stage, target) as watch:
        started = time.monotonic()
        for each in work:
            with _started(each, environment) as children:
                watch.roots = tuple(child.pid for child in children)
                seconds += _finish(each, children)
            watch.look_at_disk()
        wall = time.monotonic() - started
    return Measurement(
        wall_seconds=wall,
        client_seconds=seconds,
        server_seconds=_server_seconds(postmaster) - server,
        peak_bytes=watch.peak_bytes,
        staging_bytes=watch.staging_bytes,
        stored_bytes=tree_bytes(target) - before,
    )


def tree_bytes(directory: Path) -> int:
    """Return the sum of the lengths of all files below."""
    total = 0
    for path, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(path) / name).lstat().st_size
    return total


@contextlib.contextmanager
def _started(
    work: Pipeline, environment: Mapping[str, str]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Yield the running processes, and end them and theirs after the block or the time limit."""
    children = _start(work, environment)

    def end() -> None:
        for child in children:
            if child.returncode is None:
                _end_group(child.pid)

    watchdog = threading.Timer(LIMIT_SECONDS, end)
    watchdog.start()
    try:
        yield children
    finally:
        watchdog.cancel()
        end()
        for child in children:
            child.wait()


def _end_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _start(work: Pipeline, environment: Mapping[str, str]) -> list[subprocess.Popen[bytes]]:
    children: list[subprocess.Popen[bytes]] = []
    given: int = os.open(os.devnull, os.O_RDONLY)
    for number, stage in enumerate(work.stages):
        is_last = number == len(work.stages) - 1
        taken, output = (-1, -1) if is_last else os.pipe()
        if is_last:
            output = os.open(work.output or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child is
        child = subprocess.Popen(
            stage,
            stdin=given,
            stdout=output,
            stderr=said,
            env=environment,
            start_new_session=True,
        )
        child.stderr = said
        children.append(child)
        os.close(given)
        os.close(output)
        given = taken
    return children


def _finish(work: Pipeline, children: list[subprocess.Popen[bytes]]) -> float:
    """Wait for every process and return the processor time of all and of what they started."""
    seconds = 0.0
    failed: list[str] = []
    for stage, child in zip(work.stages, children, strict=True):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        _end_group(child.pid)  # what it left behind; not reaped yet, so the number is its own
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds += usage.ru_utime + usage.ru_stime
        assert child.stderr is not None
        child.stderr.seek(0)
        said = child.stderr.read().decode(errors="replace").strip()
        child.stderr.close()
        if child.returncode != 0:
            failed.append(f"{stage[0]} ended with {child.returncode}: {said[-1500:]}")
    if failed:
        raise BenchmarkError("; ".join(failed))
    return seconds


class _Watch:
    """What was seen of the running processes."""

    def __init__(self, stage: Path, target: Path) -> None:
        self.roots: tuple[int, ...] = ()
        self.peak_bytes = 0
        self.staging_bytes = 0
        self._stage = stage
        self._target = target

    def look(self) -> None:
        """Add up memory and open files of the whole tree, as they are now."""
        pids = [pid for root in self.roots for pid in _tree(root)]
        self.peak_bytes = max(self.peak_bytes, sum(_pss(pid) for pid in pids))
        hidden = {key: size for pid in pids for key, size in self._hidden_files(pid)}
        self.look_at_disk(sum(hidden.values()))

    def look_at_disk(self, hidden_bytes: int = 0) -> None:
        """See what lies in the staging directory, besides files that show in no directory."""
        self.staging_bytes = max(self.staging_bytes, tree_bytes(self._stage) + hidden_bytes)

    def _hidden_files(self, pid: int) -> Iterator[tuple[tuple[int, int], int]]:
        """Files open for writing outside of where the run may write, by device and inode."""
        known = (f"{self._stage}/", f"{self._target}/", "/dev/", "/proc/", "/memfd:")
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    link = os.readlink(entry.path)  # noqa: PTH115 - Path.readlink is slower
                    info = entry.stat()
                    # An object that has its name, and no longer the one it was opened by, is seen.
                    is_named = not link.endswith(" (deleted)") or info.st_nlink > 0
                    if link.startswith(known) and is_named:
                        continue
                    if link.startswith(("/memfd:", "/dev/", "/proc/", "pipe:", "socket:", "anon")):
                        continue
                    if stat.S_ISREG(info.st_mode) and _is_for_writing(pid, entry.name):
                        yield (info.st_dev, info.st_ino), info.st_size


@contextlib.contextmanager
def _watching(stage: Path, target: Path) -> Iterator[_Watch]:
    watch = _Watch(stage, target)
    done = threading.Event()

    def look_again() -> None:
        while not done.wait(_INTERVAL_SECONDS):
            watch.look()

    thread = threading.Thread(target=look_again)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()


def _tree(root: int) -> list[int]:
    """Return a process and all its descendants, servers left out."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "postgres":
                continue
            found.append(pid)
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - only names are needed
                children = Path(f"/proc/{pid}/task/{task}/children").read_text()
                waiting.extend(int(child) for child in children.split())
    return found


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _is_for_writing(pid: int, descriptor: str) -> bool:
    for line in Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _server_seconds(postmaster: int) -> float:
    """Return the processor time of a server: its own, its children's, and what it reaped."""
    ticks = 0
    for pid in _children(postmaster):
        with contextlib.suppress(OSError):
            ticks += sum(_times(pid)[:2])
    return (ticks + sum(_times(postmaster))) / _TICKS


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _times(pid: int) -> tuple[int, int, int, int]:
    """User and system time of a process, then of its reaped children, in ticks; proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12]), int(fields[13]), int(fields[14])
