"""`python -m benchmarks.bucket`: a backup into a bucket against one into a directory, in pairs.

The S3 server is the real one of the tests (`tests/lab/radosgw.py`), on this machine, with its
objects in memory: it competes with us for the processors, and its own seconds are shown beside
ours. With `--apart` it has a processor of its own, as a store on another machine has, and
PostgreSQL and the backup have the others, for the directory as for the bucket.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from backup.crypto.recipients import X25519Identity
from backup.postgres.dsn import Dsn
from backup.postgres.scratch import scratch_cluster
from backup.postgres.tools import find_tools
from benchmarks.measure import Measurement, measure, pipeline, run_quietly
from benchmarks.report import machine
from benchmarks.rounds import DURABLE, tell
from benchmarks.sample import build, psql
from tests.lab.buckets import S3Server
from tests.lab.radosgw import radosgw

_TICKS = os.sysconf("SC_CLK_TCK")
_GATEWAY = ("notif-worker0", "ceph-osd", "ceph-mon")  # the first is how radosgw calls itself


class _Bench:
    """A database, a server of buckets, and the directories of the runs."""

    def __init__(self, home: Path, dsn: Dsn, postmaster: int, server: S3Server, jobs: int) -> None:
        self._home = home
        self._dsn = dsn
        self._postmaster = postmaster
        self._server = server
        self._jobs = jobs
        self._recipient = X25519Identity.generate().recipient.text
        self._number = 0

    def run(self, *, is_bucket: bool) -> tuple[Measurement, float]:
        """Back up into a new repository; return what it took, and the gateway's own seconds."""
        self._number += 1
        home = self._home / f"run-{self._number}"
        (home / "stage").mkdir(parents=True)
        (home / "target").mkdir()
        with self._repository(home, is_bucket=is_bucket) as (address, more):
            environment = {
                "PATH": os.environ["PATH"],
                "LANG": "C.UTF-8",
                "HOME": str(home),
                "TMPDIR": str(home / "stage"),
                "STRONGROOM_CONFIG": str(home / "strongroom.toml"),
                "STRONGROOM_STATE_DIRECTORY": str(home / "state"),
                **more,
            }
            ours = str(Path(sys.executable).with_name("strongroom"))
            init = (ours, "init", "--repository", address, "--recipient", self._recipient)
            run_quietly((pipeline(init),), environment)
            url = f"postgresql:///{self._dsn.database}?host={self._dsn.host}&user={self._dsn.user}"
            backup = (ours, "backup", "--no-digests", "--dsn", url, "--jobs", str(self._jobs))
            before = _seconds_of(_GATEWAY)
            done = measure(
                (pipeline(backup),),
                environment,
                postmaster=self._postmaster,
                stage=home / "stage",
                target=home / "target",
            )
            return done, _seconds_of(_GATEWAY) - before

    @contextlib.contextmanager
    def _repository(
        self, home: Path, *, is_bucket: bool
    ) -> Iterator[tuple[str, Mapping[str, str]]]:
        if not is_bucket:
            yield str(home / "target" / "repository"), {}
            return
        bucket, server = self._server.new_bucket(), self._server
        s3 = {
            "endpoint": server.endpoint,
            "profile": server.profile,
            "ca_file": str(server.ca_file),
        }
        yield (
            f"s3://{bucket}/bench",
            {
                "STRONGROOM_S3": json.dumps(s3),
                "AWS_ACCESS_KEY_ID": server.keys.access_key_id,
                "AWS_SECRET_ACCESS_KEY": server.keys.secret_access_key,
            },
        )
        for key in (store := server.store(bucket)).list(""):
            store.delete(key)


def _keep_to(cores: list[int]) -> None:
    """Let all threads of this process, and so what they start from now on, use these only."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cores)


def _seconds_of(names: tuple[str, ...]) -> float:
    """Return what processes of these names have used of the processors."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            if text.partition("(")[2].rpartition(")")[0] in names:
                fields = text.rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
    return total / _TICKS


@click.command(epilog="Example: python -m benchmarks.bucket --size 400 --runs 3")
@click.option("--size", "megabytes", type=click.IntRange(20), default=400, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Pairs.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--server", type=int, default=15, show_default=True, help="PostgreSQL's major.")
@click.option("--apart", is_flag=True, help="The S3 server on a processor of its own.")
@click.option("--directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(
    *, megabytes: int, runs: int, jobs: int, server: int, apart: bool, directory: Path | None
) -> None:
    """Measure first backups into a bucket and into a directory; needs root."""
    tools = find_tools(server, with_server=True)
    cores = sorted(os.sched_getaffinity(0))
    if apart:
        _keep_to(cores[-1:])
    with (
        tempfile.TemporaryDirectory(prefix="strongroom-bench-", dir=directory) as name,
        radosgw() as gateway,
    ):
        home = Path(name)
        home.chmod(0o711)
        if apart:
            _keep_to(cores[:-1] or cores)
        with scratch_cluster(
            tools, settings=DURABLE, has_checksums=True, directory=home
        ) as cluster:
            tell(f"building {megabytes} MB")
            psql(cluster.dsn, tools, "CREATE DATABASE bench TEMPLATE template0")
            dsn = cluster.dsn.with_database("bench")
            build(dsn, tools, size_bytes=megabytes * 10**6)
            bench = _Bench(home, dsn, cluster.server.pid, gateway, jobs)
            bench.run(is_bucket=False)  # everything is read once before anything counts
            ratios, ours, all_ = [], [], []
            for number in range(runs):
                found, spent = {}, {}
                for is_bucket in (True, False) if number % 2 else (False, True):
                    done, seconds = bench.run(is_bucket=is_bucket)
                    found[is_bucket] = done
                    spent[is_bucket] = done.client_seconds + done.server_seconds, seconds
                    _tell("bucket" if is_bucket else "directory", done, seconds)
                ratios.append(found[False].wall_seconds / found[True].wall_seconds)
                ours.append(spent[False][0] / spent[True][0])
                all_.append(spent[False][0] / sum(spent[True]))
    _keep_to(cores)
    for what, value in machine().items():
        click.echo(f"{what}: {value}")
    click.echo("the S3 server: " + ("on a processor of its own" if apart else "on the same ones"))
    click.echo(
        f"throughput to the bucket / to the directory: {statistics.median(ratios):.2f}"
        f" ({min(ratios):.2f}-{max(ratios):.2f}, {runs} pairs of {megabytes} MB)"
    )
    click.echo(
        "the same by processor time, which bounds it where both cores are busy:"
        f" {statistics.median(all_):.2f} with the gateway's, {statistics.median(ours):.2f} without"
        " (a store on another machine)"
    )


def _tell(name: str, done: Measurement, gateway_seconds: float) -> None:
    click.echo(
        f"{name:9} {done.wall_seconds:6.1f} s, client CPU {done.client_seconds:5.1f} s, server CPU"
        f" {done.server_seconds:5.1f} s, gateway CPU {gateway_seconds:5.1f} s,"
        f" peak {done.peak_bytes / 2**20:.0f} MiB"
    )


main()
