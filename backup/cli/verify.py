"""`strongroom verify`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import (
    database_option,
    from_option,
    identity_option,
    json_option,
    load_settings,
    settings_options,
    signers_option,
    slot_option,
)

if TYPE_CHECKING:
    from backup.evidence.slot import Slot
    from backup.journeys.audit import Heard


@click.command(
    name="verify",
    short_help="Verify backups: read all that they refer to.",
    epilog="Example: strongroom verify --all --identity identity.txt",
)
@click.argument("backup", required=False)
@click.option("--all", "every", is_flag=True, help="All backups there are.")
@click.option(
    "--within",
    "days",
    type=click.IntRange(1, 3650),
    metavar="DAYS",
    help="With --all: only the share that is due, so that daily runs read each chunk in DAYS days.",
)
@settings_options
@database_option
@from_option
@signers_option
@identity_option
@click.option("-j", "--jobs", type=int, help="Objects to read at once.")
@slot_option
@json_option
def command(
    *,
    backup: str | None,
    every: bool,
    days: int | None,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    database: str | None,
    from_copy: str | None,
    allowed_signers: Path | None,
    identity: Path | None,
    jobs: int | None,
    slot: Slot | None,
    as_json: bool,
) -> None:
    """Verify a backup (an id or `latest`), or --all: read everything that it refers to.

    Without an identity: signatures, lists, and the SHA-256 of every object. With one: every
    chunk is decrypted, authenticated and compared with its id as well. Exit code 3 means damage,
    11 that nothing on this host vouches for the signer. The evidence log must be whole too, and
    tell of each backup; `strongroom log verify` asks more of it.
    """
    from backup import app
    from backup.cli.output import print_json, size, watch
    from backup.damaged import DamagedObjects
    from backup.errors import IntegrityError, StrongroomError, UnpinnedError
    from backup.holders import Holders
    from backup.journeys.audit import hear
    from backup.journeys.verify import due_share, record, verify
    from backup.leases import reading

    if every == (backup is not None):
        raise click.UsageError("name a backup, `latest`, or --all")
    if days is not None and (not every or database is not None):
        raise click.UsageError("--within goes with --all, and not with --database")
    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        allowed_signers=allowed_signers,
        identity=identity,
        jobs=jobs,
    )
    opened = app.open_repository(settings, from_copy)
    keys = opened.backups(database) if backup is None else [opened.find(backup, database)]
    identities = () if settings.identity is None else app.load_identities(settings.identity)
    log, unheard = app.open_log(settings, opened), None
    # Backups refer to what is in the repository itself, not to what is in a copy of it.
    damaged = DamagedObjects(settings.state_directory, opened.id) if from_copy is None else None
    share = None if days is None else due_share(log, days, now=datetime.now(UTC))
    with (
        watch() as progress,
        reading(
            opened.store,
            "verify",
            keys,
            clock=lambda: datetime.now(UTC),
            holders=Holders(settings.state_directory),
        ),
    ):
        allowed = app.load_allowed_signers(settings, opened)
        found = verify(
            opened,
            keys,
            allowed,
            identities=identities,
            share=share,
            damaged=damaged,
            jobs=settings.jobs,
            progress=progress,
        )
    # A copy has the log of its home elsewhere; without pins nobody knows whose it may be.
    heard = None
    if allowed is not None and from_copy is None:
        heard = hear(opened, keys, allowed, app.remembered_log(settings, opened))
    try:
        if log is not None:
            record(found, log, now=datetime.now(UTC), slot=slot)
    except StrongroomError as error:  # what was found comes first
        unheard = error
    if as_json:
        is_logged = log is not None and unheard is None
        is_good = found.is_good and not (heard and heard.wrong)
        print_json({"is_good": is_good, "is_logged": is_logged, "result": found, "log": heard})
    for damage in found.damages if not as_json else ():
        click.echo(f"DAMAGED  {damage.what}  (backups: {', '.join(damage.backups)})")
    if found.damages:
        raise IntegrityError(
            f"{len(found.damages)} things are wrong in {opened.store.address}",
            hint="docs/runbooks/damaged-repository.md: what to move away, and what comes back",
        )
    _require_sound(heard, opened.store.address, as_json=as_json)
    if found.unpinned:
        raise UnpinnedError(
            f"UNPINNED: nothing here says whose signatures count for {', '.join(found.unpinned)}",
            hint="add --allowed-signers FILE, the line that `strongroom init` printed",
        )
    if unheard is not None:
        raise unheard
    if not as_json:
        depth = "decrypted and authenticated" if found.is_decrypted else "compared by SHA-256"
        part = "" if share is None else f" of {found.all_objects} (the share that is due)"
        click.echo(
            f"Good: {len(found.backups)} backups, {found.objects} objects{part}, "
            f"{size(found.object_bytes)} {depth}"
        )
        for id_ in heard.untold if heard is not None else ():
            click.echo(f"The evidence log does not tell yet of {id_}: the next backup does")


def _require_sound(heard: Heard | None, address: str, *, as_json: bool) -> None:
    from backup.errors import IntegrityError

    if heard is None or not heard.wrong:
        return
    for sentence in heard.wrong if not as_json else ():
        click.echo(f"WRONG  evidence log: {sentence}")
    raise IntegrityError(
        f"what is stored is whole, but the evidence log of {address} is not right:"
        f" {heard.wrong[0]}",
        hint="`strongroom log verify` names everything; find out who wrote to the store",
    )
