"""`python -m benchmarks`: build a sample, run the contenders, print the tables."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click

from backup.errors import StrongroomError
from backup.postgres.scratch import scratch_cluster
from backup.postgres.tools import find_tools
from benchmarks.contenders import BACKUPS
from benchmarks.measure import BenchmarkError
from benchmarks.report import as_json, as_text, machine
from benchmarks.rounds import DURABLE, Bench, Options, Round, tell

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_NAMES = tuple(contender.name for contender in BACKUPS)


class _Size(click.ParamType[int]):
    """Bytes as people write them: 200MB, 1GB, 4.4GB."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return bytes."""
        match = re.fullmatch(r"([0-9.]+) ?([KMGT]?B?)", str(value).upper())
        if match is None or match[2] not in _UNITS:
            self.fail(f"{value}: not a size such as 200MB or 1GB", param, ctx)
        return round(float(match[1]) * _UNITS[match[2]])


@click.command(epilog="Example: python -m benchmarks --size 1GB --only floor-one --only restic")
@click.option("--size", "size_bytes", type=_Size(), default="1GB", show_default=True)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Pairs a round.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--server", type=int, default=15, show_default=True, help="PostgreSQL's major.")
@click.option("--only", multiple=True, type=click.Choice(_NAMES), help="These peers; repeat it.")
@click.option(
    "--work",
    "works",
    multiple=True,
    type=click.Choice(["backup", "second", "restore"]),
    default=("backup", "second", "restore"),
    help="Only this part; repeat it.",
)
@click.option(
    "--scattered",
    is_flag=True,
    help="The day changes accounts anywhere: the worst case for deduplication.",
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where everything is written; about five times the size is needed.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers here."
)
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
def main(
    *,
    size_bytes: int,
    runs: int,
    jobs: int,
    server: int,
    only: tuple[str, ...],
    works: tuple[str, ...],
    scattered: bool,
    directory: Path | None,
    json_file: Path | None,
    markdown: bool,
) -> None:
    """Measure strongroom and its peers on the same data, in pairs, and print ratios."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: tidily
    home = Path(tempfile.mkdtemp(prefix="strongroom-bench-", dir=directory))
    home.chmod(0o711)  # the server runs as another user when we are root
    rounds: list[Round] = []
    failures: list[str] = []
    facts = machine() | {
        "command": f"python -m benchmarks {' '.join(sys.argv[1:])}",
        "size": f"{size_bytes / 1e6:.0f} MB",
    }
    try:
        tools = find_tools(server, with_server=True)
        facts["server"] = f"PostgreSQL {tools.version}"
        options = Options(
            size_bytes=size_bytes,
            runs=runs,
            jobs=jobs,
            only=only,
            works=works,
            is_scattered=scattered,
            directory=home,
        )
        with scratch_cluster(
            tools, settings=DURABLE, has_checksums=True, directory=home
        ) as cluster:
            bench = Bench(options, tools, cluster)
            failures = bench.failures
            rounds.extend(bench.all_rounds())
    except (BenchmarkError, StrongroomError) as error:
        failures.append(str(error))
        tell(f"stopped: {error}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    click.echo("\n".join(f"{name}: {value}" for name, value in facts.items()) + "\n")
    click.echo(as_text(rounds, is_markdown=markdown))
    if json_file is not None:
        json_file.write_text(as_json(rounds, facts) + "\n", encoding="utf-8")
    if failures:
        sys.exit(1)


main()
