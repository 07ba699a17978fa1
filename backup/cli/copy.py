"""`strongroom copy`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from backup.cli.options import database_option, json_option, load_settings, settings_options


@click.command(
    name="copy",
    short_help="Copy backups to a second place.",
    epilog="Example: strongroom copy --to offsite",
)
@settings_options
@database_option
@click.option("--to", "name", metavar="NAME", help="Only this copy of the settings.")
@click.option("-j", "--jobs", type=int, help="Objects to copy at once.")
@click.option("--dry-run", is_flag=True, help="Say which backups would be copied, and stop.")
@json_option
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    name: str | None,
    jobs: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Copy the backups that are missing to every copy of the settings, or to one.

    Each object is held against its signed list before it is copied, and only what is missing is.
    The exit code is 3 if a backup is damaged or unsigned and was left out.
    """
    from backup import app
    from backup.cli.output import print_json, size, watch
    from backup.errors import IntegrityError
    from backup.journeys.copy import copy, plan

    settings = load_settings(
        config, repository=repository, state_directory=state_directory, jobs=jobs
    )
    source = app.open_repository(settings)
    results: list[dict[str, object]] = []
    problems: list[str] = []
    for one in app.copies(settings, name):
        target, rules = app.open_copy(settings, one), app.copy_rules(settings, one)
        if dry_run:
            rules = app.copy_rules(settings, one)
            missing = plan(source, target, database, rules, now=datetime.now(UTC))
            results.append({"copy": one.name, "missing": [key.id.text for key in missing]})
            if not as_json:
                click.echo(f"{one.name}: would copy {len(missing)} backups to {target.address}")
            continue
        with watch(is_quiet=as_json) as progress:
            made = copy(
                source,
                target,
                app.load_allowed_signers(settings, source),
                database=database,
                jobs=settings.jobs,
                clock=lambda: datetime.now(UTC),
                progress=progress,
                rules=rules,
            )
        problems += [f"{bad.key.id}: {bad.error.message}" for bad in made.failed]
        results.append(
            {
                "copy": one.name,
                "address": made.address,
                "copied": [key.id.text for key in made.copied],
                "present": len(made.present),
                "failed": {bad.key.id.text: bad.error.message for bad in made.failed},
                "objects": made.objects,
                "object_bytes": made.object_bytes,
                "log_objects": made.log_objects,
            }
        )
        if not as_json:
            click.echo(
                f"{one.name}: copied {len(made.copied)} backups to {made.address}"
                f" ({made.objects} objects, {size(made.object_bytes)});"
                f" {len(made.present)} were there"
            )
    if as_json:
        print_json(results)
    if problems:
        raise IntegrityError(
            f"not copied: {'; '.join(problems)}", hint="`strongroom verify --all` tells more"
        )
