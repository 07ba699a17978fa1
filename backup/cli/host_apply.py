"""`strongroom host apply`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from backup.cli.hostoutput import inventory_argument, limit_option, told
from backup.cli.options import json_option


@click.command(
    name="apply",
    short_help="Make hosts what the inventory declares.",
    epilog="Example: strongroom host apply inventories/ours.py",
)
@inventory_argument
@limit_option
@click.option("-y", "--yes", is_flag=True, help="Don't show the plan and ask first.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_option
def command(
    *, inventory: Path, limits: tuple[str, ...], yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Make hosts what the inventory declares them to be; once more changes nothing.

    Shows the plan and asks, unless --yes. A server is restarted only where a setting needs it.
    Exit codes: 0 done, 1 not done.
    """
    from datetime import UTC, datetime

    from backup.cli.hostoutput import print_outcome
    from backup.errors import SettingsError
    from deploy import provision

    with told():
        provision.checked(inventory, limits, now=datetime.now(UTC))
        if not yes:
            planned = provision.plan(inventory, limits)
            if dry_run or not planned.operations:
                print_outcome(planned, as_json=as_json, has_applied=False)
                return
            if not sys.stdin.isatty():
                raise SettingsError("nobody is there to agree to the plan", hint="add --yes")
            print_outcome(planned, as_json=False, has_applied=False)
            click.confirm("Make it so?", abort=True, err=True)
        outcome = provision.apply(inventory, limits)
    print_outcome(outcome, as_json=as_json, has_applied=True)
