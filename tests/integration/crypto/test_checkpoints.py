"""Checkpoints of the evidence log, verified by OpenSSL."""

from __future__ import annotations

import shutil
import subprocess  # noqa: TID251 - openssl
from pathlib import Path

import pytest

from backup.crypto.merkle import leaf_hash
from backup.crypto.note import Checkpoint, public_key_pem, sign_checkpoint, signature_of
from backup.crypto.sshkey import SigningKey

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def openssl_accepts(directory: Path, key: SigningKey, body: bytes, signature: bytes) -> bool:
    """Whether `openssl pkeyutl` takes the signature over these bytes."""
    (directory / "key.pem").write_text(public_key_pem(key.public_key))
    (directory / "body").write_bytes(body)
    (directory / "signature").write_bytes(signature)
    argv = (
        *("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key.pem"),
        *("-in", "body", "-sigfile", "signature"),
    )
    done = subprocess.run(argv, cwd=directory, capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def test_openssl_verifies_a_checkpoint(tmp_path: Path) -> None:
    """The first three lines of the note, the signature of its last, the key as PEM."""
    key = SigningKey.generate("one")
    checkpoint = Checkpoint(origin="strongroom/" + "0" * 32, size=7, root=leaf_hash(b"x"))
    note = sign_checkpoint(checkpoint, key)
    body = note.split(b"\n\n")[0] + b"\n"
    assert openssl_accepts(tmp_path, key, body, signature_of(note))
    assert not openssl_accepts(tmp_path, key, body.replace(b"7", b"8"), signature_of(note))
    assert not openssl_accepts(tmp_path, SigningKey.generate("two"), body, signature_of(note))
