"""`strongroom store`: what concerns the bucket itself."""

from __future__ import annotations

from pathlib import Path

import click

from backup.cli.options import load_settings, settings_options


@click.group(
    name="store",
    short_help="The rights that a bucket has to give.",
    epilog="Example: strongroom store policy --role writer --principal arn:aws:iam::…:user/backup",
)
def command() -> None:
    """What concerns the bucket itself."""


@command.command(
    name="policy",
    short_help="Print a least-privilege bucket policy.",
    epilog="Example: strongroom store policy --role writer --principal"
    " arn:aws:iam::123456789012:user/strongroom > policy.json",
)
@settings_options
@click.option(
    "--role",
    type=click.Choice(["writer", "reader", "pruner", "keeper"]),
    required=True,
    help="writer: the backup host; reader: who restores and tests; pruner: who may delete;"
    " keeper: who pins, and lifts the holds of pins.",
)
@click.option("--principal", required=True, metavar="ARN", help="The user that gets the rights.")
def policy(
    *,
    config: Path | None,
    repository: str | None,
    state_directory: Path | None,
    role: str,
    principal: str,
) -> None:
    """Print the bucket policy (JSON) that gives a user the rights of one role, and no more.

    A writer can put, list and get, and can neither delete a backup nor lift a lock. Put the
    statements of all your users into one policy: a bucket has only one.
    """
    from backup.errors import SettingsError
    from backup.policies import ROLES
    from backup.policies import policy as policy_of
    from backup.repository.stores.s3options import S3Address

    settings = load_settings(config, repository=repository, state_directory=state_directory)
    if settings.repository is None:
        raise SettingsError(
            "no repository is named", hint="add --repository s3://bucket/prefix, or set it"
        )
    found = next(one for one in ROLES if one == role)
    address = S3Address.parse(settings.repository)
    click.echo(policy_of(found, address, principal=principal, profile=settings.s3.profile))
