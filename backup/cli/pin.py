"""`strongroom pin`."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.options import database_option, json_option, load_settings, settings_options


@click.command(
    name="pin",
    short_help="Keep a backup whatever the policy says.",
    epilog='Example: strongroom pin 20260114T020000Z-3f9c2a --reason "audit 2026"',
)
@click.argument("backup")
@click.option("--reason", required=True, help="Why; it is shown wherever the backup is listed.")
@settings_options
@database_option
@click.option("--copy", metavar="NAME", help="In this copy of the settings, not in the repository.")
@click.option("--dry-run", is_flag=True, help="Say what would be pinned, and stop.")
@json_option
def command(
    *,
    backup: str,
    reason: str,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    copy: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Keep a backup (an id or `latest`) until `unpin`, whatever the policy says.

    Who, when and why are written into the repository and the evidence log. Where the store locks,
    everything of the backup gets a legal hold: nobody deletes it before it is lifted.
    """
    import getpass
    import platform
    from datetime import UTC, datetime

    from backup import app
    from backup.cli.output import print_json
    from backup.evidence.render.words import visible
    from backup.holders import Holders
    from backup.journeys.pins import pin

    settings = load_settings(config, repository=repository, state_directory=state_directory)
    opened = app.open_repository(settings, copy)
    key = opened.find(backup, database)
    if dry_run:
        click.echo(f"Would pin {key.id} of {key.database}")
        return
    made, is_new = pin(
        opened,
        key,
        app.require_log(settings, opened, "pinning"),
        who=f"{getpass.getuser()}@{platform.node()}",
        why=reason,
        clock=lambda: datetime.now(UTC),
        allowed=app.load_allowed_signers(settings, opened),
        copy=copy,
        holders=Holders(settings.state_directory),
    )
    if as_json:
        print_json({"pin": made, "is_new": is_new})
    elif is_new:
        click.echo(f"Pinned {key.id} of {key.database}: {visible(made.why)}")
    else:
        click.echo(
            f"{key.id} was pinned already, and that pin stays:"
            f" {visible(made.why)} ({visible(made.who)})"
        )
