"""`strongroom backup`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import (
    any_path,
    json_option,
    load_settings,
    settings_options,
    slot_option,
)

if TYPE_CHECKING:
    from backup.evidence.slot import Slot
    from backup.journeys.create import Created
    from backup.repository.access import Repository
    from backup.settings import Settings


@click.command(
    name="backup",
    short_help="Back up one database.",
    epilog="Example: DATABASE_URL=postgresql://backup@db1/app strongroom backup --jobs 2",
)
@settings_options
@click.option(
    "--dsn",
    metavar="URL",
    help="Database to back up. A password belongs into DATABASE_URL or a password file instead.",
)
@click.option(
    "--name",
    help="File the backup under this name; with [databases] in the settings, which of them."
    "  [default: the database's]",
)
@click.option("-j", "--jobs", type=int, help="Dumps to run at once.  [default: cores, at most 4]")
@click.option("--compression-level", type=int, help="zstd level, 1 to 19.  [default: 1]")
@click.option(
    "--digests/--no-digests",
    default=None,
    help="Take content digests, or not, to prove restores by.  [default: once a week]",
)
@click.option("--tool-directories", multiple=True, type=any_path, help="Where pg_dump is.")
@click.option("--dry-run", is_flag=True, help="Show what would be dumped, and stop.")
@slot_option
@json_option
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    dsn: str | None,
    name: str | None,
    jobs: int | None,
    compression_level: int | None,
    digests: bool | None,
    tool_directories: tuple[Path, ...],
    dry_run: bool,
    slot: Slot | None,
    as_json: bool,
) -> None:
    """Back up one database: encrypted, deduplicated, all tables at one moment.

    The database comes from --dsn, STRONGROOM_DSN, the settings, DATABASE_URL or POSTGRES_*.
    Nothing is written to this machine's disk but what goes into the repository.
    """
    import os
    from datetime import UTC, datetime

    from backup import app, lockrules
    from backup.cli import interruptible
    from backup.cli.output import duration, print_json, print_table, size, watch
    from backup.journeys.create import create, plan
    from backup.version import VERSION

    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        dsn=dsn,
        name=name,
        jobs=jobs,
        compression_level=compression_level,
        digests=None if digests is None else "always" if digests else "never",
        tool_directories=tool_directories or None,
    )
    settings = settings.selected(settings.name)
    source = app.backup_source(settings)
    if source.dsn.password is not None and dsn is not None:
        click.echo("warning: a password in --dsn can be seen by `ps`; use DATABASE_URL", err=True)
    if dry_run:
        parts = interruptible.run(plan(source))
        if as_json:
            print_json({"parts": parts})
        else:
            print_table(("PART", "SIZE ON SERVER"), ((p.name, size(p.size_bytes)) for p in parts))
        return
    opened = app.open_repository(settings)
    with watch(is_quiet=as_json) as progress:
        made = interruptible.run(
            create(
                source,
                opened,
                app.load_writing_keys(settings, opened),
                app.load_allowed_signers(settings, opened),
                state_directory=settings.state_directory,
                clock=lambda: datetime.now(UTC),
                random=os.urandom,
                version=VERSION,
                progress=progress,
                slot=slot,
                lock_rule=lockrules.lock_rule(settings, source.name),
            )
        )
    manifest = made.manifest
    if as_json:
        print_json(
            {
                "backup_id": manifest.backup_id,
                "database": manifest.database,
                "snapshot_time": manifest.snapshot_time,
                "plain_bytes": manifest.plain_bytes,
                "stored_bytes": manifest.stored_bytes,
                "new_bytes": manifest.new_bytes,
                "has_digests": manifest.has_digests,
                "duration": made.duration,
                "manifest_sha256": made.manifest_sha256,
                "warnings": manifest.warnings,
                "tables": made.tables,
            }
        )
    else:
        for warning in manifest.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(
            f"Backup {manifest.backup_id} of {manifest.database}:"
            f" {size(manifest.plain_bytes)} dumped,"
            f" {size(manifest.new_bytes)} new in the repository, {duration(made.duration)}"
        )
    if slot is not None and settings.schedules.restore_test_first and settings.identity:
        _prove(settings, opened, made)


def _prove(settings: Settings, opened: Repository, made: Created) -> None:
    """Restore-test the first backup of a database that has a table. It exists in any case."""
    import os
    from datetime import UTC, datetime

    from backup import app
    from backup.cli import interruptible, tell
    from backup.cli.output import watch
    from backup.errors import StrongroomError
    from backup.journeys.firsttest import first_test

    try:
        with watch(is_quiet=True) as progress:
            tested = interruptible.run(
                first_test(
                    app.examiner(settings, opened),
                    made,
                    clock=lambda: datetime.now(UTC),
                    random=os.urandom,
                    progress=progress,
                )
            )
    except StrongroomError as error:
        tell(error)
        return
    if tested is not None:
        click.echo(f"First restore test: {tested.report.verdict.sentence}", err=True)
