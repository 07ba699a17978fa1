"""`strongroom host recover`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import any_path, existing_file, identity_option, json_option

if TYPE_CHECKING:
    from deploy.core.model import BackupHost, DatabaseServer, Estate
    from deploy.core.recoveryreport import RecoveryReport


@click.command(
    name="recover",
    short_help="A lost database host comes back, with its data.",
    epilog="Example: strongroom host recover inventories/ours.py --host db1"
    " --signing-key audit.key -o reports",
)
@click.argument("inventory", type=any_path, metavar="INVENTORY")
@click.option("--host", "name", required=True, metavar="HOST", help="The database host, bare now.")
@click.option("--from", "source", metavar="HOST", help="The backup host, if there are several.")
@click.option("--database", "databases", multiple=True, metavar="NAME", help="Only this one.")
@click.option("--backup", "backup_id", metavar="ID", help="This backup in place of the newest.")
@identity_option
@click.option(
    "--passphrase-file", type=existing_file, metavar="FILE", help="The CA keys' passphrase."
)
@click.option("-o", "--output", type=any_path, metavar="DIR", help="Write the report here.")
@click.option("--signing-key", type=existing_file, metavar="FILE", help="Signs the report.")
@click.option(
    "--beside",
    "is_beside",
    is_flag=True,
    help="The host is well and its data is not: restore as NAME_recovered, and touch nothing else.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@click.option("--dry-run", is_flag=True, help="Say what would come back, and change nothing.")
@json_option
def command(
    *,
    inventory: Path,
    name: str,
    source: str | None,
    databases: tuple[str, ...],
    backup_id: str | None,
    identity: Path | None,
    passphrase_file: Path | None,
    output: Path | None,
    signing_key: Path | None,
    is_beside: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a bare machine the database host again and restore the newest backup into it.

    The backup is restore-tested on the backup host meanwhile; only a PASS is restored, or what
    has no table, of which nothing can be proven, while no older backup is. Databases that hold
    anything are never touched. Roles, rights and settings come out as declared, `host verify` runs
    at the end, and the report has the time of every step. Exit code 3: the data is back, and a
    check failed. With --beside a host that is well gets the backup as a database of its own.
    """
    from datetime import UTC, datetime
    from platform import node

    from backup.cli.host_pki import identities_of
    from backup.cli.output import print_json
    from backup.errors import IntegrityError
    from backup.repository.canonical import encode
    from backup.version import VERSION
    from deploy import hostevidence, pki, provision, verification
    from deploy.core.recoveryreport import RecoveryReport
    from deploy.inventory import load_hosts
    from deploy.recovery import Clock, Recovery
    from deploy.remote import remote_named

    if (output is None) != (signing_key is None):
        raise click.UsageError("--output and --signing-key go together: a report is signed")
    if backup_id is not None and len(databases) != 1:
        raise click.UsageError("--backup goes with one --database")

    def now() -> datetime:
        return datetime.now(UTC)

    started = now()
    estate = provision.checked(inventory, (), now=started)
    hosts = load_hosts(inventory)
    server, backup_host = _hosts_of(estate, name, source)
    declared = _databases_of(server, databases)
    limit = next(one.name for one in hosts if name in {one.data.get("hostname"), one.name})
    clock = Clock(now=now, tell=lambda step: click.echo(f"  {step} …", err=True))
    recovery = Recovery(
        server=server,
        backup_host=backup_host,
        on_server=remote_named(hosts, name),
        on_backup_host=remote_named(hosts, backup_host.host.name),
        apply=lambda: provision.apply(inventory, (limit,), leave_empty=True),
        clock=clock,
    )
    chosen = recovery.choose(declared, backup_id)
    for one in chosen:
        click.echo(f"{one.database}: backup {one.backup_id}, as it was at {one.snapshot_time}",
                   err=True)  # fmt: skip
    if dry_run:
        if as_json:
            print_json(chosen)
        return
    if not yes and sys.stdin.isatty():
        what = "Restore beside what is there?" if is_beside else "Make it anew and restore into it?"
        click.confirm(f"{name}: {what}", abort=True, err=True)
    authority = pki.open_authorities(
        estate.site.pki_directory, identities_of(identity, passphrase_file)
    )["client"]
    back = (recovery.beside if is_beside else recovery.run)(chosen, authority)
    with clock.step("host verified"):
        checks = verification.verify(estate, hosts, [server.host], now=now())
    finished = now()
    report = RecoveryReport(
        generated_by=VERSION,
        generated_on=node(),
        site=estate.site.name,
        host=name,
        backup_host=backup_host.host.name,
        inventory_sha256=hashlib.sha256(inventory.read_bytes()).hexdigest(),
        started=started,
        finished=finished,
        duration_ms=round((finished - started).total_seconds() * 1000),
        steps=tuple(clock.steps),
        databases=back,
        checks=len(checks),
        failed_checks=tuple(check.id for check in checks if not check.passed),
    )
    if output is not None and signing_key is not None:
        label = f"host-recovery-{name}-{started:%Y%m%dT%H%M%SZ}"
        path = hostevidence.write_signed(output, label, encode(report), signing_key)
        click.echo(f"Signed report: {path}", err=True)
    if as_json:
        print_json(report)
    else:
        _tell(report, is_beside=is_beside)
    if report.failed_checks:
        raise IntegrityError(
            f"{name} is back, but {len(report.failed_checks)} of {len(checks)} checks failed,"
            f" the first being {report.failed_checks[0]}",
            hint=f"strongroom host verify {inventory} --host {name} --failed",
        )


def _hosts_of(estate: Estate, name: str, source: str | None) -> tuple[DatabaseServer, BackupHost]:
    """Return the host that is lost, and the one that has its backups."""
    from backup.errors import SettingsError

    server = estate.server(name)
    if server is None:
        raise SettingsError(f"{name} is no database server of the inventory")
    sources = [one for one in estate.backup_hosts if source in {None, one.host.name}]
    if len(sources) != 1:
        known = ", ".join(one.host.name for one in estate.backup_hosts)
        raise SettingsError("name the backup host with --from", hint=f"known: {known}")
    return server, sources[0]


def _databases_of(server: DatabaseServer, named: tuple[str, ...]) -> list[str]:
    from backup.errors import SettingsError

    declared = [database.name for database in server.databases]
    if unknown := sorted(set(named) - set(declared)):
        raise SettingsError(f"database {unknown[0]} is not declared on {server.host.name}")
    return [name for name in declared if not named or name in named]


def _tell(report: RecoveryReport, *, is_beside: bool) -> None:
    from datetime import timedelta

    from backup.cli.output import duration
    from deploy.recovery import beside

    for one in report.databases:
        name = beside(one.database) if is_beside else one.database
        click.echo(
            f"{name} is back: {one.tables} tables, {one.rows} rows, from {one.backup_id}"
            f" ({one.restore_test})"
        )
    took = duration(timedelta(milliseconds=report.duration_ms))
    click.echo(f"{report.host} is back after {took}")
