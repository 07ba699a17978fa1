"""`strongroom daemon`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import load_settings, settings_options

if TYPE_CHECKING:
    from backup.settings import Settings
    from scheduler.outlook import Outlook


@click.command(
    name="daemon",
    short_help="Back up, prune, verify and test restores by schedule.",
    epilog="Example: strongroom daemon --dry-run",
)
@settings_options
@click.option("--once", is_flag=True, help="Do what is due, and end.")
@click.option("--dry-run", is_flag=True, help="Print what is due and when next, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print and log JSON, one object a line.")
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    once: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Do by schedule what the settings ask for, until it is told to stop.

    What is due is told by a journal in the state directory: after an outage each job is caught up
    once, and what was missed is written down. TERM lets runs end, up to `drain_timeout`; a second
    one ends them. HUP reads the settings again, and keeps the old ones if the new ones are wrong.
    USR1 prints where every thread is.
    """
    import os
    from datetime import UTC, datetime

    from scheduler.service import Given, named, serve
    from scheduler.signals import Signals

    def load() -> Settings:
        return load_settings(config, repository=repository, state_directory=state_directory)

    if dry_run:
        _print_outlook(load(), as_json=as_json)
        return 0
    settings = load()
    _set_up_logging(as_json=as_json or settings.log_format == "json")
    with Signals(named(settings, os.environ), clock=lambda: datetime.now(UTC)) as signals:
        return serve(
            Given(
                load=load,
                options=() if config is None else ("--config", str(config.absolute())),
                environment=dict(os.environ),
                observers=(signals,),
                reloaded=lambda new: signals.reload(named(new, os.environ)),
            ),
            once=once,
        )


def _set_up_logging(*, as_json: bool) -> None:
    import logging

    from scheduler.logs import JsonLines

    root = logging.getLogger()
    root.setLevel(min(root.level, logging.INFO))
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    if as_json:
        for handler in root.handlers:
            handler.setFormatter(JsonLines())


def _print_outlook(settings: Settings, *, as_json: bool) -> None:
    import os
    from datetime import UTC, datetime

    from backup.cli.output import local, print_json, print_table
    from scheduler.outlook import outlook

    found: list[Outlook] = outlook(settings, os.environ, now=datetime.now(UTC))
    if as_json:
        print_json({"jobs": found})
        return
    print_table(
        ("JOB", "DATABASE", "SCHEDULE", "DUE NOW", "MISSED", "NEXT"),
        (
            (
                one.job,
                one.database or "(all)",
                f"{one.schedule} {one.zone}",
                "-" if one.due is None else local(one.due),
                str(one.missed),
                local(one.next_due),
            )
            for one in found
        ),
    )
