"""`strongroom demo`."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.options import any_path


@click.command(
    name="demo",
    short_help="Show the whole story on this machine.",
    epilog="Example: strongroom demo --directory /tmp/strongroom-demo",
)
@click.option(
    "--directory",
    type=any_path,
    default=Path("demo-data"),
    show_default=True,
    help="Where the repository and its keys are left.",
)
@click.option("--scale", type=float, default=0.5, help="Size of the database; 1 is 180 MB.")
def command(*, directory: Path, scale: float) -> None:
    """Show the whole story on this machine, for real.

    The daemon backs up, is down for hours, catches up, prunes and tests a restore, on a clock that
    leaps from one to the next; then stock tools restore, and all is compared. Starts a PostgreSQL
    of its own (pip install strongroom[embedded]) and stops it at the end.
    """
    import os

    from backup.cli import interruptible
    from backup.demo.run import demonstrate

    click.echo("Strongroom's main job, for real:")
    done = interruptible.run(
        demonstrate(
            directory.absolute(),
            scale=scale,
            jobs=min(4, len(os.sched_getaffinity(0))),
            say=click.echo,
        )
    )
    settings = done.directory / "strongroom.toml"
    click.echo("")
    restores = "The restore" if done.stock_tools_missing else "Both restores"
    click.echo(f"{restores} gave the same {done.rows} rows in {done.tables} tables.")
    click.echo(f"Everything lies in {done.directory}:")
    click.echo("  repository/      the backups, encrypted; RESTORE.md says how to do without us")
    click.echo("  identity.txt     the only key that opens them: keep yours somewhere else")
    click.echo("  state/           what a backup host holds: keys that write and cannot read")
    click.echo("  daemon.log       what the daemon said, a JSON object a line")
    click.echo(f"The report of the restore test, for an auditor: {done.report}")
    click.echo("Try next:")
    click.echo(f"  strongroom list --config {settings}")
    click.echo(f"  strongroom verify --all --config {settings}")
    click.echo(
        f"  strongroom restore latest --config {settings}"
        f" --identity {done.directory / 'identity.txt'} --export exported"
    )
    click.echo(f"  strongroom inspect {done.directory / 'repository/chunk-key.age'}")
