"""SSH signatures, keys and allowed signers, against forms that ssh-keygen wrote."""

from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from backup.crypto.canonical import decode_padded
from backup.crypto.sshkey import pack_string, take_string
from backup.crypto.sshsig import AllowedSigners, PublicKey, SigningKey, sign, verify
from backup.errors import IntegrityError, SettingsError

KEY = SigningKey.generate("backup@host", lambda size: bytes(range(size)))
LINE = KEY.public_key.line
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def signature_of(**changes: bytes) -> str:
    """An armored signature blob with some of its fields replaced; never a valid signature."""
    fields = {
        "head": b"SSHSIG" + struct.pack(">I", 1),
        "key": KEY.public_key.blob,
        "namespace": b"ns",
        "reserved": b"",
        "hash": b"sha512",
        "signature": pack_string(b"ssh-ed25519") + pack_string(bytes(64)),
        "tail": b"",
    } | changes
    head, tail = fields.pop("head"), fields.pop("tail")
    blob = head + b"".join(map(pack_string, fields.values())) + tail
    text = base64.b64encode(blob).decode()
    return f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n"


def test_the_form_of_a_signature() -> None:
    """Lines have 70 columns, as ssh-keygen writes them, and the same input gives the same text."""
    text = sign(b"message", KEY, "strongroom-manifest@v1")
    lines = text.splitlines()
    assert lines[0] == "-----BEGIN SSH SIGNATURE-----"
    assert lines[-1] == "-----END SSH SIGNATURE-----"
    assert {len(line) for line in lines[1:-2]} == {70}
    assert text.endswith("-----\n")
    assert text == sign(b"message", KEY, "strongroom-manifest@v1")
    with_crlf = text.replace("\n", "\r\n")
    assert (
        verify(b"message", with_crlf, "strongroom-manifest@v1", None).public_key == KEY.public_key
    )


def test_an_empty_namespace_signs_nothing() -> None:
    """The namespace is what keeps a signature from being used for something else."""
    with pytest.raises(SettingsError, match="namespace is empty"):
        sign(b"message", KEY, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "BEGIN and END"),
        (signature_of() + "more", "BEGIN and END"),
        (" " + signature_of(), "BEGIN and END"),
        (signature_of().replace("A==", "B=="), "not canonical"),
        (signature_of().replace("U", "\u00fc"), "malformed"),
        (signature_of(head=b"SSHSIG" + struct.pack(">I", 2)), "version 1"),
        (signature_of(head=b"SSHSIX" + struct.pack(">I", 1)), "version 1"),
        (signature_of(tail=b"x"), "something follows"),
        (signature_of(signature=pack_string(b"ssh-ed25519") + pack_string(b"") + b"x"), "follows"),
        (signature_of(signature=pack_string(b"ssh-rsa") + pack_string(b"")), "type ssh-ed25519"),
        (signature_of(reserved=b"x"), "reserved"),
        (signature_of(hash=b"md5"), "neither sha512 nor sha256"),
        (signature_of(key=pack_string(b"ssh-rsa") + pack_string(bytes(32))), "type ssh-ed25519"),
        (signature_of(key=pack_string(b"ssh-ed25519") + pack_string(bytes(31))), "32 bytes"),
        (signature_of(key=pack_string(b"ssh-ed25519") + pack_string(bytes(32)) + b"x"), "32 bytes"),
        (signature_of(key=b"\0\0"), "longer than the whole"),
        (signature_of(), "does not fit"),
        (signature_of(namespace=b"other"), "not for the namespace ns"),
    ],
)
def test_malformed_signatures_are_refused(text: str, reason: str) -> None:
    """Each field is checked, and each fault has its own message."""
    with pytest.raises(IntegrityError, match=reason):
        verify(b"message", text, "ns", None)


def test_the_signer_is_named_by_the_first_line_that_fits() -> None:
    """With pinned signers the result says who signed; without, it says nobody."""
    signature = sign(b"message", KEY, "ns")
    allowed = AllowedSigners.parse(
        f'a@x namespaces="other" {LINE}\nb@x,c@x namespaces="n?" {LINE}\nd@x {LINE}\n'
    )
    assert verify(b"message", signature, "ns", allowed).principal == "b@x,c@x"
    assert verify(b"message", signature, "ns", None).principal is None
    with pytest.raises(IntegrityError, match="not among the allowed signers") as caught:
        verify(b"message", signature, "ns", AllowedSigners(signers=()))
    assert KEY.public_key.fingerprint in str(caught.value)


@pytest.mark.parametrize(
    ("namespaces", "is_allowed"),
    [("ns", True), ("x,ns", True), ("n*", True), ("*", True), ("n", False), ("*,!ns", False)],
)
def test_namespaces_are_patterns(namespaces: str, is_allowed: bool) -> None:
    """Namespaces match as ssh's pattern lists do: a negated match outweighs every other."""
    allowed = AllowedSigners.parse(f'a@x namespaces="{namespaces}" {LINE}')
    assert (allowed.principal_of(KEY.public_key, namespace="ns") == "a@x") is is_allowed


@pytest.mark.parametrize(
    ("options", "is_allowed"),
    [
        ('valid-after="20260115Z"', True),
        ('valid-after="202601151200Z"', True),
        ('valid-after="20260115120001Z"', False),
        ('valid-before="20260115120001Z"', True),
        ('valid-before="20260115120000Z"', False),
        ('Valid-After="20260101Z",VALID-BEFORE="20260201Z"', True),
        ('namespaces="ns",valid-after="20260101Z",valid-before="20260110Z"', False),
    ],
)
def test_times_limit_a_key(options: str, is_allowed: bool) -> None:
    """A key counts from valid-after until just before valid-before."""
    signature = sign(b"message", KEY, "ns")
    allowed = AllowedSigners.parse(f"a@x {options} {LINE}")
    if is_allowed:
        assert verify(b"message", signature, "ns", allowed, now=NOW).principal == "a@x"
    else:
        with pytest.raises(IntegrityError, match="not among"):
            verify(b"message", signature, "ns", allowed, now=NOW)


def test_a_limit_without_a_clock_is_refused() -> None:
    """A line limited in time is never taken for unlimited."""
    allowed = AllowedSigners.parse(f'a@x valid-before="20990101Z" {LINE}')
    with pytest.raises(SettingsError, match="no time was given"):
        allowed.principal_of(KEY.public_key, namespace="ns")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a@x", "principals"),
        (f'"a b" {LINE}', "principals"),
        (f"a@x,,b@x {LINE}", "principals"),
        (f"a@x cert-authority {LINE}", "options"),
        (f'a@x namespaces="a" ,valid-after="20260101Z" {LINE}', "type ,valid-after"),
        (f'a@x namespaces="a",cert-authority {LINE}', "options"),
        (f'a@x colour="red" {LINE}', "option colour is not supported"),
        (f'a@x namespaces="" {LINE}', "option namespaces is empty"),
        (f'a@x namespaces="a",namespaces="b" {LINE}', "given twice"),
        (f'a@x valid-after="20260101" {LINE}', "time 20260101 is not written"),
        (f'a@x valid-after="20261301Z" {LINE}', "time 20261301Z is not written"),
        ("a@x ssh-rsa AAAA", "type ssh-rsa"),
        ("a@x ssh-ed25519", "type, key and comment"),
        ("a@x ssh-ed25519 AAAA", "malformed"),
        ("a@x ssh-ed25519 AAA", "malformed"),
    ],
)
def test_lines_that_are_not_understood_are_refused(line: str, reason: str) -> None:
    """No line is skipped or half understood: the message names it."""
    with pytest.raises(SettingsError, match=f"line 2: .*{reason}") as caught:
        AllowedSigners.parse(f"# signers\n{line}\n")
    assert caught.value.hint


def test_a_line_as_ssh_keygen_reads_it() -> None:
    """Options stand without spaces between them, and an unlimited key has none."""
    line = f'a@x,b@x namespaces="m@v1,e@v1",valid-after="20260101000000Z" {LINE}'
    assert AllowedSigners.parse(line).text == line + "\n"
    until = f'a@x valid-before="20260201000000Z" {LINE}'
    assert AllowedSigners.parse(until).text == until + "\n"
    assert AllowedSigners.parse(f"a@x {LINE}").text == f"a@x {LINE}\n"


def test_what_is_no_signing_key_is_refused_unseen() -> None:
    """Another type, a passphrase or damage: the message repeats nothing of the file."""
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    )
    with pytest.raises(SettingsError, match="not of type ssh-ed25519"):
        SigningKey.from_text(other.decode())
    for text in ("", "canary-7f", KEY.text.replace("b3BlbnNz", "b3BlbnNx")):
        with pytest.raises(SettingsError, match="not an OpenSSH private key") as caught:
            SigningKey.from_text(text)
        assert caught.value.__cause__ is None
        assert "canary-7f" not in str(caught.value)


def test_a_comment_is_one_printable_line() -> None:
    """A comment with a line end would forge a line of allowed signers."""
    with pytest.raises(SettingsError, match="one printable line"):
        SigningKey.generate("a\nb@x ssh-ed25519 AAAA")


def test_the_fingerprint_is_the_one_of_ssh_keygen() -> None:
    """The fingerprint of a known key is what `ssh-keygen -l` printed for it."""
    known = PublicKey.parse(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4 known"
    )
    assert known == KEY.public_key
    assert known.fingerprint == "SHA256:lbmsoA0yIEcEiVDRnMWuzm+nV+3ZEEpVIURqFoeSspg"


def test_private_halves_are_not_printed() -> None:
    """The repr of a signing key shows the public half at most."""
    secret = "".join(KEY.text.splitlines()[1:-1])
    assert secret not in repr(KEY)
    assert decode_padded(secret.encode()).hex() not in repr(KEY)


def test_wire_strings_are_never_read_past_the_end() -> None:
    """A length that exceeds what is there, or is cut itself, is an error."""
    assert take_string(pack_string(b"ab") + b"c") == (b"ab", b"c")
    for data in (b"", b"\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xffabc"):
        with pytest.raises(ValueError, match="longer than the whole"):
            take_string(data)
