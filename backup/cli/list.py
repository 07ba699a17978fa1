"""`strongroom list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backup.cli.options import (
    database_option,
    from_option,
    json_option,
    load_settings,
    settings_options,
    signers_option,
)


@click.command(
    name="list",
    short_help="List the backups.",
    epilog="Example: strongroom list --repository /srv/backups",
)
@settings_options
@database_option
@from_option
@signers_option
@json_option
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    from_copy: str | None,
    allowed_signers: Path | None,
    as_json: bool,
) -> None:
    """List the backups, oldest first.

    A backup whose manifest can't be trusted is listed with what is wrong, and the exit code is 3.
    """
    from backup import app
    from backup.cli.output import local, print_json, print_table, size
    from backup.errors import StrongroomError
    from backup.evidence.render.words import visible
    from backup.repository.pins import read_pins

    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        allowed_signers=allowed_signers,
    )
    opened = app.open_repository(settings, from_copy)
    allowed = app.load_allowed_signers(settings, opened)
    pins = read_pins(opened.store)
    rows: list[dict[str, Any]] = []
    for key in opened.backups(database):
        row: dict[str, Any] = {
            "backup_id": key.id.text,
            "database": key.database,
            "pinned": pins.get(key),
        }
        try:
            signed = opened.manifest(key, allowed)
        except StrongroomError as error:
            rows.append({**row, "status": "damaged", "problem": error.message})
            continue
        manifest = signed.manifest
        rows.append(
            {
                **row,
                "status": "unpinned" if signed.signer.principal is None else "signed",
                "snapshot_time": manifest.snapshot_time,
                "plain_bytes": manifest.plain_bytes,
                "stored_bytes": manifest.stored_bytes,
                "new_bytes": manifest.new_bytes,
                "warnings": manifest.warnings,
            }
        )
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("no backups", err=True)
    else:
        print_table(
            ("BACKUP", "DATABASE", "SNAPSHOT", "DUMPED", "STORED", "NEW", "SIGNATURE", "PINNED"),
            (
                (
                    row["backup_id"],
                    row["database"],
                    local(row["snapshot_time"]) if "snapshot_time" in row else "-",
                    *(
                        size(row[name]) if name in row else "-"
                        for name in ("plain_bytes", "stored_bytes", "new_bytes")
                    ),
                    row.get("problem", row["status"]),
                    visible(row["pinned"] or ""),
                )
                for row in rows
            ),
        )
    if any(row["status"] == "damaged" for row in rows):
        raise click.exceptions.Exit(3)
