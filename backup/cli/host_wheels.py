"""`strongroom host wheels`."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.hostoutput import inventory_argument
from backup.cli.options import json_option


@click.command(
    name="wheels",
    short_help="Build and fetch what backup hosts install.",
    epilog="Example: strongroom host wheels inventories/ours.py",
)
@inventory_argument
@click.option(
    "--python", default="3.11", show_default=True, help="The hosts' Python: 3.13 on Debian 13."
)
@click.option("--architecture", default="x86_64", show_default=True, help="Or aarch64.")
@json_option
def command(*, inventory: Path, python: str, architecture: str, as_json: bool) -> None:
    """Build strongroom's wheel from this checkout, and fetch the locked ones by their hashes.

    They go into the inventory's backup_host.wheels_directory; `host apply` takes them from there.
    """
    from backup.cli.output import print_json
    from deploy.inventory import load_estate
    from deploy.wheels import collect

    estate = load_estate(inventory)
    made: list[str] = []
    for directory in dict.fromkeys(host.wheels_directory for host in estate.backup_hosts):
        wheels = collect(directory, python=python, architecture=architecture)
        made += map(str, wheels)
        if not as_json:
            click.echo(f"{len(wheels)} wheels are in {directory}")
    if as_json:
        print_json({"wheels": made})
