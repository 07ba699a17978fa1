"""`strongroom log`: the evidence log, shown, verified and proven."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from backup.cli.logreview import review
from backup.cli.logtimestamp import timestamp
from backup.cli.options import (
    any_path,
    existing_file,
    json_option,
    load_settings,
    settings_options,
    signers_option,
)


@click.group(
    name="log",
    short_help="The evidence log: show, verify, prove, timestamp.",
    epilog="Example: strongroom log verify",
)
def command() -> None:
    """What was done to the backups, when, in a log that cannot be changed without a trace."""


command.add_command(timestamp)
command.add_command(review)


@command.command(
    short_help="Show the entries.",
    epilog="Example: strongroom log show --type backup.finished --since 2026-01-01",
)
@settings_options
@click.option("--type", "kind", metavar="TYPE", help="Only entries of this type.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Only from this day on (UTC).")
@json_option
def show(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    kind: str | None,
    since: datetime | None,
    as_json: bool,
) -> None:
    """Show what the log holds, oldest first. It is not verified: see `log verify`."""
    from datetime import UTC

    from backup import app
    from backup.cli.output import local, print_json, print_table
    from backup.evidence.entry import EntryType
    from backup.evidence.log import read_log

    if kind is not None and kind not in set(EntryType):
        raise click.UsageError(f"{kind} is no type of entry: {', '.join(EntryType)}")
    settings = load_settings(config, repository=repository, state_directory=state_directory)
    entries = [
        entry
        for entry in read_log(app.open_repository(settings).store).entries()
        if (kind is None or entry.type == kind)
        and (since is None or entry.ts >= since.replace(tzinfo=UTC))
    ]
    if as_json:
        print_json(entries)
        return
    print_table(
        ("entry", "time", "type", "details"),
        (
            (
                str(entry.seq),
                local(entry.ts),
                entry.type.value,
                " ".join(f"{name}={value}" for name, value in sorted(entry.details.items())),
            )
            for entry in entries
        ),
    )


@command.command(
    short_help="Verify the whole log.",
    epilog="Example: strongroom log verify --allowed-signers allowed_signers",
)
@settings_options
@signers_option
@click.option(
    "--authority",
    type=any_path,
    metavar="FILE",
    help="Root of the time-stamp authority, PEM: every time stamp must be by it.",
)
@click.option(
    "--earlier",
    type=existing_file,
    metavar="FILE",
    help="A checkpoint that you kept: the log must begin with what it is over.",
)
@json_option
def verify(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    allowed_signers: Path | None,
    authority: Path | None,
    earlier: Path | None,
    as_json: bool,
) -> None:
    """Verify every entry, every checkpoint, and that the log and the backups agree.

    What this host has seen of the log and what each manifest says of it must still hold, so a
    log that was cut short or written anew is found; every slot that a logged schedule promised
    must be answered for. Exit code 3 means that something is wrong, 11 that nothing here says
    whose log it may be.
    """
    from datetime import UTC

    from backup import app
    from backup.cli.logtimestamp import read_authorities
    from backup.cli.output import local, print_json
    from backup.errors import IntegrityError
    from backup.evidence.proof import kept_claim
    from backup.journeys.audit import audit

    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        allowed_signers=allowed_signers,
    )
    opened = app.open_repository(settings)
    allowed = app.load_allowed_signers(settings, opened)
    claims = list(app.remembered_log(settings, opened))
    if earlier is not None and allowed is not None:
        keys = [signer.public_key for signer in allowed.signers]
        claims.append(kept_claim(earlier.read_bytes(), opened.id, keys))
    found = audit(
        opened,
        allowed,
        claims,
        authorities=None if authority is None else read_authorities(authority),
        now=datetime.now(UTC),
    )
    if as_json:
        print_json({"is_good": found.is_good, "result": found})
    for sentence in found.wrong if not as_json else ():
        click.echo(f"WRONG  {sentence}")
    if found.wrong:
        raise IntegrityError(
            f"{len(found.wrong)} things are wrong with the evidence log of {opened.store.address}",
            hint="find out who could write to the store; nothing that it says is evidence",
        )
    if not as_json:
        click.echo(
            f"Good: {found.entries} entries and {found.checkpoints} checkpoints agree with"
            f" {found.backups} backups"
        )
        if found.stamps:
            newest = found.stamps[-1]
            whose = "verified" if newest.is_verified else "not verified: add --authority FILE"
            click.echo(
                f"An authority says that the first {newest.size} entries existed at"
                f" {local(newest.time)} ({whose})"
            )


@command.command(
    short_help="Prove that an entry is in the log, or that it only grew.",
    epilog="Example: strongroom log prove 42 -o entry-42.proof.json",
)
@settings_options
@signers_option
@click.argument("seq", type=click.IntRange(0), required=False)
@click.option(
    "--earlier",
    type=existing_file,
    metavar="FILE",
    help="A checkpoint that was kept: prove that the log begins with what it is over.",
)
@click.option("-o", "--output", type=any_path, help="Write the proof here; it must not exist.")
def prove(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    allowed_signers: Path | None,
    seq: int | None,
    earlier: Path | None,
    output: Path | None,
) -> None:
    """Write the proof that entry SEQ is under the newest checkpoint, for an auditor to keep.

    With --earlier: that the log under the newest checkpoint begins with the log of an earlier one
    (RFC 6962, section 2.1.2), so that nothing that was in it then was changed or left out.
    """
    from backup import app
    from backup.cli.output import write_output
    from backup.errors import UnpinnedError
    from backup.evidence.log import read_log
    from backup.evidence.proof import encode_proof, kept_claim, prove_consistency
    from backup.evidence.proof import prove as prove_entry

    if (seq is None) == (earlier is None):
        raise click.UsageError("name an entry, or --earlier FILE")
    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        allowed_signers=allowed_signers,
    )
    opened = app.open_repository(settings)
    log = read_log(opened.store)
    if seq is not None:
        proof = encode_proof(prove_entry(log, opened.id, seq)).decode()
    else:
        assert earlier is not None
        allowed = app.load_allowed_signers(settings, opened)
        if allowed is None:
            raise UnpinnedError(
                "UNPINNED: nothing here says whose checkpoints count",
                hint="add --allowed-signers FILE, the line that `strongroom init` printed",
            )
        note = earlier.read_bytes()
        claim = kept_claim(note, opened.id, [signer.public_key for signer in allowed.signers])
        proof = prove_consistency(log, opened.id, claim, note).decode()
    if output is None:
        click.echo(proof)
        return
    write_output(output, proof.encode())
