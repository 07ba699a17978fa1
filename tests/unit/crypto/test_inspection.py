"""What an age file tells without a key."""

from __future__ import annotations

import io

import pytest

from backup.crypto.age import AgeFile, inspect, seal, seal_stream
from backup.crypto.header import Stanza, encode_header
from backup.crypto.recipients import HybridIdentity, PassphraseRecipient, X25519Identity
from backup.errors import IntegrityError

X25519 = X25519Identity.generate().recipient
HYBRID = HybridIdentity.generate().recipient


def test_facts_of_a_binary_file() -> None:
    """Sizes add up to the file, and are the same when only the header could be read."""
    file = seal(bytes(3 * 65536 + 1), [X25519, X25519])
    found = inspect(io.BytesIO(file))
    assert found == AgeFile(
        version="age-encryption.org/v1",
        stanza_kinds=("X25519", "X25519"),
        is_armored=False,
        is_post_quantum=False,
        header_bytes=len(file) - 16 - 4 * 16 - (3 * 65536 + 1),
        armor_bytes=0,
        overhead_bytes=16 + 4 * 16,
        payload_bytes=3 * 65536 + 1,
        chunk_count=4,
    )
    assert inspect(io.BytesIO(file), size_bytes=len(file)) == found


def test_facts_of_an_armored_file() -> None:
    """An armored file is described as the binary one inside it, and what the armor adds."""
    sink = io.BytesIO()
    seal_stream(io.BytesIO(bytes(1000)), sink, [X25519], armored=True)
    size = len(sink.getvalue())
    found = inspect(io.BytesIO(sink.getvalue()), size_bytes=size)
    assert found.is_armored
    assert found.payload_bytes == 1000
    parts = (found.armor_bytes, found.header_bytes, found.overhead_bytes, found.payload_bytes)
    assert sum(parts) == size


def test_post_quantum_or_not() -> None:
    """Hybrid recipients and passphrases are safe, one classic recipient is not, others unknown."""

    def verdict(*kinds: str) -> bool | None:
        stanzas = [Stanza(kind=kind, arguments=(), body=b"").encode() for kind in kinds]
        return inspect(io.BytesIO(encode_header(stanzas, bytes(16)) + bytes(32))).is_post_quantum

    assert inspect(io.BytesIO(seal(b"", [HYBRID]))).is_post_quantum is True
    passphrase = PassphraseRecipient(passphrase="p", work_factor=1)
    assert inspect(io.BytesIO(seal(b"", [passphrase]))).is_post_quantum is True
    assert verdict("mlkem768x25519", "grease-x") is True
    assert verdict("mlkem768x25519", "X25519") is False
    assert verdict("grease-x") is None


@pytest.mark.parametrize("rest", [0, 15, 16, 31, 16 + 65552 + 16])
def test_sizes_that_no_file_has_are_refused(rest: int) -> None:
    """A file without a nonce or a whole last chunk is called wrong, from its size alone."""
    header = encode_header([X25519.wrap(bytes(16)).encode()], bytes(16))
    with pytest.raises(IntegrityError):
        inspect(io.BytesIO(header + bytes(rest)))
    with pytest.raises(IntegrityError):
        inspect(io.BytesIO(header), size_bytes=len(header) + rest)
