"""`strongroom keygen`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from backup.cli.options import any_path, json_option

if TYPE_CHECKING:
    from backup.crypto.recipients import KeyPair


@click.command(
    name="keygen",
    short_help="Make an identity, which opens backups, or a signing key.",
    epilog="Example: strongroom keygen -o identity.txt",
)
@click.option("-o", "--output", type=any_path, metavar="FILE", help="Write the secret here.")
@click.option("--pq", "is_post_quantum", is_flag=True, help="Make a post-quantum identity.")
@click.option(
    "--signing",
    "is_signing",
    is_flag=True,
    help="Make an Ed25519 signing key in OpenSSH form: FILE and FILE.pub.",
)
@click.option("--comment", default="", help="What the signing key's public line ends with.")
@click.option(
    "-y",
    "--convert",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="Print the recipients of an identity file (- for standard input).",
)
@json_option
def command(
    *,
    output: Path | None,
    is_post_quantum: bool,
    is_signing: bool,
    comment: str,
    convert: TextIO | None,
    as_json: bool,
) -> None:
    """Make an age identity, which opens backups, and print its recipient, which seals them.

    The identity is all that is needed to read every backup that is sealed to it: keep it away
    from the host that makes the backups. age and age-keygen read and write the same files.
    An identity made with --pq needs age 1.3 or later, and one repository can't mix both kinds.
    """
    if convert is not None:
        if output is not None or is_post_quantum or is_signing:
            raise click.UsageError("--convert only reads: it goes with no other option but --json")
        _convert(convert, as_json=as_json)
    elif is_signing:
        if output is None or is_post_quantum:
            raise click.UsageError("--signing needs --output FILE, and has no --pq")
        _make_signing_key(output, comment, as_json=as_json)
    else:
        if comment:
            raise click.UsageError("--comment goes with --signing only")
        if as_json and output is None:
            raise click.UsageError("--json needs --output FILE: JSON never holds an identity")
        _make_identity(output, is_post_quantum=is_post_quantum, as_json=as_json)


def _make_identity(output: Path | None, *, is_post_quantum: bool, as_json: bool) -> None:
    from backup.cli.output import print_json
    from backup.crypto.recipients import HybridIdentity, X25519Identity

    identity: KeyPair = HybridIdentity.generate() if is_post_quantum else X25519Identity.generate()
    text = _identity_file(identity, created=datetime.now(UTC))
    recipient = identity.recipient
    if output is None:
        click.echo(text, nl=False)
        click.echo(f"Public key: {recipient.text}", err=True)
        return
    _write_new(output, text, mode=0o600)
    if as_json:
        print_json(
            {
                "identity_file": output,
                "recipient": recipient.text,
                "fingerprint": recipient.fingerprint,
                "is_post_quantum": is_post_quantum,
            }
        )
    else:
        click.echo(f"Public key: {recipient.text}")


def _identity_file(identity: KeyPair, *, created: datetime) -> str:
    return (
        f"# created: {created:%Y-%m-%dT%H:%M:%SZ}\n"
        f"# public key: {identity.recipient.text}\n"
        f"{identity.text}\n"
    )


def _convert(file: TextIO, *, as_json: bool) -> None:
    from backup.cli.output import print_json
    from backup.crypto.recipients import parse_identities
    from backup.errors import SettingsError

    try:
        text = file.read()
    except UnicodeDecodeError:
        # The cause is left out: it carries the bytes of what may be a secret.
        raise SettingsError("identity file is not text") from None
    recipients = [identity.recipient for identity in parse_identities(text)]
    if as_json:
        print_json(
            [
                {"recipient": recipient.text, "fingerprint": recipient.fingerprint}
                for recipient in recipients
            ]
        )
    else:
        for recipient in recipients:
            click.echo(recipient.text)


def _make_signing_key(path: Path, comment: str, *, as_json: bool) -> None:
    from backup.cli.output import print_json
    from backup.crypto.sshkey import SigningKey
    from backup.errors import SettingsError

    public_path = path.with_name(path.name + ".pub")
    if public_path.exists():
        raise SettingsError(
            f"{public_path} exists already and was left as it is",
            hint="strongroom keygen --signing -o OTHER-FILE",
        )
    key = SigningKey.generate(comment)
    _write_new(path, key.text, mode=0o600)
    _write_new(public_path, key.public_key.line + "\n", mode=0o644)
    if as_json:
        print_json(
            {
                "signing_key_file": path,
                "public_key_file": public_path,
                "public_key": key.public_key.line,
                "fingerprint": key.public_key.fingerprint,
            }
        )
    else:
        click.echo(f"Public key: {key.public_key.line}")
        click.echo(f"Fingerprint: {key.public_key.fingerprint}")


def _write_new(path: Path, text: str, *, mode: int) -> None:
    """Write a file that must not exist; it is durable on return, and absent after an error."""
    from backup import files
    from backup.errors import SettingsError

    try:
        files.create(path, text.encode(), mode=mode)
    except FileExistsError as error:
        raise SettingsError(
            f"{path} exists already and was left as it is", hint="strongroom keygen -o OTHER-FILE"
        ) from error
    except OSError as error:
        raise SettingsError(f"writing {path}: {error.strerror}") from error
    try:
        files.sync_directory(path.parent)
    except OSError as error:
        path.unlink()
        raise SettingsError(f"writing {path}: {error.strerror}") from error
