"""`strongroom host access-review`."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.options import any_path, existing_file, json_option


@click.command(
    name="access-review",
    short_help="Who can do what on a server; for a reviewer to sign.",
    epilog="Example: strongroom host access-review inventories/ours.py --host db1",
)
@click.argument("inventory", type=any_path, metavar="INVENTORY")
@click.option("--host", "name", metavar="HOST", help="Which server, if there are several.")
@click.option("--reviewer", metavar="NAME", help="Who looked at it; signs the record.")
@click.option("--decision", type=click.Choice(["approved", "changes-needed"]))
@click.option("--note", default="", metavar="TEXT", help="What the reviewer wants to say.")
@click.option("-o", "--output", type=any_path, metavar="DIR", help="Write record and page here.")
@click.option(
    "--signing-key", type=existing_file, metavar="FILE", help="The reviewer's signing key."
)
@click.option("--log-on", metavar="HOST", help="Enter it into this backup host's evidence log.")
@json_option
def command(
    *,
    inventory: Path,
    name: str | None,
    reviewer: str | None,
    decision: str | None,
    note: str,
    output: Path | None,
    signing_key: Path | None,
    log_on: str | None,
    as_json: bool,
) -> None:
    """List every role of a server: what it can do, by which line it gets in, what is declared.

    First without --reviewer, to read it; then with --reviewer, --decision, --signing-key and
    --output, which signs the record as it is at that moment. Nothing on the server is changed.
    """
    from datetime import UTC, datetime
    from platform import node

    from backup.cli.output import print_json
    from backup.errors import SettingsError
    from backup.repository.canonical import encode
    from backup.version import VERSION
    from deploy import hostevidence, reviewing
    from deploy.core.review import SignOff, as_text
    from deploy.inventory import load_estate, load_hosts
    from deploy.remote import remote_named

    signing = (reviewer, decision, output, signing_key)
    if (
        any(one is not None for one in (reviewer, decision, signing_key, log_on))
        and None in signing
    ):
        raise click.UsageError(
            "a review is signed with --reviewer, --decision, --signing-key and --output together"
        )
    estate, hosts = load_estate(inventory), load_hosts(inventory)
    servers = [one for one in estate.servers if name in {None, one.host.name}]
    if len(servers) != 1:
        known = ", ".join(one.host.name for one in estate.servers)
        raise SettingsError("name one database server with --host", hint=f"known: {known}")
    if log_on is not None and estate.backup_host(log_on) is None:
        raise SettingsError(f"{log_on} is no backup host of the inventory")
    sign_off = None
    if reviewer is not None and decision is not None:
        verdict = "approved" if decision == "approved" else "changes-needed"
        sign_off = SignOff(reviewer=reviewer, decision=verdict, note=note)  # type: ignore[arg-type]
    now = datetime.now(UTC)
    record = reviewing.take(
        *(estate, servers[0], inventory, remote_named(hosts, servers[0].host.name)),
        now=now,
        version=VERSION,
        operator=node(),
        sign_off=sign_off,
    )
    page = as_text(record)
    if output is not None and signing_key is not None:
        data = encode(record)
        label = f"access-review-{record.host}-{now:%Y%m%dT%H%M%SZ}"
        path = hostevidence.write_signed(output, label, data, signing_key)
        hostevidence.write_page(path.with_suffix(".txt"), page)
        if log_on is not None:
            reviewing.note_in_log(remote_named(hosts, log_on), data, record)
        click.echo(f"Signed record: {path}", err=True)
    if as_json:
        print_json(record)
    else:
        click.echo(page, nl=False)
