"""`strongroom show`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from backup.cli.options import (
    database_option,
    identity_option,
    json_option,
    load_settings,
    settings_options,
    signers_option,
)


@click.command(
    name="show", short_help="Show one backup.", epilog="Example: strongroom show latest --json"
)
@click.argument("backup", default="latest")
@settings_options
@database_option
@signers_option
@identity_option
@json_option
def command(
    *,
    backup: str,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    allowed_signers: Path | None,
    identity: Path | None,
    as_json: bool,
) -> None:
    """Show one backup: BACKUP is an id, or `latest`.

    With an identity also what is private: tables and their row counts, roles, extensions.
    """
    from backup import app
    from backup.cli.output import local, print_json, print_table, size
    from backup.evidence.render.words import visible
    from backup.repository.pins import read_pins

    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        allowed_signers=allowed_signers,
        identity=identity,
    )
    opened = app.open_repository(settings)
    key = opened.find(backup, database)
    signed = opened.manifest(key, app.load_allowed_signers(settings, opened))
    pinned = read_pins(opened.store).get(key)
    manifest = signed.manifest
    catalog = (
        None
        if settings.identity is None
        else opened.catalog(manifest, app.load_identities(settings.identity))
    )
    if as_json:
        print_json(
            {
                "manifest": asdict(manifest),
                "manifest_sha256": signed.sha256,
                "pinned": pinned,
                "signed_by": signed.signer.principal,
                "signing_key": signed.signer.public_key.fingerprint,
                "catalog": None if catalog is None else asdict(catalog),
            }
        )
        return
    click.echo(f"Backup     {manifest.backup_id} of {manifest.database_name}")
    click.echo(f"Snapshot   {local(manifest.snapshot_time)}, LSN {manifest.lsn}")
    click.echo(f"Server     {manifest.server_version}")
    click.echo(f"Written by {manifest.written_by}, {manifest.tool_version}")
    click.echo(f"Signed by  {signed.signer.principal or 'UNPINNED: no pin vouches for this key'}")
    click.echo(f"           {signed.signer.public_key.fingerprint}")
    click.echo(f"Recipients {', '.join(manifest.recipients)}")
    if pinned is not None:
        click.echo(f"Pinned     {visible(pinned)}")
    for warning in manifest.warnings:
        click.echo(f"Warning    {warning}")
    print_table(
        ("PART", "CHUNKS", "DUMPED", "STORED", "NEW"),
        (
            (
                part.name,
                str(part.chunks),
                size(part.plain_bytes),
                size(part.stored_bytes),
                size(part.new_bytes),
            )
            for part in manifest.parts
        ),
    )
    if catalog is not None:
        print_table(
            ("RELATION", "KIND", "ROWS"),
            (
                (f"{one.schema}.{one.name}", one.kind, "-" if one.rows is None else str(one.rows))
                for one in catalog.relations
            ),
        )
