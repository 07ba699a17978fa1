"""`strongroom unpin`."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.options import database_option, json_option, load_settings, settings_options


@click.command(
    name="unpin",
    short_help="Let the policy decide again.",
    epilog="Example: strongroom unpin 20260114T020000Z-3f9c2a",
)
@click.argument("backup")
@settings_options
@database_option
@click.option("--copy", metavar="NAME", help="In this copy of the settings, not in the repository.")
@click.option("--dry-run", is_flag=True, help="Say whether there is a pin, and stop.")
@json_option
def command(
    *,
    backup: str,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    copy: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take the pin off a backup (an id or `latest`): the policy decides again whether it stays.

    Legal holds are lifted, but for what other pinned backups need. The backup goes with the next
    `strongroom prune --apply` that the policy lets it go with.
    """
    import getpass
    import platform
    from datetime import UTC, datetime

    from backup import app
    from backup.cli.output import print_json
    from backup.journeys.pins import unpin
    from backup.repository.pins import read_pins

    settings = load_settings(config, repository=repository, state_directory=state_directory)
    opened = app.open_repository(settings, copy)
    key = opened.find(backup, database)
    if dry_run:
        reason = read_pins(opened.store).get(key)
        click.echo(
            f"{key.id} is not pinned" if reason is None else f"Would unpin {key.id}: {reason}"
        )
        return
    was_pinned = unpin(
        opened,
        key,
        app.require_log(settings, opened, "unpinning"),
        who=f"{getpass.getuser()}@{platform.node()}",
        now=datetime.now(UTC),
        allowed=app.load_allowed_signers(settings, opened),
        copy=copy,
    )
    if as_json:
        print_json({"backup_id": key.id.text, "was_pinned": was_pinned})
    else:
        click.echo(f"{'Unpinned' if was_pinned else 'No pin on'} {key.id} of {key.database}")
