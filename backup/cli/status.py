"""`strongroom status`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from backup.cli.options import json_option, load_settings, settings_options, signers_option

_UNKNOWN = 3


@click.command(
    name="status",
    short_help="Show in one screen whether all is well.",
    epilog="""As a Nagios check: the exit code is 0 good, 1 warning, 2 critical, 3 cannot be
told, and the first line says why. What each problem means is in docs/monitoring.md.

Example: strongroom status""",
)
@settings_options
@signers_option
@json_option
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    allowed_signers: Path | None,
    as_json: bool,
) -> None:
    """Show what is proven, what ran, what is due and what is wrong, also while no daemon runs.

    It reads the repository, the evidence log and the daemon's journal, and changes nothing.
    """
    import os
    from datetime import UTC, datetime

    from backup.cli import tell
    from backup.cli.output import print_json
    from backup.cli.statusscreen import screen
    from backup.errors import StrongroomError
    from scheduler.credentials import notify_urls
    from scheduler.health import assess
    from scheduler.look import Looker
    from scheduler.service import named
    from scheduler.statusjson import status_json

    try:
        settings = load_settings(
            config,
            repository=repository,
            state_directory=state_directory,
            allowed_signers=allowed_signers,
        )
        settings = named(settings, os.environ)
        notifiers = len(notify_urls(settings.credentials_directory))
    except StrongroomError as error:
        # For a monitor 2 would mean that backups are bad; the truth is that nobody can tell.
        tell(error)
        raise click.exceptions.Exit(_UNKNOWN) from error
    now = datetime.now(UTC)
    found = assess(Looker(settings, configured_notifiers=notifiers).look(now=now), now=now)
    if as_json:
        print_json(status_json(found))
    else:
        click.echo(screen(found, has_glyphs=_takes_glyphs()))
    raise click.exceptions.Exit(found.severity.value)


def _takes_glyphs() -> bool:
    try:
        "✔▲✖".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
