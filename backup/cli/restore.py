"""`strongroom restore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import (
    any_path,
    database_option,
    from_option,
    identity_option,
    json_option,
    load_settings,
    settings_options,
    signers_option,
)

if TYPE_CHECKING:
    from backup.journeys.archives import OpenBackup
    from backup.journeys.restoreplan import Destination, RestorePlan
    from backup.settings import Settings


@click.command(
    name="restore",
    short_help="Restore into a new database, or export archives.",
    epilog="Example: strongroom restore latest --identity identity.txt"
    " --to postgresql://postgres@db1/app_restored",
)
@click.argument("backup")
@settings_options
@database_option
@from_option
@signers_option
@identity_option
@click.option("--to", metavar="URL", help="New database to restore into; it must not exist.")
@click.option("--export", "directory", type=any_path, help="Write stock archives here instead.")
@click.option("--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="Only this table.")
@click.option("-j", "--jobs", type=int, help="Sessions to use.  [default: cores, at most 4]")
@click.option("--tool-directories", multiple=True, type=any_path, help="Where pg_restore is.")
@click.option(
    "--accept-unpinned", is_flag=True, help="Restore though nothing vouches for the signer."
)
@click.option("--dry-run", is_flag=True, help="Show the steps, and stop.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@json_option
def command(
    *,
    backup: str,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    from_copy: str | None,
    allowed_signers: Path | None,
    identity: Path | None,
    to: str | None,
    directory: Path | None,
    tables: tuple[str, ...],
    jobs: int | None,
    tool_directories: tuple[Path, ...],
    accept_unpinned: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Restore a backup (an id or `latest`) into a new database, or --export its archives.

    Roles that are missing are created; roles and databases that exist are never changed. When it
    says that it is done, the rows of every table were counted and are those of the dump.
    """
    from contextlib import nullcontext
    from datetime import UTC, datetime

    from backup import app
    from backup.errors import UnpinnedError
    from backup.holders import Holders

    if (to is None) == (directory is None):
        raise click.UsageError("say where to: --to URL, or --export DIR")
    if directory is not None and tables:
        raise click.UsageError("--table goes with --to; an export is always whole")
    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        allowed_signers=allowed_signers,
        identity=identity,
        jobs=jobs,
        tool_directories=tool_directories or None,
    )
    opened = app.open_backup(settings, backup, database, from_copy)
    if opened.problem is not None:
        click.echo(f"warning: {opened.problem}; `strongroom verify` tells more", err=True)
    if opened.signer.principal is None:
        if not accept_unpinned:
            raise UnpinnedError(
                f"UNPINNED: nothing here says that {opened.signer.public_key.fingerprint}"
                f" may sign backup {opened.manifest.backup_id}",
                hint="add --allowed-signers FILE (the line that `strongroom init` printed), or"
                " --accept-unpinned if you know by other means whose backup this is",
            )
        click.echo("warning: UNPINNED: nothing here vouches for who wrote this backup", err=True)
    holders = Holders(settings.state_directory)
    with nullcontext() if dry_run else opened.kept("restore", lambda: datetime.now(UTC), holders):
        if directory is not None:
            _export(opened, directory, settings, is_dry_run=dry_run, as_json=as_json)
        elif to is not None:
            destination = app.destination(settings, to, tables)
            _restore(opened, destination, is_dry_run=dry_run, asks=not yes, as_json=as_json)


def _export(
    backup: OpenBackup, directory: Path, settings: Settings, *, is_dry_run: bool, as_json: bool
) -> None:

    from backup.cli import interruptible
    from backup.cli.output import print_json, size, watch
    from backup.journeys.export import export, file_name

    if is_dry_run:
        planned = {file_name(part): part.plain_bytes for part in backup.manifest.parts}
        if as_json:
            print_json({"directory": directory, "files": planned})
            return
        for name, plain_bytes in planned.items():
            click.echo(f"{directory / name}  {size(plain_bytes)}")
        return
    with watch(is_quiet=as_json) as progress:
        made = interruptible.run(export(backup, directory, jobs=settings.jobs, progress=progress))
    if as_json:
        print_json({"directory": made.directory, "files": made.files})
    else:
        click.echo(f"Exported to {made.directory}: {', '.join(made.files)}")
        click.echo(made.instructions)


def _restore(
    backup: OpenBackup, destination: Destination, *, is_dry_run: bool, asks: bool, as_json: bool
) -> None:
    from datetime import UTC, datetime

    from backup.cli import interruptible
    from backup.cli.output import duration, print_json, watch
    from backup.journeys.restore import restore
    from backup.journeys.restoreplan import plan

    planned = interruptible.run(plan(backup, destination))
    if is_dry_run and as_json:
        print_json({"steps": planned.steps, "relations": len(planned.relations)})
        return
    if not as_json:
        _print_plan(backup, destination, planned)
    if is_dry_run:
        return
    if asks and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        click.confirm("Go on?", default=True, abort=True)
    with watch(is_quiet=as_json) as progress:
        done = interruptible.run(
            restore(
                backup, planned, destination, clock=lambda: datetime.now(UTC), progress=progress
            )
        )
    if as_json:
        print_json(done)
        return
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(
        f"Restored {done.backup_id} into {done.destination} in {duration(done.duration)}:"
        f" {done.tables} tables, {done.rows} rows, every count as in the dump"
    )
    click.echo(f"Next: vacuumdb --analyze-only {done.destination}")
    if done.destination != done.database and planned.is_whole:
        old, new = (_quoted(name) for name in (done.database, done.destination))
        click.echo("To put it in the old one's place, with nobody connected to either:")
        click.echo(f"  ALTER DATABASE {old} RENAME TO {_quoted(done.database + '_old')};")
        click.echo(f"  ALTER DATABASE {new} RENAME TO {old};")


def _print_plan(backup: OpenBackup, destination: Destination, planned: RestorePlan) -> None:
    from datetime import UTC, datetime

    from backup.cli.output import duration, local, size

    manifest = backup.manifest
    age = duration(datetime.now(UTC) - manifest.snapshot_time)
    click.echo(
        f"Backup {manifest.backup_id} of {manifest.database_name},"
        f" as it was at {local(manifest.snapshot_time)} ({age} ago)"
    )
    total = sum(part.plain_bytes for part in planned.parts)
    click.echo(f"{size(total)} to load into {destination.dsn} with {planned.tools.bin}")
    for number, step in enumerate(planned.steps, 1):
        click.echo(f"  {number}. {step}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
