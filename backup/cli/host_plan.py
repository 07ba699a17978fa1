"""`strongroom host plan`."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.hostoutput import inventory_argument, limit_option, told
from backup.cli.options import json_option


@click.command(
    name="plan",
    short_help="Say what hosts differ in from the inventory.",
    epilog="Example: strongroom host plan inventories/ours.py || echo drift",
)
@inventory_argument
@limit_option
@json_option
def command(*, inventory: Path, limits: tuple[str, ...], as_json: bool) -> None:
    """Say what hosts differ in from what the inventory declares; change nothing.

    Exit codes: 0 all is as declared, 2 something is not, 1 it could not be told.
    """
    from datetime import UTC, datetime

    from backup.cli.hostoutput import print_outcome
    from deploy import provision

    with told():
        provision.checked(inventory, limits, now=datetime.now(UTC))
        outcome = provision.plan(inventory, limits)
    print_outcome(outcome, as_json=as_json, has_applied=False)
    if not outcome.is_clean:
        raise click.exceptions.Exit(2)
