"""`strongroom inspect`."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO

import click

from backup.cli.options import json_option

if TYPE_CHECKING:
    from backup.crypto.age import AgeFile


@click.command(
    name="inspect",
    short_help="Tell what an age file is, without any key.",
    epilog="Example: strongroom inspect chunk-key.age",
)
@click.argument("file", type=click.File("rb"))
@json_option
def command(*, file: BinaryIO, as_json: bool) -> None:
    """Tell what an age file is, without any key: recipients' kinds and sizes.

    FILE may be armored; - is standard input. Nothing that is told here has been authenticated:
    `strongroom verify --identity` does that.
    """
    from backup.cli.output import print_json
    from backup.crypto.age import inspect

    found = inspect(file, size_bytes=_size_of(file))
    if as_json:
        print_json(_as_json(found))
    else:
        _print(getattr(file, "name", "<stdin>"), found)


def _size_of(file: BinaryIO) -> int | None:
    """The size of a regular file that is read from its beginning; None for anything else."""
    try:
        status = os.fstat(file.fileno())
        is_at_start = stat.S_ISREG(status.st_mode) and file.tell() == 0
    except OSError:
        return None
    return status.st_size if is_at_start else None


def _quantum_word(found: AgeFile) -> str:
    return {True: "yes", False: "no", None: "unknown"}[found.is_post_quantum]


def _as_json(found: AgeFile) -> dict[str, object]:
    # The names are age-inspect's own where the meaning is the same.
    return {
        "version": found.version,
        "postquantum": _quantum_word(found),
        "armor": found.is_armored,
        "stanza_types": found.stanza_kinds,
        "sizes": {
            "header": found.header_bytes,
            "armor": found.armor_bytes,
            "overhead": found.overhead_bytes,
            "payload": found.payload_bytes,
        },
        "chunks": found.chunk_count,
    }


def _print(name: str, found: AgeFile) -> None:
    kinds = ", ".join(
        f"{found.stanza_kinds.count(kind)} x {kind}" for kind in dict.fromkeys(found.stanza_kinds)
    )
    click.echo(f"{name}: an age file, {found.version}")
    click.echo(f"  sealed to     {kinds}")
    click.echo(f"  post-quantum  {_quantum_word(found)}")
    click.echo(f"  armored       {'yes' if found.is_armored else 'no'}")
    click.echo(
        f"  payload       {found.payload_bytes} bytes, chunks of 64 KiB: {found.chunk_count}"
    )
    click.echo(f"  header        {found.header_bytes} bytes")
    click.echo(f"  overhead      {found.overhead_bytes} bytes, and armor {found.armor_bytes} bytes")
