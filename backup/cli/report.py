"""`strongroom report`: the reports of restore tests, shown, verified and rendered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backup.cli.options import (
    any_path,
    database_option,
    existing_file,
    json_option,
    load_settings,
    reports_option,
    settings_options,
    signers_option,
)
from backup.cli.reportpack import period, verify_pack

if TYPE_CHECKING:
    from backup.evidence.bundlecheck import CheckedBundle
    from backup.evidence.timestamp import Stamped
    from backup.settings import Settings

_PINS_HINT = "add --allowed-signers FILE, got from the firm by another way than the bundle"


@click.group(
    name="report",
    short_help="The reports of restore tests: list, show, verify.",
    epilog="Example: strongroom report list",
)
def command() -> None:
    """What restore tests found, signed, for the firm and its auditors (docs/reports.md)."""


command.add_command(period)


@command.command(
    name="list",
    short_help="List the reports.",
    epilog="Example: strongroom report list --database portal",
)
@settings_options
@reports_option
@database_option
@json_option
def list_(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    reports_directory: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    """List the reports on this host, oldest first. They are not verified: see `report verify`."""
    from backup import app
    from backup.cli.output import print_json, print_table
    from backup.evidence.render.words import second, span, visible
    from backup.journeys.reports import stored_reports

    settings = _settings(config, repository, state_directory, reports_directory)
    rows: list[dict[str, Any]] = []
    for one in stored_reports(app.reports_directory(settings), database):
        row: dict[str, Any] = {"report_id": one.report_id, "database": one.database}
        row |= {"path": str(one.path), "problem": one.problem}
        if one.report is not None:
            row |= {
                "backup_id": one.report.backup.backup_id,
                "finished": one.report.finished,
                "verdict": one.report.verdict.sentence,
                "level": one.report.verdict.level,
                "rto_ms": one.report.objectives.rto_ms,
            }
        rows.append(row)
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no reports", err=True)
        return
    print_table(
        ("REPORT", "DATABASE", "ENDED", "VERDICT", "LEVEL", "RTO"),
        (
            (
                row["report_id"],
                visible(row["database"]),
                second(row["finished"]) if "finished" in row else "-",
                row.get("verdict") or f"can't be read: {row['problem']}",
                f"L{row['level']}" if "level" in row else "-",
                "-" if row.get("rto_ms") is None else span(row["rto_ms"]),
            )
            for row in rows
        ),
    )


@command.command(
    short_help="Show what a report says.",
    epilog="Example: strongroom report show 20260114T040000Z-a1b2c3",
)
@click.argument("bundle", metavar="BUNDLE|ID")
@settings_options
@reports_option
@json_option
def show(
    *,
    bundle: str,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    reports_directory: Path | None,
    as_json: bool,
) -> None:
    """Show what a report says, in short; --json prints it whole. It is not verified."""
    from backup.evidence.bundle import REPORT
    from backup.evidence.render.conclusion import conclude
    from backup.evidence.render.words import second, visible
    from backup.evidence.report import Report
    from backup.repository.canonical import decode

    settings = _settings(config, repository, state_directory, reports_directory)
    data = _members(settings, bundle)[REPORT]
    report = decode(Report, data, REPORT)
    if as_json:
        click.echo(data.decode())
        return
    found = conclude(report)
    verdict = report.verdict
    click.echo(f"{found.status.value}: {found.sentence}")
    click.echo(f"report    {report.report_id}, {second(report.finished)}")
    click.echo(f"backup    {report.backup.backup_id} of {visible(report.backup.database)}")
    click.echo(f"verdict   {verdict.sentence}, level {verdict.level}, seal S{verdict.seal}")
    for finding in verdict.findings:
        waived = (
            "" if finding.waiver is None else f" (waived by {visible(finding.waiver.approver)})"
        )
        click.echo(f"finding   {finding.code.value}  {visible(finding.what)}{waived}")


@command.command(
    short_help="Write the page of a report.",
    epilog="Example: strongroom report render --check evidence.zip",
)
@click.argument("bundle", metavar="BUNDLE|ID")
@click.option("-o", "--output", type=any_path, help="Write the page here; it must not exist.")
@click.option("--check", is_flag=True, help="Is the bundle's page the rendering of its report?")
@settings_options
@reports_option
@signers_option
def render(
    *,
    bundle: str,
    output: Path | None,
    check: bool,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    reports_directory: Path | None,
    allowed_signers: Path | None,
) -> None:
    """Write the page of a report, made from its JSON anew, or --check the one in the bundle.

    --check also verifies the bundle. Exit code 3 means that page or table are not what the signed
    report says, 11 that nothing here says whose signature counts.
    """
    from backup.errors import IntegrityError, ObjectExistsError, SettingsError
    from backup.evidence.bundle import REPORT
    from backup.evidence.bundlecheck import is_rendering
    from backup.evidence.render.html import render_report
    from backup.journeys.reports import find_bundle, write_new
    from backup.version import VERSION

    settings = _settings(config, repository, state_directory, reports_directory, allowed_signers)
    if check:
        data = find_bundle(_directory(settings), bundle)
        report = _verified(settings, data, bundle).report
        if not is_rendering(data):
            raise IntegrityError(
                f"{bundle}: page or table are not what this version makes of the signed report",
                hint=None
                if report.generated_by == VERSION
                else f"{report.generated_by!r} made it, this is {VERSION!r}: check with that one",
            )
        click.echo(f"Good: the page is the rendering of report {report.report_id}")
    page = render_report(_members(settings, bundle)[REPORT])
    if output is not None:
        try:
            write_new(output, page)
        except ObjectExistsError as error:
            raise SettingsError(error.message, hint="name a file that does not exist") from error
    elif not check:
        click.echo(page.decode(), nl=False)


@command.command(
    short_help="Verify an evidence bundle.",
    epilog="Example: strongroom report verify evidence.zip --allowed-signers allowed_signers",
)
@click.argument("bundle", metavar="BUNDLE|ID|PACK")
@settings_options
@reports_option
@signers_option
@click.option(
    "--earlier",
    type=existing_file,
    metavar="FILE",
    help="A checkpoint.note that you kept: the log of a period pack must begin with it.",
)
@click.option(
    "--authority",
    type=existing_file,
    metavar="FILE",
    help="Root of a time-stamp authority, PEM: does it vouch for this report (seal S3)?",
)
@json_option
def verify(
    *,
    bundle: str,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    reports_directory: Path | None,
    allowed_signers: Path | None,
    earlier: Path | None,
    authority: Path | None,
    as_json: bool,
) -> None:
    """Verify that a pinned key signed a bundle, and that all that is in it agrees.

    Sums, signatures, the backup's manifest, the entries in the evidence log, the table. Of a period
    pack (a directory): that all it says follows from the log, which must be whole. Exit code
    3 means that something is wrong, 11 (UNPINNED) that nothing here says whose signature counts.
    That a report is genuine does not mean that the restore test passed.
    """
    from backup.cli.output import local, print_json
    from backup.journeys.reports import find_bundle

    settings = _settings(config, repository, state_directory, reports_directory, allowed_signers)
    if Path(bundle).is_dir():
        verify_pack(settings, Path(bundle), earlier, as_json=as_json)
        return
    if earlier is not None:
        raise click.UsageError("--earlier goes with a period pack, which holds the whole log")
    data = find_bundle(_directory(settings), bundle)
    checked = _verified(settings, data, bundle, as_json=as_json)
    report = checked.report
    assert checked.signer is not None
    stamp = None if authority is None else _stamp(settings, data, checked, authority)
    said = {
        "is_good": True,
        "report_id": report.report_id,
        "database": report.backup.database,
        "backup_id": report.backup.backup_id,
        "verdict": report.verdict.sentence,
        "level": report.verdict.level,
        "signer": checked.signer.principal,
        "key": checked.signer.public_key.fingerprint,
        "wrong": (),
        "seal": report.verdict.seal if stamp is None else 3,
        "stamped": None if stamp is None else stamp.time,
    }
    if as_json:
        print_json(said)
        return
    click.echo(
        f"Good: report {report.report_id} is genuine, signed by {checked.signer.principal}"
        f" ({checked.signer.public_key.fingerprint})"
    )
    click.echo(f"It says: {report.verdict.sentence} at level {report.verdict.level}")
    if stamp is not None:
        click.echo(f"Seal S3: the authority says that the log told of it at {local(stamp.time)}")
    elif authority is not None:
        click.echo(
            f"Seal S{report.verdict.seal}: no time stamp of this authority is over it yet"
            " (`strongroom log timestamp request`)"
        )


@command.command(
    short_help="Print the JSON schema of report.json.",
    epilog="Example: strongroom report schema >report.schema.json",
)
def schema() -> None:
    """Print the JSON schema that every report.json follows."""
    from backup.evidence.schema import report_schema

    click.echo(report_schema(), nl=False)


def _settings(
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    reports_directory: Path | None,
    allowed_signers: Path | None = None,
) -> Settings:
    return load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        reports_directory=reports_directory,
        allowed_signers=allowed_signers,
    )


def _directory(settings: Settings) -> Path:
    from backup import app

    return app.reports_directory(settings)


def _members(settings: Settings, bundle: str) -> dict[str, bytes]:
    """Return what is in a bundle, which has a report at least."""
    from backup.errors import IntegrityError
    from backup.evidence.bundle import REPORT, decode_zip
    from backup.journeys.reports import find_bundle

    members = decode_zip(find_bundle(_directory(settings), bundle))
    if REPORT not in members:
        raise IntegrityError(f"{bundle} holds no {REPORT}")
    return members


def _stamp(
    settings: Settings, data: bytes, checked: CheckedBundle, authority: Path
) -> Stamped | None:
    """Return the time stamp over a bundle's entries in the log of the repository, or None."""
    from backup import app
    from backup.cli.logtimestamp import read_authorities
    from backup.errors import NotFoundError
    from backup.evidence.bundle import CHECKPOINT, decode_zip
    from backup.journeys.sealed import stamped_since

    opened = app.open_repository(settings)
    allowed = app.pinned_signers(settings, checked.report.backup.repository_id)
    note = decode_zip(data).get(CHECKPOINT)
    if opened.id != checked.report.backup.repository_id or note is None or allowed is None:
        raise NotFoundError(
            f"{opened.store.address} has no evidence log that tells of this report",
            hint="time stamps lie in the repository whose backup was tested: add --repository",
        )
    keys = [signer.public_key for signer in allowed.signers]
    return stamped_since(opened, note, keys, read_authorities(authority))


def _verified(
    settings: Settings, data: bytes, bundle: str, *, as_json: bool = False
) -> CheckedBundle:
    """Return a bundle that is good and pinned; else say why not, and raise."""
    from backup import app
    from backup.cli.output import print_json
    from backup.errors import IntegrityError, UnpinnedError
    from backup.evidence.bundlecheck import check_bundle

    pins = app.pinned_signers(settings, check_bundle(data, None).report.backup.repository_id)
    checked = check_bundle(data, pins)
    if checked.wrong:
        if as_json:
            print_json({"is_good": False, "wrong": checked.wrong})
        for sentence in checked.wrong if not as_json else ():
            click.echo(f"WRONG  {sentence}")
        raise IntegrityError(
            f"{bundle}: {len(checked.wrong)} things are wrong with this bundle",
            hint="it is no evidence as it is; ask for the copy in the repository",
        )
    if not checked.is_pinned:
        if as_json:
            print_json({"is_good": False, "wrong": (), "is_pinned": False})
        raise UnpinnedError(
            f"UNPINNED: {bundle} is whole, but nothing here says whose signature counts",
            hint=_PINS_HINT,
        )
    return checked
