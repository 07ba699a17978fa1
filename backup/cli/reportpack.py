"""Period packs: `strongroom report period` makes them, `report verify DIRECTORY` verifies them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import (
    any_path,
    database_option,
    json_option,
    load_settings,
    reports_option,
    settings_options,
    signers_option,
    slot_option,
)

if TYPE_CHECKING:
    from backup.evidence.entry import Detail
    from backup.evidence.log import EvidenceLog
    from backup.evidence.period import Period
    from backup.evidence.slot import Slot
    from backup.settings import Settings


def verify_pack(
    settings: Settings, directory: Path, earlier: Path | None, *, as_json: bool
) -> None:
    """Say whether a pack is genuine and whole; raise `IntegrityError` or `UnpinnedError` if not."""
    from backup import app
    from backup.cli.output import print_json
    from backup.errors import IntegrityError, UnpinnedError
    from backup.evidence.packcheck import check_pack, read_period
    from backup.journeys.period import read_pack

    members = read_pack(directory)
    kept = None if earlier is None else earlier.read_bytes()
    repository_id = read_period(members).repository_id
    checked = check_pack(members, app.pinned_signers(settings, repository_id), earlier=kept)
    told = checked.period
    is_good = checked.is_pinned and not checked.wrong
    if as_json:
        print_json(
            {
                "is_good": is_good,
                "first": told.first,
                "last": told.last,
                "entries": told.log.size,
                "unaccounted": told.unaccounted,
                "wrong": checked.wrong,
            }
        )
    for sentence in checked.wrong if not as_json else ():
        click.echo(f"WRONG  {sentence}")
    if checked.wrong:
        raise IntegrityError(
            f"{directory}: {len(checked.wrong)} things are wrong with this pack",
            hint="ask the firm what became of what is missing, and for a pack made anew",
        )
    if not checked.is_pinned or checked.signer is None:
        raise UnpinnedError(
            f"UNPINNED: {directory} is whole, but nothing here says whose signature counts",
            hint="add --allowed-signers FILE, got from the firm by another way than the pack",
        )
    if not as_json:
        click.echo(
            f"Good: the pack of {told.first:%Y-%m-%d} to"
            f" {told.last - timedelta(microseconds=1):%Y-%m-%d} is genuine,"
            f" signed by {checked.signer.principal} ({checked.signer.public_key.fingerprint})"
        )
        click.echo(
            f"It follows from {told.log.size} entries of the evidence log"
            + ("" if kept is None else ", which begins with the checkpoint that was kept")
        )


@click.command(
    name="period",
    short_help="Make a period pack for an auditor.",
    epilog="Example: strongroom report period --from 2026-01-01 --to 2026-04-01 -o first-quarter",
)
@settings_options
@reports_option
@signers_option
@database_option
@click.option(
    "--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The first day (UTC)."
)
@click.option(
    "--to", "last", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The last day (UTC)."
)
@click.option("-o", "--output", type=any_path, metavar="DIR", help="A new or empty directory.")
@click.option("--dry-run", is_flag=True, help="Say what the pack would hold, and write nothing.")
@slot_option
@json_option
def period(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    reports_directory: Path | None,
    allowed_signers: Path | None,
    database: str | None,
    first: datetime,
    last: datetime,
    output: Path | None,
    dry_run: bool,
    slot: Slot | None,
    as_json: bool,
) -> None:
    """Write what the evidence log tells of the days from --from to --to, both included.

    Every backup and restore test in the log, also those that failed or never ended; coverage,
    exceptions, trends; what was due by the logged schedules; the log itself; signed. Exit code 3
    means that the log is not whole or that nothing in it answers for a slot that was due: the
    pack is written and says so.
    """
    from datetime import UTC

    from backup import app
    from backup.cli.output import print_json
    from backup.errors import IntegrityError
    from backup.evidence.slot import answering
    from backup.journeys.period import Asked, gather, write_pack
    from backup.version import VERSION

    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        reports_directory=reports_directory,
        allowed_signers=allowed_signers,
    )
    opened = app.open_repository(settings)
    allowed = app.load_allowed_signers(settings, opened)
    now = datetime.now(UTC)
    asked = Asked(
        first=first.replace(tzinfo=UTC),
        last=last.replace(tzinfo=UTC) + timedelta(days=1),
        database=database,
    )
    found, log = gather(
        opened,
        asked,
        allowed=allowed,
        remembered=app.remembered_log(settings, opened),
        directory=app.reports_directory(settings),
        version=VERSION,
        now=now,
    )
    target = output or Path(f"period-{first:%Y-%m-%d}-{last:%Y-%m-%d}")
    if not dry_run:
        keys = app.load_writing_keys(settings, opened)
        details = write_pack(found, log, keys=keys, allowed=allowed, directory=target, now=now)
        _log_pack(app.open_log(settings, opened), found, {**details, **answering(slot)}, now)
    if as_json:
        print_json({"directory": None if dry_run else str(target), "period": found})
    else:
        tests = sum(one.kind == "restore test" for one in found.happenings)
        backups = sum(one.kind == "backup" for one in found.happenings)
        click.echo(
            f"{backups} backups, {tests} restore tests,"
            f" {len(found.exceptions)} exceptions of {len(found.databases)} databases;"
            f" {sum(one.due for one in found.schedules)} slots due,"
            f" {found.unaccounted} unaccounted for"
        )
        for limit in found.limits:
            click.echo(limit)
        if not dry_run:
            click.echo(f"Written to {target}: give it to the auditor, READ-ME-FIRST.txt says how")
    if found.log_problems:
        raise IntegrityError(
            f"the evidence log is not whole: {found.log_problems[0]}",
            hint="`strongroom log verify` names everything that is wrong",
        )
    if found.unaccounted:
        raise IntegrityError(
            f"SLOT_UNACCOUNTED: {found.unaccounted} slots were due, and no entry answers for them",
            hint="`strongroom log verify` names them; is the daemon running?",
        )


def _log_pack(
    log: EvidenceLog | None, period: Period, details: dict[str, Detail], now: datetime
) -> None:
    """Tell a log that is whole of the pack; one that is not is told nothing."""
    from backup.evidence.entry import EntryType

    if log is not None and not period.log_problems:
        log.append(EntryType.PERIOD_PUBLISHED, details, now=now)
