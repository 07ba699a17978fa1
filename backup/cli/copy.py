"""`strongroom copy`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import (
    database_option,
    json_option,
    load_settings,
    settings_options,
    slot_option,
)
from backup.errors import BlockedError, IntegrityError, StrongroomError

if TYPE_CHECKING:
    from backup.evidence.slot import Slot
    from backup.journeys.copy import Copied
    from backup.repository.access import Repository
    from backup.settings import Settings


@click.command(
    name="copy",
    short_help="Copy backups to a second place.",
    epilog="Example: strongroom copy --to offsite",
)
@settings_options
@database_option
@click.option("--to", "name", metavar="NAME", help="Only this copy of the settings.")
@click.option("-j", "--jobs", type=int, help="Objects to copy at once.")
@click.option(
    "--prune", "is_pruned", is_flag=True, help="Then prune copies with a retention of their own."
)
@click.option("--dry-run", is_flag=True, help="Say which backups would be copied, and stop.")
@slot_option
@json_option
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    name: str | None,
    jobs: int | None,
    is_pruned: bool,
    dry_run: bool,
    slot: Slot | None,
    as_json: bool,
) -> None:
    """Copy the backups that are missing to every copy of the settings, or to one.

    Each object is held against its signed list before it is copied, and only what is missing is.
    What the copy's own [copies.retention] would let go is not copied; with --prune what it lets go
    is deleted there, as by `strongroom prune --copy NAME --apply`.

    The exit code is 3 if a backup is damaged or unsigned and was left out. One copy that fails
    keeps no other from being made.
    """
    from backup import app, cli
    from backup.cli.output import print_json
    from backup.journeys.copy import Run, plan, tell

    settings = load_settings(
        config, repository=repository, state_directory=state_directory, jobs=jobs
    )
    source = app.open_repository(settings)
    log = app.open_log(settings, source) if slot is None else None
    if slot is not None:
        log = app.require_log(settings, source, "copying by schedule")
    run = Run()
    results: list[dict[str, object]] = []
    for one in app.copies(settings, name):
        if dry_run:
            target, rules = app.open_copy(settings, one), app.copy_rules(settings, one)
            missing = plan(source, target, database, rules, now=datetime.now(UTC))
            results.append({"copy": one.name, "missing": [key.id.text for key in missing]})
            if not as_json:
                click.echo(f"{one.name}: would copy {len(missing)} backups to {target.address}")
            continue
        try:
            made = _copy(settings, source, one.name, database, as_json=as_json)
            run.made[one.name] = made
            told = _for_programs(one.name, made)
            results.append(told)
            if not as_json:
                _print(one.name, made)
            if is_pruned and one.retention is not None:
                told["pruned"] = _prune(settings, one.name, as_json=as_json)
        except StrongroomError as error:
            run.errors[one.name] = error
    if log is not None:
        tell(log, run, slot, now=datetime.now(UTC))
    if as_json:
        print_json(results)
    failures: list[StrongroomError] = [
        type(error)(f"copy {place}: {error.message}", hint=error.hint)
        for place, error in run.errors.items()
    ]
    if run.problems:
        failures.append(
            IntegrityError(
                f"not copied: {'; '.join(run.problems)}",
                hint="`strongroom verify --all` tells more",
            )
        )
    for failure in failures[1:]:
        cli.tell(failure)
    if failures:
        raise failures[0]


def _copy(
    settings: Settings, source: Repository, name: str, database: str | None, *, as_json: bool
) -> Copied:
    from backup import app
    from backup.cli.output import watch
    from backup.holders import Holders
    from backup.journeys.copy import copy

    (given,) = app.copies(settings, name)
    with watch(is_quiet=as_json) as progress:
        return copy(
            source,
            app.open_copy(settings, given),
            app.load_allowed_signers(settings, source),
            database=database,
            jobs=settings.jobs,
            clock=lambda: datetime.now(UTC),
            progress=progress,
            rules=app.copy_rules(settings, given),
            holders=Holders(settings.state_directory),
        )


def _prune(settings: Settings, name: str, *, as_json: bool) -> dict[str, object]:
    """Prune a copy; raise `BlockedError` if its brakes block that."""
    import os

    from backup import app
    from backup.cli.output import watch
    from backup.journeys.prune import prune
    from backup.repository.retention import BlockedPlan

    opened = app.open_repository(settings, name)
    with watch(is_quiet=as_json) as progress:
        done = prune(
            app.prune_sight(settings, opened, datetime.now(UTC), name),
            app.prune_rules(settings, copy=name),
            app.require_log(settings, opened, "pruning"),
            clock=lambda: datetime.now(UTC),
            random=os.urandom,
            progress=progress,
        )
    if isinstance(done, BlockedPlan):
        raise BlockedError(
            f"nothing was deleted, for {len(done.reasons)} reasons: {'; '.join(done.reasons[:3])}",
            hint=f"`strongroom prune --copy {name}`; docs/runbooks/pruning.md",
        )
    if not as_json:
        click.echo(
            f"{name}: deleted {len(done.deleted)} backups, {done.swept} objects that were left"
            f" over; {len(done.spared)} backups stay for now"
        )
    return {
        "deleted": [key.id.text for key in done.deleted],
        "spared": {key.id.text: reason for key, reason in done.spared.items()},
        "swept": done.swept,
        "locked": done.locked,
    }


def _for_programs(name: str, made: Copied) -> dict[str, object]:
    return {
        "copy": name,
        "address": made.address,
        "copied": [key.id.text for key in made.copied],
        "present": len(made.present),
        "failed": {bad.key.id.text: bad.error.message for bad in made.failed},
        "objects": made.objects,
        "object_bytes": made.object_bytes,
        "log_objects": made.log_objects,
    }


def _print(name: str, made: Copied) -> None:
    from backup.cli.output import size

    click.echo(
        f"{name}: copied {len(made.copied)} backups to {made.address}"
        f" ({made.objects} objects, {size(made.object_bytes)}); {len(made.present)} were there"
    )
