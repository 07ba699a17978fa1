"""Processes end, are reaped, tell why they failed, and never see what they need not."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from backup.errors import PostgresError, StalledError, ToolMissingError
from backup.postgres.command import ATTACHED, STANDARD_INPUT, Command, RunAs
from backup.postgres.dsn import Dsn
from backup.postgres.process import MemoryFile, reading, run, serving, writing
from backup.postgres.scratch import unprivileged_user
from tests.lab.processes import SOON, is_gone, python
from tests.lab.servers import LabServer

CANARY = r"canary:5eCr3t\n"
BRIEF = timedelta(milliseconds=300)
AT_ONCE = timedelta(milliseconds=100)
FOREVER = "import time; time.sleep(600)"
FAILS_LATE = "import sys; print('all output'); sys.stdout.flush(); sys.exit('too bad')"
FLOODS = """
import sys
for n in range(200_000):
    print("a line of complaint that nobody reads", n, file=sys.stderr)
sys.stdout.write("x" * 3_000_000)
"""


def read_all(readinto: Callable[[memoryview], int]) -> bytes:
    """Everything up to the end."""
    buffer = memoryview(bytearray(100_000))
    output = bytearray()
    while count := readinto(buffer):
        output += buffer[:count]
    return bytes(output)


def test_run_returns_output_and_stderr() -> None:
    """Both streams of a command that succeeds come back."""
    finished = run(python("import sys; print('out'); print('err', file=sys.stderr)"), timeout=SOON)
    assert (finished.stdout, finished.stderr_tail) == (b"out\n", "err\n")


def test_failure_after_full_output_raises() -> None:
    """An exit code other than 0 raises with code and last words, though all output arrived."""
    with pytest.raises(PostgresError, match=r"^script: exit code 1: too bad$"):
        run(python(FAILS_LATE), timeout=SOON)
    buffer = memoryview(bytearray(100))
    with (
        pytest.raises(PostgresError, match=r"^script: exit code 1: too bad$"),
        reading(python(FAILS_LATE), stall=SOON) as reader,
    ):
        assert bytes(buffer[: reader.readinto(buffer)]) == b"all output\n"
        reader.readinto(buffer)


def test_death_by_signal_raises() -> None:
    """A process killed from outside is a failure that names the signal."""
    with (
        pytest.raises(PostgresError, match="ended by SIGKILL"),
        reading(python(FOREVER), stall=SOON) as reader,
    ):
        os.kill(reader.pid, signal.SIGKILL)
        reader.readinto(memoryview(bytearray(1)))


def test_stderr_flood_does_not_block() -> None:
    """Megabytes on stderr neither block the output nor are kept: the tail is the end of them."""
    finished = run(python(FLOODS), timeout=SOON)
    assert len(finished.stdout) == 3_000_000
    assert finished.stderr_tail.endswith("199999\n")
    assert len(finished.stderr_tail) == 16 * 1024


def test_reading_streams() -> None:
    """Output larger than the pipe arrives whole and in order."""
    script = "import sys\nfor n in range(1000): sys.stdout.write(f'{n:9}\\n' * 1000)"
    with reading(python(script), stall=SOON) as reader:
        output = read_all(reader.readinto)
        pid = reader.pid
    assert output == b"".join(b"%9d\n" % n * 1000 for n in range(1000))
    assert is_gone(pid)


def test_output_left_unread_raises() -> None:
    """Leaving the block before the end of the output is a failure, even when the exit code is 0."""
    with (
        pytest.raises(PostgresError, match="not read to the end"),
        reading(python("print('one')"), stall=SOON),
    ):
        pass


def test_stall_of_the_process() -> None:
    """A process that gives nothing for too long is ended."""
    with (
        pytest.raises(StalledError, match="it moved no byte"),
        reading(python(FOREVER), stall=timedelta(seconds=1)) as reader,
    ):
        reader.readinto(memoryview(bytearray(1)))
    assert is_gone(reader.pid, AT_ONCE)


def test_stall_of_the_consumer() -> None:
    """A process whose output nobody takes for too long is ended while the consumer still hangs."""
    with (
        pytest.raises(StalledError, match="we asked nothing of it"),
        reading(Command(label="yes", argv=("yes",)), stall=timedelta(seconds=2)) as reader,
    ):
        reader.readinto(memoryview(bytearray(1)))
        assert is_gone(reader.pid)  # this waits, as a store that hangs does
        read_all(reader.readinto)


def test_progress_holds_the_watchdog_off() -> None:
    """A slow process that keeps moving is left alone, however long it takes in all."""
    script = "import time\nfor n in range(9): print(n, flush=True); time.sleep(0.4)"
    with reading(python(script), stall=timedelta(seconds=3)) as reader:
        assert read_all(reader.readinto).split() == [b"%d" % n for n in range(9)]


def test_timeout_kills_what_ignores_term() -> None:
    """A process that ignores SIGTERM is killed after its grace period."""
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    stubborn = dataclasses.replace(python(script), grace=BRIEF)
    with pytest.raises(StalledError, match="not done after"):
        run(stubborn, timeout=timedelta(seconds=1))


class OurFaultError(Exception):
    """Something in our own code."""


def test_exception_ends_the_whole_group() -> None:
    """An exception in the block ends the process and what it started, and passes unchanged."""
    script = (
        "import os, time\nchild = os.fork()\nif child: print(child, flush=True)\ntime.sleep(600)"
    )
    with pytest.raises(OurFaultError), reading(python(script), stall=SOON) as reader:
        buffer = memoryview(bytearray(100))
        grandchild = int(bytes(buffer[: reader.readinto(buffer)]))
        assert not is_gone(grandchild, timedelta())
        raise OurFaultError
    assert is_gone(reader.pid, AT_ONCE)
    assert is_gone(grandchild)


def test_what_outlives_its_leader_is_killed() -> None:
    """Children that a finished process left behind are killed, so nothing waits for them."""
    # The leader prints: it can't be gone before it has.
    script = "import os, time\nchild = os.fork()\nif child: print(child)\nelse: time.sleep(600)"
    grandchild = int(run(python(script), timeout=SOON).stdout)
    assert is_gone(grandchild)


def test_interrupt() -> None:
    """Ctrl-C while waiting passes through, and the process is gone."""
    # A shell starts what runs in the background deaf to it, and Python leaves that so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    script = "import os, signal, time; print(os.getpid()); os.kill(os.getppid(), signal.SIGINT); "
    with pytest.raises(KeyboardInterrupt), serving(python(FOREVER), stop=signal.SIGTERM) as server:
        run(python(script + FOREVER), timeout=SOON)
    assert is_gone(server.pid, AT_ONCE)


def test_end_from_another_thread() -> None:
    """`end` from another thread makes a waiting read raise."""
    with (
        pytest.raises(PostgresError, match="ended before it was done"),
        reading(python(FOREVER), stall=SOON) as reader,
    ):
        threading.Timer(0.1, reader.end).start()
        reader.readinto(memoryview(bytearray(1)))


def test_writing_hands_over_everything(tmp_path: Path) -> None:
    """What is written arrives whole, and what the process prints joins its tail."""
    target = tmp_path / "copy"
    script = (
        "import shutil, sys; print('hello');"
        "shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[1], 'wb'))"
    )
    data = os.urandom(3_000_000)
    with writing(python(script, str(target)), stall=SOON) as writer:
        assert writer.write(data[:1])
        assert writer.write(memoryview(data)[1:])
    assert target.read_bytes() == data
    assert writer.stderr_tail == "hello\n"


def test_writing_to_one_that_fails() -> None:
    """A process that fails while it is written to raises with its last words."""
    with (
        pytest.raises(PostgresError, match="exit code 1: no such table"),
        writing(python("import sys; sys.exit('no such table')"), stall=SOON) as writer,
    ):
        while True:
            writer.write(bytes(100_000))


def test_writing_to_one_that_has_enough() -> None:
    """A process that ends well before it read everything is no failure, and says so."""
    with writing(python("pass"), stall=SOON) as writer:
        while writer.write(bytes(100_000)):
            pass
    with (
        pytest.raises(PostgresError, match="exit code 3"),
        writing(python("import sys; sys.stdin.read(); sys.exit(3)"), stall=SOON) as writer,
    ):
        writer.write(b"all that there is")


@pytest.mark.parametrize("script", [FOREVER, "import sys; sys.stdin.buffer.read(); " + FOREVER])
def test_writing_to_one_that_stalls(script: str) -> None:
    """A process that takes nothing, or never ends after the end of its input, is ended."""
    with (
        pytest.raises(StalledError, match="it moved no byte"),
        writing(python(script), stall=timedelta(seconds=1)) as writer,
    ):
        writer.write(bytes(100 if "stdin" in script else 3_000_000))
    assert is_gone(writer.pid, AT_ONCE)


def test_writer_that_hangs_has_its_process_ended() -> None:
    """A process that nobody writes to for too long is ended."""
    with (
        pytest.raises(StalledError, match="we asked nothing of it"),
        writing(python("import sys; sys.stdin.read()"), stall=BRIEF) as writer,
    ):
        assert is_gone(writer.pid)


def test_interrupted_input_is_never_taken_for_whole(tmp_path: Path) -> None:
    """A process whose writer raised does not see the end of its input."""
    marker = tmp_path / "took it for whole"
    script = "import sys; sys.stdin.buffer.read(); open(sys.argv[1], 'x')"
    with pytest.raises(OurFaultError), writing(python(script, str(marker)), stall=SOON) as writer:
        writer.write(b"half")
        raise OurFaultError
    assert not marker.exists()


def test_environment_is_made_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child finds the allowed variables and its command's own, and nothing of ours."""
    monkeypatch.setenv("PGPASSWORD", CANARY)
    monkeypatch.setenv("STRONGROOM_SECRET", CANARY)
    command = Command(label="env", argv=("/usr/bin/env",), environment={"PGAPPNAME": "x"})
    names = {line.split(b"=")[0] for line in run(command, timeout=SOON).stdout.splitlines()}
    assert names == {b"PATH", b"HOME", b"LANG", b"LC_MESSAGES", b"TZ", b"PGAPPNAME"}


def test_large_buffer_is_asked_of_stdio() -> None:
    """A command with a large buffer is started by `stdbuf`."""
    command = Command(label="env", argv=("/usr/bin/env",), has_large_buffer=True)
    assert b"_STDBUF_O=262144" in run(command, timeout=SOON).stdout.splitlines()


def test_descriptors_session_and_directory() -> None:
    """A child has its three streams only, leads a session of its own and stands in `/`."""
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    script = (
        "import json, os; print(json.dumps([sorted(map(int, os.listdir('/proc/self/fd'))),"
        " os.getsid(0) == os.getpid() == os.getpgid(0), os.getcwd()]))"
    )
    descriptors, leads, directory = json.loads(run(python(script), timeout=SOON).stdout)
    os.close(secret)
    assert (descriptors[:3], len(descriptors)) == ([0, 1, 2], 4)  # the fourth reads the listing
    assert leads
    assert directory == "/"


@pytest.mark.parametrize("content", [b"0123456789", memoryview(b"0123456789")])
def test_standard_input_is_seekable(content: bytes | memoryview) -> None:
    """What `run` gives to standard input can be sought in and opened again by name."""
    script = (
        "import os, sys; sys.stdin.buffer.read(); sys.stdin.seek(4);"
        "print(sys.stdin.read(2), open(sys.argv[1]).read(2))"
    )
    finished = run(python(script, STANDARD_INPUT), stdin=content, timeout=SOON)
    assert finished.stdout == b"45 01\n"


def test_memory_file_serves_several_commands() -> None:
    """A file in memory is written in pieces and read from the start by each command."""
    with MemoryFile(b"one ") as file:
        file.write(b"two")
        for _ in range(2):
            assert run(python("print(input())"), stdin=file, timeout=SOON).stdout == b"one two\n"


@pytest.mark.parametrize("user", [None, unprivileged_user()])
def test_what_is_attached_is_a_file_in_memory(user: RunAs | None) -> None:
    """Beside standard input and a password; an argument that only holds the name is left alone."""
    script = (
        "import os, sys; print(input(), open(sys.argv[1]).read(),"
        " open(os.environ['PGPASSFILE']).read(), os.readlink(sys.argv[1]), sys.argv[2])"
    )
    command = dataclasses.replace(
        python(script, ATTACHED, f"--x={ATTACHED}"),
        attached=b"lines",
        passfile=SecretStr("password"),
        user=user,
    )
    done = run(command, stdin=b"in", timeout=SOON).stdout.decode()
    assert done == f"in lines password /memfd:strongroom (deleted) --x={ATTACHED}\n"


def test_empty_buffer_is_refused() -> None:
    """A read into nothing is an error, never taken for the end."""
    with (
        pytest.raises(ValueError, match="empty buffer"),
        reading(python(FOREVER), stall=SOON) as reader,
    ):
        reader.readinto(memoryview(b""))


def test_missing_program() -> None:
    """A program that is not there is a missing tool, not a failed backup."""
    with pytest.raises(ToolMissingError, match="/nowhere/pg_dump"):
        run(Command(label="dump", argv=("/nowhere/pg_dump",)), timeout=SOON)


def test_child_outlives_the_thread_that_started_it() -> None:
    """A child dies with our process, not with the worker thread that asked for it."""
    started = []

    def work() -> Iterator[None]:
        with serving(python(FOREVER), stop=signal.SIGTERM) as server:
            started.append(server.pid)
            yield

    steps = work()
    thread = threading.Thread(target=lambda: next(steps))
    thread.start()
    thread.join()
    assert not is_gone(started[0], BRIEF)
    next(steps, None)
    assert is_gone(started[0], AT_ONCE)


@pytest.mark.parametrize("user", [None, "other"])
def test_killed_parent_takes_its_children_along(user: str | None) -> None:
    """SIGKILL for us ends our children, also those that run as somebody else."""
    other = unprivileged_user() if user else None
    if user and other is None:
        pytest.skip("changing the user takes root")
    script = (
        "import signal, sys\n"
        f"sys.path[:] = {[str(Path(__file__).parents[3]), *sys.path]!r}\n"
        "from backup.postgres.process import Command, RunAs, serving\n"
        f"command = Command(label='x', argv=('/bin/sleep', '600'), user={other!r})\n"
        "with serving(command, stop=signal.SIGTERM) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    signal.pause()\n"
    )
    with (
        pytest.raises(PostgresError, match="SIGKILL"),
        reading(python(script), stall=SOON) as reader,
    ):
        buffer = memoryview(bytearray(100))
        child = int(bytes(buffer[: reader.readinto(buffer)]))
        # Until it became `sleep`, it had not asked the kernel yet.
        while Path(f"/proc/{child}/comm").read_text() != "sleep\n":
            assert not is_gone(child, timedelta(milliseconds=10))
        os.kill(reader.pid, signal.SIGKILL)
        reader.readinto(buffer)
    assert is_gone(child)


def test_other_user() -> None:
    """A child that runs as somebody else has that user's rights only, and its password file."""
    user = unprivileged_user()
    if user is None:
        pytest.skip("changing the user takes root")
    script = (
        "import json, os; print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(),"
        " open(os.environ['PGPASSFILE']).read(), open('/proc/self/status').read()]))"
    )
    command = Command(
        label="script",
        argv=(os.path.realpath(sys.executable), "-I", "-c", script),
        user=user,
        passfile=SecretStr(CANARY),
    )
    uids, gids, groups, secret, status = json.loads(run(command, timeout=SOON).stdout)
    assert (uids, gids, groups) == ([user.uid] * 3, [user.gid] * 3, [])
    assert secret == CANARY
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert "NoNewPrivs:\t1" in status


def test_password_goes_by_a_file_in_memory(any_server: LabServer) -> None:
    """The tools take the password from the memory file; argv and environment do not have it."""
    role = f"secretive_{os.getpid()}"
    data = Path(any_server.sql("SHOW data_directory"))
    rules = data / "pg_hba.conf"
    before = rules.read_text()
    quoted = CANARY.replace("'", "''")
    any_server.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{quoted}'")
    rules.write_text(f"local all {role} scram-sha-256\n{before}")
    any_server.sql("SELECT pg_reload_conf()")
    dsn = Dsn(host=any_server.dsn.host, user=role, database="postgres", password=SecretStr(CANARY))

    def psql(dsn: Dsn) -> Command:
        statements = ("--command=SELECT current_user", "--command=SELECT pg_sleep(600)")
        return Command(
            label="psql",
            argv=(
                any_server.tools.program("psql"),
                *("-XAt", "--no-password", *statements, f"--dbname={dsn.conninfo()}"),
            ),
            passfile=dsn.passfile_text,
        )

    try:
        with pytest.raises(OurFaultError), reading(psql(dsn), stall=SOON) as reader:
            buffer = memoryview(bytearray(100))
            assert bytes(buffer[: reader.readinto(buffer)]).decode().strip() == role
            process = Path(f"/proc/{reader.pid}")
            for seen in ("cmdline", "environ", "status"):
                assert b"canary" not in (process / seen).read_bytes()
            assert re.search(rb"PGPASSFILE=/proc/self/fd/\d+\0", (process / "environ").read_bytes())
            raise OurFaultError
        wrong = dataclasses.replace(dsn, password=SecretStr("wrong"))
        with pytest.raises(PostgresError, match="password authentication failed"):
            run(psql(wrong), timeout=SOON)
    finally:
        rules.write_text(before)
        any_server.sql(f"SELECT pg_reload_conf(); DROP ROLE {role}")


def test_a_limit_of_months_is_minded() -> None:
    """A timeout beyond what poll can express neither ends the process nor stops minding it."""
    assert run(python("print('out')"), timeout=timedelta(days=60)).stdout == b"out\n"
