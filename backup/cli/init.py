"""`strongroom init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import any_path, json_option, load_settings, settings_options

if TYPE_CHECKING:
    from backup.journeys.initialize import Initialized
    from backup.repository.chunking import ChunkSizes


@click.command(
    name="init",
    short_help="Make a new repository, and this host's keys for it.",
    epilog="Example: strongroom init --repository /srv/backups --recipient age1…",
)
@settings_options
@click.option(
    "-r",
    "--recipient",
    "recipients",
    multiple=True,
    metavar="age1…",
    help="Public key that backups are encrypted to; repeat it for several.",
)
@click.option(
    "-R",
    "--recipients-file",
    "files",
    multiple=True,
    type=any_path,
    help="File of public keys, one a line.",
)
@click.option(
    "--chunk-sizes",
    metavar="MIN,AVG,MAX",
    help="Chunk sizes in KiB, fixed for the repository's life.  [default: 128,512,2048]",
)
@click.option(
    "--principal", help="The name that signatures are made under.  [default: strongroom@HOST]"
)
@json_option
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    recipients: tuple[str, ...],
    files: tuple[Path, ...],
    chunk_sizes: str | None,
    principal: str | None,
    as_json: bool,
) -> None:
    """Make a new repository, and this host's keys for it.

    The host gets public keys, a chunk key and a signing key: it can write backups and cannot
    read them. If there is no settings file yet, one is written that names the repository.
    """
    import os
    import platform
    from datetime import UTC, datetime

    from backup import app
    from backup.errors import SettingsError
    from backup.journeys.initialize import initialize
    from backup.version import VERSION

    settings = load_settings(
        config, config_may_be_missing=True, repository=repository, state_directory=state_directory
    )
    store = app.open_store(settings)
    made = initialize(
        store,
        app.parse_recipients(recipients, files),
        sizes=_sizes(chunk_sizes),
        state_directory=settings.state_directory,
        principal=principal or f"strongroom@{platform.node() or 'localhost'}",
        now=datetime.now(UTC).replace(microsecond=0),
        random=os.urandom,
        version=VERSION,
    )
    try:
        written = app.remember_repository(config, store.address)
    except SettingsError:
        _print(made, as_json=as_json, written=None)  # the repository is there, whatever is not
        raise
    _print(made, as_json=as_json, written=written)


def _print(made: Initialized, *, as_json: bool, written: Path | None) -> None:
    from backup.cli.output import print_json

    if as_json:
        print_json(made)
        return
    click.echo(f"Repository {made.repository_id} is ready in {made.address}")
    click.echo(f"This host's keys are in {made.keys_directory}: they cannot decrypt anything.")
    if written is not None:
        click.echo(f"Settings were written to {written}")
    click.echo("Keep this line beside your identity; who has it can tell real backups from forged:")
    click.echo(f"  {made.allowed_signers}")
    click.echo("Next: DATABASE_URL=postgresql://… strongroom backup")


def _sizes(text: str | None) -> ChunkSizes:
    from backup.errors import SettingsError
    from backup.repository.chunking import DEFAULT_CHUNK_SIZES, KIB, ChunkSizes

    if text is None:
        return DEFAULT_CHUNK_SIZES
    try:
        minimum, average, maximum = (int(number) * KIB for number in text.split(","))
    except ValueError:
        raise SettingsError(
            f"--chunk-sizes {text}: not three whole numbers", hint="for example 128,512,2048"
        ) from None
    return ChunkSizes(minimum=minimum, average=average, maximum=maximum)
