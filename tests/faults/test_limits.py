"""Memory stays flat, and nothing is staged: what is written lies in the repository or the state."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from backup.postgres.dsn import Dsn
from tests.faults.vault import Vault
from tests.lab.effort import Numbers
from tests.lab.servers import LabServer

LIMIT_KIB = 256 * 1024
# What may be opened for writing besides the repository and the state directory.
HARMLESS = ("/dev/", "/proc/", "/memfd:", "pipe:", "socket:")
DEFAULTS = {"batch_bytes": 32 * 2**20, "table_threshold": 64 * 2**20}


def build(server: LabServer, dsn: Dsn, megabytes: int) -> None:
    """Fill a database with about this much data, in a large table and smaller ones."""
    for table, share in (("big", 0.6), ("middle", 0.3), ("small", 0.1)):
        rows = int(megabytes * share * 1000)
        server.sql(
            f"CREATE TABLE {table} AS SELECT n AS id, (SELECT string_agg(sha512("
            "(n * 100 + k)::text::bytea), ''::bytea) FROM generate_series(1, 8) k) AS content"
            f" FROM generate_series(1, {rows}) n",
            database=dsn.database,
        )


def peak_kib(vault: Vault) -> int:
    """The most memory that our process had during a backup."""
    report = vault.directory / "report"
    done = vault.backup(fault={**DEFAULTS, "report": str(report)}, limit=600)
    assert done.code == 0, done.stderr
    return int(json.loads(report.read_text(encoding="ascii"))["peak_kib"])


def test_memory_is_flat(tmp_path: Path, any_server: LabServer, numbers: Numbers) -> None:
    """Our process needs no more than 256 MiB, and for five times the data hardly more."""
    peaks = {}
    for megabytes in (numbers.of(20, 200), numbers.of(60, 1000)):
        with any_server.fresh_database() as dsn:
            build(any_server, dsn, megabytes)
            vault = Vault.make(tmp_path / str(megabytes), any_server, dsn)
            peaks[megabytes] = peak_kib(vault)
            shutil.rmtree(vault.root)
    print(f"peak in KiB by MB: {peaks}")  # noqa: T201
    small, large = peaks.values()
    assert large <= LIMIT_KIB
    assert large <= small * 1.6


def test_nothing_is_staged(vault: Vault) -> None:
    """No process of a backup opens anything for writing outside repository and state directory."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = vault.directory / "trace"
    prefix = ("strace", "-f", "-qq", "-y", "-e", "trace=open,openat,creat", "-o", str(trace))
    done = vault.backup(prefix=prefix)
    assert done.code == 0, done.stderr
    opened = re.findall(
        r'(?:open|openat|creat)\((?:AT_FDCWD<([^>]*)>, )?"([^"]*)", ([A-Z_|0-9]+)',
        trace.read_text(encoding="utf-8", errors="replace"),
    )
    assert len(opened) > 100
    written = {
        str(Path(directory) / name)
        for directory, name, flags in opened
        if {"O_WRONLY", "O_RDWR", "O_CREAT"} & set(flags.split("|"))
    }
    ours = (str(vault.root), str(vault.state))
    assert any(path.startswith(ours) for path in written)
    strays = {
        path
        for path in written
        if not path.startswith((*ours, *HARMLESS)) and "__pycache__" not in path
    }
    assert strays == set()
