"""What we write, age, age-keygen and ssh-keygen read, and the other way round."""

from __future__ import annotations

import io
import shutil
import subprocess  # noqa: TID251 - stock tools are what these tests are about
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.crypto.age import inspect, seal, seal_stream, unseal, unseal_stream
from backup.crypto.recipients import (
    Identity,
    PassphraseIdentity,
    PassphraseRecipient,
    X25519Identity,
    parse_identities,
    parse_recipient,
)
from backup.crypto.sshsig import AllowedSigner, AllowedSigners, PublicKey, SigningKey, sign, verify

EDGES = [0, 1, 65535, 65536, 65537, 131071, 131072, 131073, 2**20 - 1, 2**20, 2**20 + 1]
PASSPHRASE_FILE = Path(__file__).parents[2] / "vectors" / "age-1.1.1-passphrase.age"
NAMESPACE = "strongroom-manifest@v1"


def tool(name: str) -> str:
    """The path of a stock tool; without it the test is skipped, which CI counts as a failure."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(*argv: str | Path, stdin: bytes = b"") -> bytes:
    """What the tool writes to standard output; it must succeed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def plaintext_of(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.fixture
def identity_file(tmp_path: Path) -> Path:
    """An identity file of our own, and one of another key before it."""
    path = tmp_path / "identity.txt"
    other = X25519Identity.generate()
    path.write_text(f"# first\n{other.text}\n# second\n{X25519Identity.generate().text}\n")
    return path


def identities_of(path: Path) -> tuple[list[X25519Identity], list[Identity]]:
    parsed = parse_identities(path.read_text())
    return [key for key in parsed if isinstance(key, X25519Identity)], list(parsed)


@pytest.mark.parametrize("size", EDGES)
def test_age_opens_what_we_sealed(identity_file: Path, size: int) -> None:
    """Files of every size around the edges of chunks, whole, streamed and armored, open in age."""
    age = tool("age")
    keys, _ = identities_of(identity_file)
    recipients = [key.recipient for key in keys]
    plaintext = plaintext_of(size)
    files = [bytes(seal(plaintext, recipients[1:])), bytes(seal(plaintext, recipients))]
    for armored in (False, True):
        sink = io.BytesIO()
        seal_stream(io.BytesIO(plaintext), sink, recipients, armored=armored)
        files.append(sink.getvalue())
    for file in files:
        assert run(age, "--decrypt", "-i", identity_file, stdin=file) == plaintext


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("options", [(), ("--armor",)], ids=["binary", "armored"])
def test_we_open_what_age_sealed(identity_file: Path, options: tuple[str, ...], size: int) -> None:
    """Files of every size around the edges of chunks that age wrote open here."""
    keys, identities = identities_of(identity_file)
    plaintext = plaintext_of(size)
    recipients = [word for key in keys for word in ("-r", key.recipient.text)]
    file = run(tool("age"), *options, *recipients, stdin=plaintext)
    sink = io.BytesIO()
    unseal_stream(io.BytesIO(file), sink, identities)
    assert sink.getvalue() == plaintext
    found = inspect(io.BytesIO(file))
    assert (found.payload_bytes, found.is_armored) == (size, bool(options))
    assert set(found.stanza_kinds) >= {"X25519"}
    if not options:
        assert unseal(file, identities) == plaintext


def test_age_keygen_and_we_read_each_others_identity_files(
    identity_file: Path, tmp_path: Path
) -> None:
    """The recipients of an identity file are the same to age-keygen, whoever wrote it."""
    keygen = tool("age-keygen")
    keys, _ = identities_of(identity_file)
    theirs = run(keygen, "-y", identity_file).decode().split()
    assert theirs == [key.recipient.text for key in keys]
    made = tmp_path / "made.txt"
    run(keygen, "-o", made)
    (identity,) = parse_identities(made.read_text())
    assert run(keygen, "-y", made).decode().strip() == identity.recipient.text
    assert parse_recipient(identity.recipient.text) == identity.recipient


def test_age_refuses_our_file_with_one_bit_flipped(identity_file: Path) -> None:
    """The tests above can fail: age does check what it opens."""
    age = tool("age")
    keys, _ = identities_of(identity_file)
    file = seal(plaintext_of(100_000), [keys[0].recipient])
    file[-1] ^= 1
    done = subprocess.run(
        [age, "--decrypt", "-i", identity_file], input=file, capture_output=True, check=False
    )
    assert done.returncode != 0


def test_ssh_keygen_verifies_what_we_signed(tmp_path: Path) -> None:
    """Our signature, allowed signers and namespace satisfy ssh-keygen, which names the key."""
    keygen = tool("ssh-keygen")
    key = SigningKey.generate("backup@host")
    allowed = tmp_path / "allowed_signers"
    signature = tmp_path / "message.sig"
    now = datetime.now(UTC).replace(microsecond=0)
    signer = AllowedSigner(
        principals=("backup@host", "other@host"),
        public_key=key.public_key,
        namespaces=("other@v1", NAMESPACE),
        valid_after=now - timedelta(days=2),
        valid_before=now + timedelta(days=2),
    )
    allowed.write_text(AllowedSigners(signers=(signer,)).text)
    for message in (b"", b"a message\n", plaintext_of(200_000)):
        signature.write_text(sign(message, key, NAMESPACE))
        said = run(
            *(keygen, "-Y", "verify", "-f", allowed, "-I", "backup@host"),
            *("-n", NAMESPACE, "-s", signature),
            stdin=message,
        )
        assert key.public_key.fingerprint in said.decode()
    found = run(keygen, "-Y", "find-principals", "-f", allowed, "-s", signature)
    assert "backup@host" in found.decode()


@pytest.mark.parametrize("hash_name", ["sha512", "sha256"])
def test_we_verify_what_ssh_keygen_signed(tmp_path: Path, hash_name: str) -> None:
    """A key and a signature that ssh-keygen made are read here; ours is the same text."""
    keygen = tool("ssh-keygen")
    path = tmp_path / "key"
    run(keygen, "-q", "-t", "ed25519", "-N", "", "-C", "auditor@firm", "-f", path)
    public_key = PublicKey.parse(path.with_suffix(".pub").read_text())
    key = SigningKey.from_text(path.read_text(), public_key.comment)
    assert key.public_key.line == path.with_suffix(".pub").read_text().strip()
    assert key.public_key.fingerprint in run(keygen, "-l", "-f", path).decode()
    signature = run(
        *(keygen, "-Y", "sign", "-O", f"hashalg={hash_name}", "-f", path, "-n", NAMESPACE),
        stdin=b"message",
    ).decode()
    allowed = AllowedSigners.parse(f'auditor@firm namespaces="{NAMESPACE}" {public_key.line}\n')
    assert verify(b"message", signature, NAMESPACE, allowed).principal == "auditor@firm"
    if hash_name == "sha512":
        assert sign(b"message", key, NAMESPACE) == signature


def test_ssh_keygen_reads_the_key_files_that_we_write(tmp_path: Path) -> None:
    """The private key file that we write has the public half that we say."""
    key = SigningKey.generate("backup@host")
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(key.text)
    assert (
        run(tool("ssh-keygen"), "-y", "-f", path).decode().split()[:2]
        == (key.public_key.line.split()[:2])
    )


def test_we_open_what_age_sealed_to_a_passphrase() -> None:
    """A file that Debian's age 1.1.1 sealed at its own work factor opens with the passphrase."""
    identity = PassphraseIdentity(passphrase="correct horse")
    assert unseal(PASSPHRASE_FILE.read_bytes(), [identity]) == b"kept\n"


def test_age_opens_what_we_sealed_to_a_passphrase(tmp_path: Path) -> None:
    """Our passphrase file opens in age, which asks on a terminal that `script` provides."""
    tool("age")
    sealed, opened = tmp_path / "sealed.age", tmp_path / "opened"
    recipient = PassphraseRecipient(passphrase="battery staple", work_factor=10)
    sealed.write_bytes(seal(b"ours", [recipient]))
    command = f"age --decrypt -o {opened} {sealed}"
    run(tool("script"), "-qec", command, "/dev/null", stdin=b"battery staple\n")
    assert opened.read_bytes() == b"ours"
