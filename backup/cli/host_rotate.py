"""`strongroom host rotate`: new certificates and passwords on the hosts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import any_path, json_option

if TYPE_CHECKING:
    from deploy.rotation import Rotated


@click.group(
    name="rotate",
    short_help="Bring new certificates or passwords to the hosts.",
    epilog="Example: strongroom host rotate certificates inventories/ours.py",
)
def command() -> None:
    """Change what proves who is who, one host at a time; sessions that are open go on."""


@command.command(
    short_help="Bring the newest certificates to the hosts.",
    epilog="Example: strongroom host rotate certificates inventories/ours.py --host db1",
)
@click.argument("inventory", type=any_path, metavar="INVENTORY")
@click.option("--host", "names", multiple=True, metavar="HOST", help="Only this host.")
@click.option("--dry-run", is_flag=True, help="Say what would be brought, and change nothing.")
@json_option
def certificates(*, inventory: Path, names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Bring what `pki issue` made to the hosts, and see that each server shows it.

    Clients' certificates go first: a server's next reload may already ask for the new CA. A
    server that does not show the new serial number gets its old certificate back, and the command
    fails.
    """
    from datetime import UTC, datetime

    from backup.errors import SettingsError
    from deploy import pki, rotation
    from deploy.inventory import load_estate, load_hosts
    from deploy.remote import remote_named

    estate, hosts = load_estate(inventory), load_hosts(inventory)
    directory, now = estate.site.pki_directory, datetime.now(UTC)
    if unknown := sorted(set(names) - {host.name for host in estate.hosts()}):
        raise SettingsError(f"host {unknown[0]} is not in the inventory {inventory}")
    for leaf in pki.wanted(estate):
        if wrong := pki.look_at(directory, leaf, now=now).problems:
            raise SettingsError(
                f"{leaf.label}: {wrong[0]}; nothing was changed",
                hint=f"strongroom host pki issue {inventory}",
            )
    done: list[Rotated] = []
    for step in rotation.certificate_steps(estate):
        if names and step.host not in names:
            continue
        if dry_run:
            click.echo(f"would bring {step.what} to {step.host}")
            continue
        done.append(step.bring(remote_named(hosts, step.host)))
    _tell(done, as_json=as_json)


@command.command(
    short_help="Give roles new passwords.",
    epilog="Example: strongroom host rotate passwords inventories/ours.py --role portal_app",
)
@click.argument("inventory", type=any_path, metavar="INVENTORY")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="Only this role.")
@click.option("--dry-run", is_flag=True, help="Say whose would be changed, and change nothing.")
@json_option
def passwords(*, inventory: Path, roles: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Make new passwords below site.secrets_directory, and have the servers take them.

    Only verifiers leave this machine. Sessions go on; applications need the new password for their
    next one, so do one role at a time.
    """
    from backup.errors import SettingsError
    from deploy import rotation
    from deploy.inventory import load_estate, load_hosts
    from deploy.remote import remote_named

    estate, hosts = load_estate(inventory), load_hosts(inventory)
    todo = [
        (server, role.name)
        for server in estate.servers
        for role in server.roles
        if role.has_password and (not roles or role.name in roles)
    ]
    if unknown := sorted(set(roles) - {name for _, name in todo}):
        raise SettingsError(f"role {unknown[0]} is not declared with a password")
    done: list[Rotated] = []
    for server, role in todo:
        if dry_run:
            click.echo(f"would change the password of {role} on {server.host.name}")
            continue
        remote = remote_named(hosts, server.host.name)
        done.append(rotation.rotate_password(estate, server, role, remote))
    _tell(done, as_json=as_json)


def _tell(done: list[Rotated], *, as_json: bool) -> None:
    from backup.cli.output import print_json

    if as_json:
        print_json(done)
        return
    for one in done:
        serial = "" if one.serial is None else f", serial {one.serial}"
        click.echo(f"{one.host}: new {one.what}{serial}")
