"""`strongroom host pki`: the certificates of servers and clients, from authorities of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup.cli.options import any_path, existing_file, identity_option, json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Any

    from backup.crypto.recipients import Identity, Recipient
    from deploy.pki import Shown

inventory_argument = click.argument("inventory", type=any_path, metavar="INVENTORY")


def _passphrase_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--passphrase-file",
        type=existing_file,
        metavar="FILE",
        help="The CA keys' passphrase, on one line; asked for on a terminal.",
    )(function)


def _client_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--client",
        "clients",
        multiple=True,
        metavar="ROLE@HOST",
        help="A client certificate for a role on a host, beside those for backups.",
    )(function)


@click.group(
    name="pki",
    short_help="Make and renew certificates: init, issue, show.",
    epilog="Example: strongroom host pki init inventories/ours.py",
)
def command() -> None:
    """Certificates for PostgreSQL over TLS, made on this machine and never on a host.

    The CA keys are age files below the inventory's site.pki_directory; no host ever gets one.
    """


@command.command(
    short_help="Make the authorities (CA) for servers and clients.",
    epilog="Example: strongroom host pki init inventories/ours.py -R recovery.txt",
)
@inventory_argument
@click.option(
    *("-R", "--recipients-file"),
    type=existing_file,
    metavar="FILE",
    help="Seal the CA keys to these recipients (age1…) instead of a passphrase.",
)
@_passphrase_option
@click.option("--next", "is_next", is_flag=True, help="Make the CAs that follow; trust both.")
@click.option("--retire", is_flag=True, help="Trust the newest CAs only.")
@click.option("--server-ca", type=existing_file, help="Trust the firm's own CA for servers.")
@click.option("--client-ca", type=existing_file, help="Trust the firm's own CA for clients.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_option
def init(
    *,
    inventory: Path,
    recipients_file: Path | None,
    passphrase_file: Path | None,
    is_next: bool,
    retire: bool,
    server_ca: Path | None,
    client_ca: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make two CAs: one vouches for servers, one for clients. Their keys stay here, sealed.

    To change them: --next, `host apply`, `pki issue`, `host apply`, then --retire and once more
    `host apply`: at no moment does a host see a certificate that it does not trust.
    """
    from datetime import UTC, datetime

    from backup.cli.output import print_json
    from deploy import pki
    from deploy.inventory import load_estate

    site = load_estate(inventory).site
    directory = site.pki_directory
    if sum((is_next, retire, bool(server_ca or client_ca))) > 1:
        raise click.UsageError("--next, --retire and the firm's own CA exclude each other")
    if (server_ca is None) != (client_ca is None):
        raise click.UsageError("--server-ca and --client-ca go together")
    if dry_run:
        click.echo(f"would write to {directory}, and change no host")
        return
    if retire:
        gone = pki.retire(directory)
        said = [f"{kind} CA {name}: no longer trusted" for kind in gone for name in gone[kind]]
        said = said or ["there was nothing to retire"]
    elif server_ca is not None and client_ca is not None:
        pki.adopt(directory, {"server": server_ca.read_bytes(), "client": client_ca.read_bytes()})
        said = [f"{directory} trusts the firm's own CAs; requests: strongroom host pki issue --csr"]
    else:
        recipients = _recipients(recipients_file, passphrase_file)
        pki.initialize(directory, site.name, recipients, now=datetime.now(UTC), is_next=is_next)
        said = [f"{directory} has a CA for servers and one for clients; the keys are sealed"]
    if as_json:
        print_json({"directory": directory, "done": said})
        return
    for sentence in said:
        click.echo(sentence)


@command.command(
    short_help="Issue the certificates that are missing, wrong or due.",
    epilog="Example: strongroom host pki issue inventories/ours.py --dry-run",
)
@inventory_argument
@_client_option
@click.option("--all", "has_all", is_flag=True, help="Also those that are not due yet.")
@click.option("--days", type=click.IntRange(1, 398), default=90, show_default=True)
@click.option("--csr", is_flag=True, help="Write requests, for a firm's own CA to sign.")
@click.option(
    "--accept",
    "accepted",
    type=existing_file,
    multiple=True,
    metavar="FILE",
    help="What the firm's CA made of a request: the certificate, then its chain.",
)
@identity_option
@_passphrase_option
@click.option("--dry-run", is_flag=True, help="Say what would be issued, and issue nothing.")
@json_option
def issue(
    *,
    inventory: Path,
    clients: tuple[str, ...],
    has_all: bool,
    days: int,
    csr: bool,
    accepted: tuple[Path, ...],
    identity: Path | None,
    passphrase_file: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Issue what the inventory's hosts need, each with a new key; `host rotate` brings it there.

    A certificate is due when less than a third of its life is left, when its names are not the
    declared ones, and when another CA than the newest signed it.
    """
    from datetime import UTC, datetime, timedelta

    from backup.cli.output import print_json
    from deploy import pki
    from deploy.inventory import load_estate

    if csr and accepted:
        raise click.UsageError("--csr writes requests, --accept takes what came of them")
    estate = load_estate(inventory)
    directory = estate.site.pki_directory
    now = datetime.now(UTC)
    leaves = pki.wanted(estate, tuple(map(_client, clients)))
    rows: list[dict[str, object]] = []
    if accepted:
        for file in accepted:
            leaf = pki.find_pending(leaves, file.read_bytes())
            made = None if dry_run else pki.accept_leaf(directory, leaf, file.read_bytes(), now=now)
            rows.append({"label": leaf.label, "file": leaf.files.certificate, "certificate": made})
    else:
        due = pki.due(directory, leaves, now=now, has_all=has_all)
        authorities: pki.Authorities = {}
        if due and not csr and not dry_run:
            authorities = pki.open_authorities(directory, identities_of(identity, passphrase_file))
        for leaf in due:
            row: dict[str, object] = {"label": leaf.label, "file": leaf.files.certificate}
            if csr and not dry_run:
                row["request"] = pki.request_leaf(leaf)
            elif not dry_run:
                row["certificate"] = pki.issue_leaf(
                    directory, leaf, authorities, now=now, lifetime=timedelta(days=days)
                )
            rows.append(row)
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("nothing is due; --all issues all the same")
    for row in rows:
        verb = "would issue" if dry_run else "wrote request" if csr else "issued"
        click.echo(f"{verb} {row['label']}: {row.get('request', row['file'])}")


@command.command(
    short_help="Show the certificates, and what is wrong with them.",
    epilog="Example: strongroom host pki show inventories/ours.py --json",
)
@inventory_argument
@_client_option
@json_option
def show(*, inventory: Path, clients: tuple[str, ...], as_json: bool) -> None:
    """Show each certificate that the inventory's hosts need: names, serial, days left.

    Exit code 2 means that one is missing, wrong or over; what is merely due is shown as due.
    """
    from datetime import UTC, datetime

    from backup.cli.output import print_json, print_table
    from backup.errors import SettingsError
    from deploy import pki
    from deploy.inventory import load_estate

    estate = load_estate(inventory)
    directory = estate.site.pki_directory
    now = datetime.now(UTC)
    shown = [
        pki.look_at(directory, leaf, now=now)
        for leaf in pki.wanted(estate, tuple(map(_client, clients)))
    ]
    if as_json:
        print_json(shown)
    else:
        print_table(
            ("CERTIFICATE", "SERIAL", "ENDS", "DAYS", "STATE"), (_row(one, now) for one in shown)
        )
    bad = [one for one in shown if one.problems]
    if bad:
        raise SettingsError(
            f"{len(bad)} of {len(shown)} certificates cannot be used: {bad[0].label}:"
            f" {bad[0].problems[0]}",
            hint=f"strongroom host pki issue {inventory}",
        )


def _row(shown: Shown, now: datetime) -> tuple[str, ...]:
    state = "; ".join(shown.problems) or ("due" if shown.is_due else "good")
    found = shown.certificate
    if found is None:
        return (shown.label, "-", "-", "-", state)
    days = (found.not_after - now).days
    return (shown.label, found.serial, f"{found.not_after:%Y-%m-%d}", str(days), state)


def _client(text: str) -> tuple[str, str]:
    role, separator, host = text.partition("@")
    if not (role and separator and host):
        raise click.UsageError(f"--client {text}: it is written ROLE@HOST")
    return role, host


def _recipients(file: Path | None, passphrase_file: Path | None) -> Sequence[Recipient]:
    from backup.crypto.passphrase import PassphraseRecipient
    from backup.crypto.recipients import parse_recipient

    if file is not None:
        if passphrase_file is not None:
            raise click.UsageError("--recipients-file takes the place of a passphrase")
        lines = map(str.strip, file.read_text(encoding="utf-8").splitlines())
        return [parse_recipient(line) for line in lines if line and not line.startswith("#")]
    return [PassphraseRecipient(passphrase=_passphrase(passphrase_file, is_new=True))]


def identities_of(file: Path | None, passphrase_file: Path | None) -> Sequence[Identity]:
    """Return what opens the CA keys: an identity file, or a passphrase."""
    from backup import app
    from backup.crypto.passphrase import PassphraseIdentity

    if file is not None:
        return app.load_identities(file)
    return [PassphraseIdentity(passphrase=_passphrase(passphrase_file, is_new=False))]


def _passphrase(file: Path | None, *, is_new: bool) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").removesuffix("\n")
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the passphrase: add --passphrase-file FILE")
    text: str = click.prompt(
        "Passphrase of the CA keys", hide_input=True, confirmation_prompt=is_new, err=True
    )
    return text
