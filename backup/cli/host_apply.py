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
@click.option(
    "--prove/--no-prove",
    "has_proof",
    default=True,
    show_default=True,
    help="Back up and restore-test each database that has no proven backup yet.",
)
@json_option
def command(
    *,
    inventory: Path,
    limits: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    has_proof: bool,
    as_json: bool,
) -> None:
    """Make hosts what the inventory declares them to be; once more changes nothing.

    Shows the plan and asks, unless --yes. A server is restarted only where a setting needs it.
    At the end a backup host makes the first backup of each database, and restores it for a test.
    Exit codes: 0 done, 1 not done.
    """
    from datetime import UTC, datetime

    from backup.cli.hostoutput import print_outcome, print_proofs
    from backup.errors import SettingsError
    from deploy import proving, provision
    from deploy.inventory import load_hosts

    started = datetime.now(UTC)
    with told():
        estate = provision.checked(inventory, limits, now=started)
        outcome = None
        if dry_run or not yes:
            planned = provision.plan(inventory, limits)
            if dry_run:
                print_outcome(planned, as_json=as_json, has_applied=False)
                return
            if not planned.operations:
                outcome = planned
            elif not sys.stdin.isatty():
                raise SettingsError("nobody is there to agree to the plan", hint="add --yes")
            else:
                print_outcome(planned, as_json=False, has_applied=False)
                click.confirm("Make it so?", abort=True, err=True)
                started = datetime.now(UTC)
        outcome = outcome or provision.apply(inventory, limits)
        if not as_json:
            print_outcome(outcome, as_json=False, has_applied=True)
        proofs: tuple[proving.Proof, ...] = ()
        if has_proof:
            reached = proving.limited(estate.backup_hosts, load_hosts(inventory), limits)
            proofs = proving.prove(reached, lambda step: click.echo(f"  {step} …", err=True))
    if as_json:
        print_outcome(outcome, as_json=True, has_applied=True, proofs=proofs)
    else:
        print_proofs(proofs, datetime.now(UTC) - started)
