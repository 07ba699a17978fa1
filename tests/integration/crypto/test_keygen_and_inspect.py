"""`strongroom keygen` and `strongroom inspect`, as people and scripts call them."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backup.cli.inspect import command as inspect
from backup.cli.keygen import command as keygen
from backup.crypto.age import seal, seal_stream
from backup.crypto.recipients import HybridIdentity, X25519Identity, parse_identities
from backup.crypto.sshsig import PublicKey, SigningKey, sign, verify
from backup.errors import IntegrityError, SettingsError


def make(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(keygen, [str(argument) for argument in arguments], input=stdin)


def look(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(inspect, [str(argument) for argument in arguments], input=stdin)


@pytest.mark.parametrize("options", [(), ("--pq",)], ids=["x25519", "post-quantum"])
def test_an_identity_is_written_in_ages_own_form(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The file has age-keygen's comments, is the owner's alone, and its recipient is printed."""
    path = tmp_path / "identity.txt"
    result = make("-o", path, *options)
    created, public, secret = path.read_text().splitlines()
    (identity,) = parse_identities(path.read_text())
    assert isinstance(identity, HybridIdentity if options else X25519Identity)
    assert created.startswith("# created: 20")
    assert public == f"# public key: {identity.recipient.text}"
    assert secret == identity.text
    assert result.stdout == f"Public key: {identity.recipient.text}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_file_the_identity_goes_to_standard_output() -> None:
    """As with age-keygen: the identity to standard output, its recipient to standard error."""
    result = make()
    (identity,) = parse_identities(result.stdout)
    assert result.stderr == f"Public key: {identity.recipient.text}\n"
    assert make("--convert", "-", stdin=result.stdout).stdout == f"{identity.recipient.text}\n"


def test_json_has_the_recipient_and_never_the_secret(tmp_path: Path) -> None:
    """Scripts get the recipient, its fingerprint and the path."""
    path = tmp_path / "identity.txt"
    result = make("-o", path, "--json")
    (identity,) = parse_identities(path.read_text())
    assert json.loads(result.stdout) == {
        "identity_file": str(path),
        "recipient": identity.recipient.text,
        "fingerprint": identity.recipient.fingerprint,
        "is_post_quantum": False,
    }
    (converted,) = json.loads(make("-y", path, "--json").stdout)
    assert converted["recipient"] == identity.recipient.text
    assert "AGE-SECRET" not in result.output


def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    """Neither an identity nor either half of a signing key is ever overwritten."""
    for existing, arguments in (
        ("identity.txt", ("-o", tmp_path / "identity.txt")),
        ("key", ("--signing", "-o", tmp_path / "key")),
        ("other.pub", ("--signing", "-o", tmp_path / "other")),
    ):
        (tmp_path / existing).write_text("kept")
        result = make(*arguments)
        assert isinstance(result.exception, SettingsError)
        assert "left as it is" in str(result.exception)
        assert (tmp_path / existing).read_text() == "kept"
    assert not (tmp_path / "other").exists()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """An identity that cannot be written is no success."""
    result = make("-o", tmp_path / "missing" / "identity.txt")
    assert isinstance(result.exception, SettingsError)
    assert "missing" in str(result.exception)


def test_a_signing_key_is_two_files_in_openssh_form(tmp_path: Path) -> None:
    """The private half is the owner's alone, the public half is a line with the comment."""
    path = tmp_path / "signing"
    result = make("--signing", "-o", path, "--comment", "backup@host")
    key = SigningKey.from_text(path.read_text())
    public_key = PublicKey.parse((tmp_path / "signing.pub").read_text())
    assert public_key.comment == "backup@host"
    assert result.stdout.splitlines() == [
        f"Public key: {public_key.line}",
        f"Fingerprint: {public_key.fingerprint}",
    ]
    assert verify(b"m", sign(b"m", key, "n"), "n", None).public_key == public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(make("--signing", "-o", tmp_path / "two", "--json").stdout)
    assert told["public_key"] + "\n" == (tmp_path / "two.pub").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json",),
        ("--signing",),
        ("--signing", "--pq", "-o", "x"),
        ("--comment", "x"),
        ("--convert", "-", "--pq"),
        ("--convert", "-", "-o", "x"),
    ],
)
def test_options_that_do_not_go_together_have_their_own_message(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistaken combination ends with exit code 2 before anything is written."""
    monkeypatch.chdir(tmp_path)
    result = make(*arguments)
    assert result.exit_code == 2
    assert "--" in result.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_no_identity_file_is_not_converted(tmp_path: Path) -> None:
    """A binary file is refused without its bytes in the message or its cause."""
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfecanary-7f")
    error = make("-y", path).exception
    assert isinstance(error, SettingsError)
    assert error.__cause__ is None
    assert "canary" not in str(error)


def test_inspect_tells_kinds_and_sizes(tmp_path: Path) -> None:
    """A file by name, in words and as JSON with age-inspect's names."""
    path = tmp_path / "file.age"
    recipient = X25519Identity.generate().recipient
    path.write_bytes(seal(bytes(65537), [recipient, recipient]))
    words = look(path).stdout
    assert "2 x X25519" in words
    assert "65537 bytes, chunks of 64 KiB: 2" in words
    told = json.loads(look(path, "--json").stdout)
    sizes = told.pop("sizes")
    assert sum(sizes.values()) == path.stat().st_size
    assert told == {
        "version": "age-encryption.org/v1",
        "postquantum": "no",
        "armor": False,
        "stanza_types": ["X25519", "X25519"],
        "chunks": 2,
    }


def test_inspect_reads_standard_input_and_armor() -> None:
    """`-` is standard input; armor is taken off and told."""
    sink = io.BytesIO()
    recipient = HybridIdentity.generate().recipient
    seal_stream(io.BytesIO(b"x"), sink, [recipient], armored=True)
    told = json.loads(look("-", "--json", stdin=sink.getvalue()).stdout)
    assert (told["armor"], told["postquantum"]) == (True, "yes")
    assert "armored       yes" in look("-", stdin=sink.getvalue()).stdout


def test_inspect_refuses_what_is_no_age_file(tmp_path: Path) -> None:
    """Anything else is an integrity error, and a file that is not there a usage error."""
    path = tmp_path / "file"
    path.write_bytes(b"PGDMP")
    assert isinstance(look(path).exception, IntegrityError)
    assert look(tmp_path / "missing").exit_code == 2


@pytest.mark.parametrize("run", [make, look], ids=["keygen", "inspect"])
def test_help_ends_in_an_example(run: object) -> None:
    """The last line of the help is a command to copy."""
    assert callable(run)
    assert "Example: strongroom" in run("--help").stdout.splitlines()[-1]
