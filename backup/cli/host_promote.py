"""`strongroom host promote`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.hostoutput import inventory_argument
from backup.cli.options import json_option

if TYPE_CHECKING:
    from deploy.core.promotion import PrimarySeen, ReplicaSeen


@click.command(
    name="promote",
    short_help="A replica takes the place of its primary.",
    epilog="Example: strongroom host promote inventories/ours.py db2",
)
@inventory_argument
@click.argument("name", metavar="REPLICA")
@click.option(
    "--fenced",
    "is_fenced",
    is_flag=True,
    help="The primary can take no writes any more, whatever is seen of it: it is off, or cut off.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@click.option("--dry-run", is_flag=True, help="Look at both hosts, and change nothing.")
@json_option
def command(
    *, inventory: Path, name: str, is_fenced: bool, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Make a replica a server of its own, which takes writes; then the inventory has to say so.

    Refused while the primary takes writes, or while it can't be told that it does not; and if the
    replica lacks anything that a primary wrote which was shut down in good order. What has arrived
    is replayed first. One that is promoted already is left as it is. What to do with the old
    primary is in docs/runbooks/promote-a-replica.md.
    """
    from functools import partial

    from backup.cli.output import print_json
    from backup.errors import SettingsError, StrongroomError
    from deploy import promotion
    from deploy.inventory import load_estate, load_hosts
    from deploy.remote import remote_named

    def agree(primary: PrimarySeen, replica: ReplicaSeen) -> bool:
        if dry_run:
            return False
        if not yes:
            if not sys.stdin.isatty():
                raise StrongroomError("nobody is there to agree", hint="add --yes")
            click.echo(f"its primary: {primary.state}; {name} has replayed up to"
                       f" {replica.replayed}", err=True)  # fmt: skip
            click.confirm(f"Promote {name}?", abort=True, err=True)
        return True

    estate = load_estate(inventory)
    replica = estate.replica(name)
    if replica is None:
        known = ", ".join(one.host.name for one in estate.replicas) or "none is declared"
        raise SettingsError(
            f"{name} is no replica of the inventory {inventory}", hint=f"replicas: {known}"
        )
    done = promotion.promote(
        estate,
        replica,
        remote_of=partial(remote_named, load_hosts(inventory)),
        inventory=str(inventory),
        is_fenced=is_fenced,
        agree=agree,
    )
    if as_json:
        print_json(done)
        return
    seen = f"{done.primary} is {done.primary_state}; {name} has replayed up to {done.replayed}"
    if not done.was_standby:
        click.echo(f"{name} is a server of its own already")
    elif dry_run:
        click.echo(f"{name} would be promoted: {seen}")
        return
    else:
        click.echo(f"{name} is a server of its own since {done.position}; {seen}")
    for step in done.next_steps:
        click.echo(f"next: {step}")
