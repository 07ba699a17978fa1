"""`strongroom log timestamp`: independent time for the log, carried by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import any_path, json_option, load_settings, settings_options

if TYPE_CHECKING:
    from backup.crypto.timestamp import Certificate


@click.group(
    name="timestamp",
    short_help="Have an authority say when the log existed (RFC 3161).",
    epilog="Example: strongroom log timestamp request -o query.tsq",
)
def timestamp() -> None:
    """Carry the newest checkpoint to a time-stamp authority, and its reply back.

    This program calls nobody. Between the two steps, send the query to the authority of your
    choice from any machine: `curl -H 'Content-Type: application/timestamp-query'
    --data-binary @query.tsq -o reply.tsr URL`.
    """


@timestamp.command(
    short_help="Write the query over the newest checkpoint.",
    epilog="Example: strongroom log timestamp request -o query.tsq",
)
@settings_options
@click.option(
    "-o", "--output", type=any_path, required=True, help="Write it here; it must not exist."
)
@json_option
def request(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Write a query over the newest checkpoint. It holds a SHA-256 and nothing else."""
    from backup import app
    from backup.cli.output import print_json, write_output
    from backup.evidence.timestamp import ask

    settings = load_settings(config, repository=repository, state_directory=state_directory)
    query = ask(app.open_repository(settings).store)
    write_output(output, query.data)
    if as_json:
        print_json({"checkpoint": query.size, "query": str(output)})
        return
    click.echo(f"Query over the checkpoint of {query.size} entries: {output}")


@timestamp.command(
    name="import",
    short_help="Verify the reply and store it beside its checkpoint.",
    epilog="Example: strongroom log timestamp import reply.tsr --certificate authority-root.pem",
)
@settings_options
@click.argument("reply", type=any_path)
@click.option(
    "--certificate",
    type=any_path,
    required=True,
    help="The authority's root, PEM; got from the authority, not from the reply.",
)
@json_option
def import_reply(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    reply: Path,
    certificate: Path,
    as_json: bool,
) -> None:
    """Store REPLY beside the checkpoint that it is over, if the authority stands behind it."""
    from backup import app
    from backup.cli.output import local, print_json
    from backup.errors import SettingsError
    from backup.evidence.timestamp import accept

    settings = load_settings(config, repository=repository, state_directory=state_directory)
    try:
        data = reply.read_bytes()
    except OSError as error:
        raise SettingsError(f"reading {reply}: {error.strerror or error}") from error
    authorities = read_authorities(certificate)
    stamped = accept(app.open_repository(settings).store, data, authorities)
    if as_json:
        print_json(stamped)
        return
    click.echo(f"The first {stamped.size} entries existed at {local(stamped.time)}")


def read_authorities(path: Path) -> tuple[Certificate, ...]:
    """Return the roots of authorities in a file. Raises `SettingsError`."""
    from backup.crypto.timestamp import parse_authorities
    from backup.errors import SettingsError

    try:
        return parse_authorities(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"reading {path}: {error.strerror or error}") from error
