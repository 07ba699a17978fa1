"""The only place where processes start: without a shell, minded, and reaped on every path.

A child gets an environment made from nothing, its own session, and its password through a file
that exists in memory only. It dies when we do: `setpriv --pdeathsig` asks the kernel for it,
since a `preexec_fn` is not safe in a process that has threads.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess  # noqa: TID251
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final

from backup.errors import ToolMissingError
from backup.postgres.child import Child, Ending
from backup.postgres.command import (
    ATTACHED,
    SEARCH_PATH,
    STANDARD_INPUT,
    Command,
    RunAs,
    child_environment,
)
from backup.postgres.pipes import Buffer, MemoryFile, Reader, Server, Writer

__all__ = [
    "STANDARD_INPUT",
    "Buffer",
    "Command",
    "Finished",
    "MemoryFile",
    "Reader",
    "RunAs",
    "Server",
    "Supervised",
    "Writer",
    "reading",
    "run",
    "serving",
    "supervise",
    "writing",
]

PIPE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command that succeeded wrote."""

    stdout: bytes
    stderr_tail: str


def run(
    command: Command,
    *,
    timeout: timedelta,
    stdin: Buffer | MemoryFile | None = None,
    entered: Callable[[Child], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Finished:
    """Run to the end and return the output. `stdin` is seekable, as `STANDARD_INPUT`.

    `entered` surrounds its life and is given it: its `end` may be called from any thread. Raises
    `PostgresError` for any exit code but 0, `StalledError` after `timeout`.
    """
    with _pipe() as (output, output_end):
        given = _nothing() if stdin is None else _seekable(stdin, command.user)
        with (
            _started(command, stdin=given, stdout=output_end, timeout=timeout) as child,
            entered(child),
        ):
            stdout = bytearray()
            while data := os.read(output, PIPE_BYTES):
                stdout += data
            child.check()
    return Finished(stdout=bytes(stdout), stderr_tail=child.stderr_tail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """How a command ended, whatever its exit code (negative: a signal), and what it wrote.

    `ending` says why it was ended, if it was. Of a long output, the beginning.
    """

    exit_code: int
    ending: Ending | None
    stdout: bytes
    stderr_tail: str


def supervise(
    command: Command,
    *,
    silence: timedelta,
    deadline: timedelta,
    entered: Callable[[Child], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Supervised:
    """Run to the end and return how it ended; only a command that can't be started raises.

    It is ended when it wrote nothing for `silence`, to stdout or to stderr, and after `deadline`.
    `entered` surrounds its life and is given it: its `end` may be called from any thread.
    """
    with (
        _pipe() as (output, output_end),
        _started(
            command,
            stdin=_nothing(),
            stdout=output_end,
            stall=silence,
            timeout=deadline,
            is_heard=True,
        ) as child,
        entered(child),
    ):
        stdout = bytearray()
        while data := os.read(output, PIPE_BYTES):
            child.moved()
            stdout += data[: PIPE_BYTES - len(stdout)]
        exit_code = child.wait()
    return Supervised(
        exit_code=exit_code,
        ending=child.ending,
        stdout=bytes(stdout),
        stderr_tail=child.stderr_tail,
    )


@contextlib.contextmanager
def reading(
    command: Command,
    *,
    stall: timedelta,
    entered: Callable[[Child], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Iterator[Reader]:
    """Start a command whose output is read.

    It is ended when no byte was read for `stall`, whether it gave none or we took none. Leaving
    the block waits, and raises unless all output was read and the exit code is 0; an exception
    ends it. `entered` surrounds its life, as in `run`.
    """
    with (
        _pipe() as (output, output_end),
        _started(command, stdin=_nothing(), stdout=output_end, stall=stall) as child,
        entered(child),
    ):
        reader = Reader(child, output)
        yield reader
        reader.finish()


@contextlib.contextmanager
def writing(
    command: Command,
    *,
    stall: timedelta,
    entered: Callable[[Child], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Iterator[Writer]:
    """Start a command that is written to.

    It is ended when no byte was written for `stall`, whether it took none or we gave none. Leaving
    the block closes its input, waits, and raises unless the exit code is 0. An exception ends it,
    and it never sees the end of its input. `entered` surrounds its life, as in `run`: also while
    it is only waited for, which may be long after the last byte.
    """
    input_end, feed = os.pipe()
    _enlarge(feed)
    try:
        with (
            _started(command, stdin=input_end, stdout=None, stall=stall) as child,
            entered(child),
        ):
            yield Writer(child, feed)
            os.close(feed)
            feed = -1
            child.check()
    finally:
        if feed >= 0:
            os.close(feed)


@contextlib.contextmanager
def serving(command: Command, *, stop: signal.Signals) -> Iterator[Server]:
    """Start a command that goes on; leaving the block ends it with `stop` and waits."""
    with _started(command, stdin=_nothing(), stdout=None) as child:
        try:
            yield Server(child)
        finally:
            child.end(stop)


@contextlib.contextmanager
def _started(
    command: Command,
    *,
    stdin: int,
    stdout: int | None,
    stall: timedelta | None = None,
    timeout: timedelta | None = None,
    is_heard: bool = False,
) -> Iterator[Child]:
    """Start, and have it reaped whatever happens. Closes `stdin` and `stdout`, the child's ends."""
    ends = (stdin,) if stdout is None else (stdin, stdout)
    # Known before anything is started: wherever a Ctrl-C comes, what was is found here.
    start = _Start(lambda: _minded(command, stdin, stdout, stall, timeout, is_heard=is_heard), ends)
    is_done = False
    try:
        _spawner.submit(start)
        yield start.child()
        is_done = True
    except BaseException:
        if (child := start.give_up()) is not None:
            child.end()
        raise
    finally:
        if (child := start.give_up()) is not None:
            if not is_done:
                child.end()  # once more: a second Ctrl-C may have come before the first one
            child.wait()


class _Start:
    """The start of a process by another thread: it is begun there or given up here, never both.

    Waits for it with nothing but locks of the interpreter's own: in the middle of a `Condition`,
    as futures have it, a Ctrl-C can leave it locked for good.
    """

    def __init__(self, begin: Callable[[], Child], ends: tuple[int, ...]) -> None:
        self._begin = begin
        self._ends = list(ends)  # the child's: closed once it has them, or will never
        self._fate: dict[str, str] = {}
        self._bell = threading.Lock()
        self._bell.acquire()
        self._child: Child | None = None
        self._error: BaseException | None = None
        self._is_over = False

    def __call__(self) -> None:
        """Begin, unless it was given up."""
        if self._decide("begun") != "begun":
            return
        try:
            try:
                self._child = self._begin()
            finally:
                self._close_ends()
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self._error = error
        finally:
            self._is_over = True
            self._bell.release()

    def child(self) -> Child:
        """Wait, and return what was started; raises what kept it from being started."""
        self._wait()
        if self._child is None:
            assert self._error is not None
            raise self._error
        return self._child

    def give_up(self) -> Child | None:
        """Return what was started, once that is known; None: nothing was, nor will be.

        Whoever is interrupted in here may call it again.
        """
        if self._decide("given up") == "given up":
            self._close_ends()
            return None
        self._wait()
        return self._child

    def _decide(self, fate: str) -> str:
        # One step for the interpreter, and its outcome can be read again: a Ctrl-C right after
        # it loses nothing, as one right after a lock is taken would.
        return self._fate.setdefault("fate", fate)

    def _wait(self) -> None:
        while not self._is_over:  # who was interrupted may have heard the bell already
            self._bell.acquire(timeout=0.1)

    def _close_ends(self) -> None:
        while self._ends:
            os.close(self._ends.pop())


def _minded(
    command: Command,
    stdin: int,
    stdout: int | None,
    stall: timedelta | None,
    timeout: timedelta | None,
    *,
    is_heard: bool,
) -> Child:
    """Start a process and have it minded. In a thread that no Ctrl-C reaches."""
    stderr, stderr_end = os.pipe()
    try:
        popen = _spawn(command, stdin, stderr_end if stdout is None else stdout, stderr_end)
    except BaseException:
        os.close(stderr)
        raise
    finally:
        os.close(stderr_end)
    try:
        return Child(
            label=command.label,
            pid=popen.pid,
            reap=popen.wait,
            stderr=stderr,
            stall=stall,
            timeout=timeout,
            grace=command.grace,
            is_heard=is_heard,
        )
    except BaseException:
        popen.kill()
        popen.wait()
        os.close(stderr)
        raise


def _spawn(command: Command, stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    if shutil.which(command.argv[0], path=SEARCH_PATH) is None:
        raise ToolMissingError(f"{command.label}: {command.argv[0]} is not there or cannot be run")
    environment = child_environment(command.environment, os.environ.get("HOME", "/"))
    with contextlib.ExitStack() as stack:
        inherited: tuple[int, ...] = ()
        argv = _with_privileges(command)
        if command.attached is not None:
            attached = stack.enter_context(MemoryFile(command.attached, owner=command.user))
            inherited = (attached.descriptor,)
            name = f"/proc/self/fd/{attached.descriptor}"
            argv = tuple(name if argument == ATTACHED else argument for argument in argv)
        if command.passfile is not None:
            passfile = stack.enter_context(
                MemoryFile(command.passfile.get_secret_value().encode(), owner=command.user)
            )
            inherited = (*inherited, passfile.descriptor)
            environment["PGPASSFILE"] = f"/proc/self/fd/{passfile.descriptor}"
        try:
            return subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                cwd="/",
                start_new_session=True,
                pass_fds=inherited,
            )
        except OSError as error:
            raise ToolMissingError(
                f"{command.label}: cannot start {command.argv[0]}: {error.strerror}"
            ) from error


def _with_privileges(command: Command) -> tuple[str, ...]:
    user = command.user
    argv = (*_buffering(), *command.argv) if command.has_large_buffer else command.argv
    if user is None:
        change: tuple[str, ...] = ()
    else:
        ids = (f"--reuid={user.uid}", f"--regid={user.gid}")
        change = (*ids, "--clear-groups", "--no-new-privs")
    setpriv = _setpriv()
    if setpriv is None:
        if user is not None:
            raise ToolMissingError("setpriv is not installed", hint="apt install util-linux")
        return argv
    signal_name = command.death_signal.name.removeprefix("SIG")
    return (setpriv, f"--pdeathsig={signal_name}", *change, "--", *argv)


@cache
def _buffering() -> tuple[str, ...]:
    """Return what to start a program with so that its stdio has a large buffer; without, it works.

    A gigabyte in pieces of 4 KiB costs the tool and us a second of system calls and wake-ups.
    """
    stdbuf = shutil.which("stdbuf", path=SEARCH_PATH)
    size = PIPE_BYTES // 4
    return () if stdbuf is None else (stdbuf, f"--input={size}", f"--output={size}")


@cache
def _setpriv() -> str | None:
    return shutil.which("setpriv", path=SEARCH_PATH)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Yield both ends of a large pipe; the first is closed after the block."""
    read_end, write_end = os.pipe()
    _enlarge(write_end)
    try:
        yield read_end, write_end
    finally:
        os.close(read_end)


def _enlarge(pipe: int) -> None:
    # A user's pipes together have a limit; the default size works too, with more switches.
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _nothing() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _seekable(content: Buffer | MemoryFile, user: RunAs | None) -> int:
    if isinstance(content, MemoryFile):
        return content.reopened()
    with MemoryFile(content, owner=user) as file:
        return file.reopened()


def _new_spawner() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="spawn")


def _renew_spawner() -> None:
    global _spawner  # noqa: PLW0603  (a forked copy of us has no threads)
    _spawner = _new_spawner()


# The kernel's parent of a child is the *thread* that started it: with --pdeathsig, children of a
# pool's worker would die with that worker. This thread lives as long as we do.
_spawner = _new_spawner()
os.register_at_fork(after_in_child=_renew_spawner)
