"""Canaries: a password, an identity and a client's name are where they belong and nowhere else."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.crypto.bech32 import decode
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import scratch_cluster, unprivileged_user
from tests.faults.test_server import SLOW
from tests.faults.vault import DATABASE, Done, Vault, finish, wrapped_tools
from tests.lab.servers import SETTINGS, LabServer

PASSWORD = "canary-Zq8vW3xK5pR7"
CONTENT = "canary-content-7f3a91d5c2"


@pytest.fixture
def secured(tmp_path: Path, any_server: LabServer) -> Iterator[Vault]:
    """A vault whose server takes passwords only, over TCP, with a canary in a table."""
    # An address of loopback that nobody else has: its ports are free, and stay so.
    address = f"127.{'.'.join(str(1 + secrets.randbelow(250)) for _ in range(3))}"
    settings = {**SETTINGS, "listen_addresses": address}
    with scratch_cluster(any_server.tools, settings=settings) as cluster:
        server = LabServer(
            dsn=cluster.dsn,
            tools=any_server.tools,
            major=any_server.major,
            pid=cluster.server.pid,
            user=unprivileged_user(),
        )
        server.sql(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'; CREATE DATABASE secured")
        server.sql(DATABASE, database="secured")
        server.sql(
            f"INSERT INTO clients SELECT n, '{CONTENT}', repeat('{CONTENT} ', 20)"
            " FROM generate_series(100001, 100500) n",
            database="secured",
        )
        (cluster.directory / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.0/8 scram-sha-256\n", encoding="ascii"
        )
        server.sql("SELECT pg_reload_conf()")
        dsn = Dsn.parse(f"postgresql://postgres@{address}/secured", {})
        yield Vault.make(tmp_path, server, dsn)


class Watch:
    """Looks at the command line and environment of every process below ours, over and over."""

    def __init__(self, canaries: list[bytes], ours: int) -> None:
        self.found: set[str] = set()
        self.children: set[str] = set()
        self._canaries = canaries
        self._ours = ours
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            for pid in descendants(self._ours):
                with contextlib.suppress(OSError):
                    self._look_at(Path(f"/proc/{pid}"))

    def _look_at(self, process: Path) -> None:
        # First: a child that has not begun its own program yet is a copy of us, and our own
        # environment is where the operator put the password.
        line = (process / "cmdline").read_bytes()
        is_ours = not line or b"tests.faults.driver" in line
        seen = line if is_ours else line + (process / "environ").read_bytes()
        self.children.add(line.split(b"\0")[0].decode(errors="replace"))
        if any(canary in seen for canary in self._canaries):
            self.found.add(repr(seen))


def descendants(pid: int) -> list[int]:
    """The process and everything that it started."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def files_with(directory: Path, canaries: list[bytes]) -> list[str]:
    """The files below a directory that hold a canary."""
    found = []
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and any(canary in path.read_bytes() for canary in canaries):
                found.append(str(path))
    return found


def test_canaries_stay_where_they_belong(secured: Vault, tmp_path: Path) -> None:
    """No secret in argv, a child's environment, output or the repository; no plaintext on disk."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    _, raw = decode(secured.identity.text.lower())
    canaries = [PASSWORD.encode(), secured.identity.text.encode(), bytes(raw)]
    place = f"{secured.dsn.host}:{secured.dsn.port}"
    url = f"postgresql://postgres:{PASSWORD}@{place}"
    environment = {"DATABASE_URL": f"{url}/secured", "TMPDIR": str(temporary)}
    passfile = tmp_path / "home.pgpass"
    passfile.write_text(f"{place}:*:postgres:{PASSWORD}\n", encoding="ascii")
    passfile.chmod(0o600)
    identity = ("--identity", secured.identity_file)
    runs: list[tuple[str | Path, ...]] = [
        ("-v", "backup"),
        ("-v", "doctor"),
        ("-v", "verify", "--all", *identity),
        ("-v", "show", "latest", *identity),
        (
            *("-v", "restore", "latest", *identity, "--to"),
            f"postgresql://postgres@{place}/restored?passfile={passfile}",
        ),
    ]
    children: set[str] = set()
    scripts = {"pg_dump": SLOW, "pg_restore": 'sleep 0.2\nexec "$real" "$@"'}
    with wrapped_tools(tmp_path / "tools", secured.server.tools.bin, **scripts) as tools:
        for arguments in runs:
            takes_tools = {"backup", "restore"} & {str(one) for one in arguments}
            more = ("--tool-directories", tools) if takes_tools else ()
            done, watch = watched(secured, [*arguments, *more], environment, canaries)
            assert done.code == 0, (arguments, done.stderr)
            assert watch.found == set(), arguments
            for secret in (PASSWORD, secured.identity.text):
                assert secret not in done.stdout + done.stderr, arguments
            children |= watch.children
    assert any("pg_dump" in child or "bash" in child for child in children)
    content = [CONTENT.encode(), *canaries]
    assert files_with(secured.root, content) == []
    assert files_with(secured.state, content) == []
    assert files_with(temporary, content) == []
    # A password that is wrong is not shown either.
    wrong = {"DATABASE_URL": f"postgresql://postgres:wrong-{PASSWORD}@{place}/secured"}
    done = secured.run("backup", environment=wrong)
    assert done.code == 5
    assert PASSWORD not in done.stdout + done.stderr


def watched(
    vault: Vault, arguments: list[str | Path], environment: dict[str, str], secrets: list[bytes]
) -> tuple[Done, Watch]:
    """Run the command line under watch."""
    process = vault.start(*arguments, environment=environment)
    with Watch(secrets, process.pid) as watch:
        done = finish(process)
    return done, watch
