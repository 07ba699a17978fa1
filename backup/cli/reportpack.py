"""`strongroom report verify DIRECTORY`: a period pack."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from backup.settings import Settings


def verify_pack(
    settings: Settings, directory: Path, earlier: Path | None, *, as_json: bool
) -> None:
    """Say whether a pack is genuine and whole; raise `IntegrityError` or `UnpinnedError` if not."""
    from backup import app
    from backup.cli.output import print_json
    from backup.errors import IntegrityError, UnpinnedError
    from backup.evidence.packcheck import check_pack
    from backup.journeys.period import read_pack

    members = read_pack(directory)
    kept = None if earlier is None else earlier.read_bytes()
    repository_id = check_pack(members, None).period.repository_id
    checked = check_pack(members, app.pinned_signers(settings, repository_id), earlier=kept)
    period = checked.period
    is_good = checked.is_pinned and not checked.wrong
    if as_json:
        print_json(
            {
                "is_good": is_good,
                "first": period.first,
                "last": period.last,
                "entries": period.log.size,
                "unaccounted": period.unaccounted,
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
            f"Good: the pack of {period.first:%Y-%m-%d} to"
            f" {period.last - timedelta(microseconds=1):%Y-%m-%d} is genuine,"
            f" signed by {checked.signer.principal} ({checked.signer.public_key.fingerprint})"
        )
        click.echo(
            f"It follows from {period.log.size} entries of the evidence log"
            + ("" if kept is None else ", which begins with the checkpoint that was kept")
        )
