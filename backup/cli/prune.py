"""`strongroom prune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import (
    json_option,
    load_settings,
    settings_options,
    signers_option,
    slot_option,
)

if TYPE_CHECKING:
    from backup.evidence.slot import Slot
    from backup.journeys.prune import Pruned
    from backup.journeys.prunelook import PrunePlan
    from backup.repository.retention import BlockedPlan, Plan


@click.command(
    name="prune",
    short_help="Delete backups that the policy keeps no more.",
    epilog="Example: strongroom prune, and when you agree: strongroom prune --apply",
)
@settings_options
@signers_option
@click.option("--apply", "is_applied", is_flag=True, help="Delete; without it, only show the plan.")
@click.option("--dry-run", is_flag=True, help="Only show the plan; this is the default.")
@click.option(
    "--max-expire", type=click.IntRange(min=0), help="Allow so many of one database to go at once."
)
@click.option(
    "--copy", metavar="NAME", help="Prune this copy of the settings, by its own [copies.retention]."
)
@slot_option
@json_option
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    allowed_signers: Path | None,
    is_applied: bool,
    dry_run: bool,
    max_expire: int | None,
    copy: str | None,
    slot: Slot | None,
    as_json: bool,
) -> None:
    """Show which backups stay and why, and which go; with --apply, delete those.

    What to keep is [retention] in the settings (docs/settings.md). Whatever it says, the newest
    backup stays, the newest that passed a restore test, and what is pinned or in use. In any doubt
    nothing at all is deleted, and the exit code is 12.

    With --copy it is a copy that is pruned, by its own policy and pins; without a retention of its
    own nothing is ever deleted from it. The evidence log of the repository is told.

    What nothing refers to any more is marked, and deleted by a prune that comes `sweep_grace`
    later.
    """
    import os
    from datetime import UTC, datetime

    from backup import app
    from backup.cli.output import print_json, watch
    from backup.errors import BlockedError
    from backup.evidence.render.words import counted
    from backup.evidence.slot import answering
    from backup.journeys.prune import plan, prune
    from backup.repository.retention import BlockedPlan

    if is_applied and dry_run:
        raise click.UsageError("--apply or --dry-run, not both")
    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        allowed_signers=allowed_signers,
    )
    opened = app.open_repository(settings, copy)
    rules = app.prune_rules(settings, max_expire=max_expire, copy=copy)
    now = datetime.now(UTC)
    sight = app.prune_sight(settings, opened, now, copy)
    result: Pruned | PrunePlan | BlockedPlan
    if is_applied:
        log = app.require_log(settings, opened, "pruning")
        with watch(is_quiet=as_json) as progress:
            result = prune(
                sight,
                rules,
                log,
                clock=lambda: datetime.now(UTC),
                random=os.urandom,
                progress=progress,
                answering=answering(slot),
            )
    else:
        result = plan(sight, rules, now=now)
    if as_json:
        print_json(_for_programs(result))
    else:
        _print(result)
    if isinstance(result, BlockedPlan):
        raise BlockedError(
            f"nothing was deleted from {opened.store.address},"
            f" for {counted(len(result.reasons), 'reason')}: {'; '.join(result.reasons[:3])}",
            hint="docs/runbooks/pruning.md: what each reason means, and what to do",
        )


def _retention(result: Pruned | PrunePlan | BlockedPlan) -> Plan:
    from backup.journeys.prune import Pruned
    from backup.repository.retention import BlockedPlan

    if isinstance(result, BlockedPlan):
        return result.refused
    return result.plan.backups if isinstance(result, Pruned) else result.backups


def _for_programs(result: Pruned | PrunePlan | BlockedPlan) -> dict[str, object]:
    from backup.journeys.prune import Pruned
    from backup.repository.retention import BlockedPlan

    retention = _retention(result)
    told: dict[str, object] = {
        "is_blocked": isinstance(result, BlockedPlan),
        "is_applied": isinstance(result, Pruned),
        "reasons": result.reasons if isinstance(result, BlockedPlan) else (),
        "kept": [
            {"backup_id": one.key.id.text, "database": one.key.database, "reasons": one.reasons}
            for one in retention.kept
        ],
        "expired": [
            {"backup_id": key.id.text, "database": key.database} for key in retention.expired
        ],
    }
    if isinstance(result, Pruned):
        told |= {
            "deleted": [key.id.text for key in result.deleted],
            "spared": {key.id.text: reason for key, reason in result.spared.items()},
            "condemned": result.condemned,
            "swept": result.swept,
            "locked": result.locked,
            "locked_until": result.locked_until,
            "postponed": result.postponed,
        }
    elif not isinstance(result, BlockedPlan):
        told |= {
            "condemned": len(result.condemn),
            "swept": result.swept,
            "postponed": result.postponed,
        }
    return told


def _print(result: Pruned | PrunePlan | BlockedPlan) -> None:
    from backup.cli.output import print_table
    from backup.evidence.render.words import counted, visible
    from backup.journeys.prune import Pruned
    from backup.repository.retention import BlockedPlan

    # What others wrote into the repository, such as why they pinned, is shown and does nothing.
    retention = _retention(result)
    rows = [(one.key, "keep", "; ".join(one.reasons)) for one in retention.kept]
    rows += [(key, "delete", "no rule keeps it") for key in retention.expired]
    if rows:
        print_table(
            ("BACKUP", "DATABASE", "", "WHY"),
            (
                (key.id.text, visible(key.database), word, visible(why))
                for key, word, why in sorted(rows, key=lambda row: (row[0].database, row[0].id))
            ),
        )
    if isinstance(result, BlockedPlan):
        for reason in result.reasons:
            click.echo(f"BLOCKED  {visible(reason)}")
        return
    if isinstance(result, Pruned):
        for key, reason in result.spared.items():
            click.echo(f"SPARED   {key.id} of {visible(key.database)}: {visible(reason)}")
        click.echo(
            f"Deleted {counted(len(result.deleted), 'backup')}; {result.condemned} objects marked"
            f" as left over, {result.swept} marked earlier deleted"
        )
        if result.locked:
            click.echo(
                f"{result.locked} objects are locked by the store, the first until"
                f" {result.locked_until or 'for good'}"
            )
    else:
        click.echo(
            f"Would delete {counted(len(retention.expired), 'backup')}, mark {len(result.condemn)}"
            f" objects as left over, delete {result.swept} marked earlier; add --apply to do it"
        )
    if result.postponed is not None:
        click.echo(f"No object is marked or deleted now: {visible(result.postponed)}")
