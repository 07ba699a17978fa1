"""`strongroom doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import identity_option, json_option, load_settings, settings_options

if TYPE_CHECKING:
    from backup.journeys.check import Check
    from backup.settings import Settings
    from backup.storesettings import GivenCopy


@click.command(
    name="doctor",
    short_help="Check that the next backup would work.",
    epilog="Example: DATABASE_URL=postgresql://backup@db1/app strongroom doctor",
)
@settings_options
@click.option("--dsn", metavar="URL", help="Database that would be backed up.")
@identity_option
@json_option
def command(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    dsn: str | None,
    identity: Path | None,
    as_json: bool,
) -> None:
    """Check that the next backup would work and be whole: store, keys, server, rights, tools.

    With [databases] in the settings, each of them is asked. The exit code is 1 if anything is bad.
    """
    import os
    from dataclasses import replace
    from datetime import UTC, datetime

    from backup import app
    from backup.cli import interruptible
    from backup.cli.output import print_json
    from backup.errors import StrongroomError
    from backup.journeys.check import Check
    from backup.journeys.doctor import check_database, check_repository

    settings = load_settings(
        config,
        repository=repository,
        state_directory=state_directory,
        dsn=dsn,
        identity=identity,
    )
    checks: list[Check] = []
    try:
        opened = app.open_repository(settings)
        checks += check_repository(
            opened,
            lambda: app.load_writing_keys(settings, opened),
            lambda: app.load_allowed_signers(settings, opened),
            () if settings.identity is None else app.load_identities(settings.identity),
            os.urandom,
        )
    except StrongroomError as error:
        checks.append(
            Check(name="repository", status="bad", observed=error.message, hint=error.hint)
        )
    for name in sorted(settings.databases) or (None,):
        label = "" if name is None else f"{name}: "
        checks += [replace(check, name=f"{label}{check.name}") for check in _locks(settings, name)]
        try:
            source = app.backup_source(settings.selected(name))
            asked = check_database(source.dsn, settings, lambda: datetime.now(UTC))
            found = interruptible.run(asked)
        except StrongroomError as error:
            found = [Check(name="database", status="bad", observed=error.message, hint=error.hint)]
        checks += [replace(check, name=f"{label}{check.name}") for check in found]
    checks += _copies(settings)
    is_bad = any(check.status == "bad" for check in checks)
    if as_json:
        print_json({"is_good": not is_bad, "checks": checks})
    else:
        for check in checks:
            click.echo(f"{check.status:8} {check.name}: {check.observed}")
            if check.hint:
                click.echo(f"         hint: {check.hint}")
    if is_bad:
        raise click.exceptions.Exit(1)


def _copies(settings: Settings) -> list[Check]:
    """Return what is so of each copy: its bucket, until when it locks, whether it is pruned."""
    import os
    from dataclasses import replace

    from backup import app
    from backup.errors import StrongroomError
    from backup.journeys.check import Check
    from backup.journeys.doctor import check_bucket

    checks: list[Check] = []
    for one in settings.copies:
        own = [
            Check(
                name="retention",
                status="good",
                observed="its own: `copy --prune` and `prune --copy` delete by it"
                if one.retention is not None
                else "none: nothing is ever deleted from this copy, whatever `prune` does at home",
            )
        ]
        try:
            own.append(_place(settings, one))
            own += check_bucket(app.open_copy(settings, one), os.urandom)
        except StrongroomError as error:
            own.append(Check(name="store", status="bad", observed=error.message, hint=error.hint))
        for name in sorted(settings.databases) or (None,):
            label = "" if name is None else f"{name}: "
            locks = _locks(settings, name, one)
            own += [replace(check, name=f"{label}{check.name}") for check in locks]
        checks += [replace(check, name=f"copy {one.name}: {check.name}") for check in own]
    return checks


def _place(settings: Settings, copy: GivenCopy) -> Check:
    """Return what is there. Raises `StrongroomError`, above all where another repository is."""
    from backup import app
    from backup.errors import NotFoundError
    from backup.journeys.check import Check

    try:
        found = f"a copy of repository {app.open_repository(settings, copy.name).id}"
    except NotFoundError:
        found = "nothing yet: `strongroom copy` begins it"
    return Check(name="place", status="good", observed=found)


def _locks(settings: Settings, name: str | None, copy: GivenCopy | None = None) -> list[Check]:
    """Return until when a backup of a database would be locked, if the policy says so."""
    from datetime import UTC, datetime

    from backup import app, lockrules
    from backup.errors import StrongroomError
    from backup.journeys.locks import lock_check

    database = name or settings.name or ""
    rule = lockrules.lock_rule(settings, database, copy)
    if rule is None:
        return []
    try:
        backups = app.open_repository(settings).backups(database) if database else []
    except StrongroomError:  # said already
        return []
    return [lock_check(backups, database or "-", rule, datetime.now(UTC))]
