"""`strongroom log review`: a review that somebody signed, entered into the evidence log."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.options import json_option, load_settings, settings_options


@click.command(
    name="review",
    short_help="Note a signed review, by its SHA-256.",
    epilog="Example: strongroom log review --kind access-review --host db1 --sha256 SHA256"
    " --reviewer 'A. Auditor' --decision approved",
)
@settings_options
@click.option("--kind", type=click.Choice(["access-review", "host-verification", "report"]),
              required=True)  # fmt: skip
@click.option("--host", metavar="HOST", help="What was reviewed, if it is a host.")
@click.option("--sha256", required=True, metavar="SHA256", help="Of the signed record.")
@click.option("--reviewer", required=True, metavar="NAME", help="Who signed it.")
@click.option("--decision", type=click.Choice(["approved", "changes-needed"]), required=True)
@click.option("--dry-run", is_flag=True, help="Say what would be noted, and note nothing.")
@json_option
def review(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    kind: str,
    host: str | None,
    sha256: str,
    reviewer: str,
    decision: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Enter into the evidence log that somebody signed a review. The record itself stays outside.

    `strongroom host access-review --log-on HOST` calls this on the backup host.
    """
    import re
    from datetime import UTC, datetime

    from backup import app
    from backup.cli.output import print_json
    from backup.evidence.entry import EntryType

    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise click.UsageError("--sha256 takes 64 hexadecimal digits, as sha256sum prints them")
    if not reviewer.isprintable() or len(reviewer) > 200:
        raise click.UsageError("--reviewer takes one printable line of at most 200 characters")
    details = {
        "kind": kind,
        "host": host,
        "record_sha256": sha256,
        "reviewer": reviewer,
        "decision": decision,
    }
    if dry_run:
        click.echo(f"would note: {details}")
        return
    settings = load_settings(config, repository=repository, state_directory=state_directory)
    opened = app.open_repository(settings)
    log = app.require_log(settings, opened, "noting a review")
    entry = log.append(EntryType.REVIEW_SIGNED, details, now=datetime.now(UTC)).entry
    if as_json:
        print_json({"seq": entry.seq, **details})
    else:
        click.echo(f"Entry {entry.seq}: {reviewer} signed a {kind} ({decision})")
