"""`strongroom host verify`."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.options import any_path, existing_file, json_option


@click.command(
    name="verify",
    short_help="Check that hosts are as declared; signed.",
    epilog="Example: strongroom host verify inventories/ours.py --signing-key audit.key -o reports",
)
@click.argument("inventory", type=any_path, metavar="INVENTORY")
@click.option("--host", "names", multiple=True, metavar="HOST", help="Only this host.")
@click.option("--failed", "only_failed", is_flag=True, help="Print only what failed.")
@click.option(
    *("-o", "--output"), type=any_path, metavar="DIR", help="Write the report here, signed."
)
@click.option(
    "--signing-key",
    type=existing_file,
    metavar="FILE",
    help="Signs the report (strongroom keygen --signing).",
)
@json_option
def command(
    *,
    inventory: Path,
    names: tuple[str, ...],
    only_failed: bool,
    output: Path | None,
    signing_key: Path | None,
    as_json: bool,
) -> None:
    """Ask each host, over SSH, whether it is what the inventory declares; nothing is changed.

    Each check has the SQL or the command that an auditor may repeat, what is expected, and what
    was observed. What could not be observed has failed. Exit code 3 means that a check failed.
    """
    from datetime import UTC, datetime
    from platform import node

    from backup.cli.output import print_json
    from backup.errors import IntegrityError, SettingsError
    from backup.version import VERSION
    from deploy import hostevidence, verification
    from deploy.inventory import load_estate, load_hosts

    if (output is None) != (signing_key is None):
        raise click.UsageError("--output and --signing-key go together: a report is signed")
    estate = load_estate(inventory)
    hosts = [host for host in estate.hosts() if not names or host.name in names]
    if unknown := sorted(set(names) - {host.name for host in hosts}):
        raise SettingsError(f"host {unknown[0]} is not in the inventory {inventory}")
    started = datetime.now(UTC)
    checks = verification.verify(estate, load_hosts(inventory), hosts, now=started)
    written = None
    if output is not None and signing_key is not None:
        data = verification.report(
            *(estate, inventory, checks),
            started=started,
            finished=datetime.now(UTC),
            version=VERSION,
            operator=node(),
        )
        name = f"host-verification-{estate.site.name}-{started:%Y%m%dT%H%M%SZ}"
        written = hostevidence.write_signed(output, name, data, signing_key)
    failed = [check for check in checks if not check.passed]
    if as_json:
        print_json({"checks": checks, "failed": len(failed), "report": written})
    else:
        for check in failed if only_failed else checks:
            click.echo(
                f"{'PASS' if check.passed else 'FAIL'}  {check.host}  {check.id}: {check.what}"
            )
            if not check.passed:
                click.echo(f"      expected  {check.expected}")
                click.echo(f"      observed  {check.observed}")
                click.echo(f"      hint      {check.hint}")
        click.echo(f"{len(checks) - len(failed)} of {len(checks)} checks passed")
        if written is not None:
            click.echo(f"Signed report: {written}")
    if failed:
        raise IntegrityError(
            f"{len(failed)} of {len(checks)} checks failed, the first being {failed[0].id}"
            f" of {failed[0].host}",
            hint=failed[0].hint,
        )
