"""Files in the age v1 format (C2SP age.md), sealed and opened, whole or as a stream.

`seal` and `unseal` are the hot path of a backup: one allocation, ChaCha20-Poly1305 straight into
it, the interpreter lock released while a chunk is worked on. All functions may run in several
threads at once on the same recipients and identities.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from backup.crypto.armor import ArmorWriter, open_armor
from backup.crypto.header import (
    FILE_KEY_BYTES,
    Header,
    encode_header,
    malformed,
    peek_header,
    read_header,
)
from backup.crypto.inspection import AgeFile, inspect
from backup.crypto.passphrase import KIND as PASSPHRASE_KIND
from backup.crypto.recipients import Identity, Recipient, require_compatible
from backup.crypto.source import Buffer, ExactSource, Sink, Source, write_all
from backup.crypto.stream import (
    CHUNK_BYTES,
    NONCE_BYTES,
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    PayloadCipher,
    misplaced,
    plain_size,
    sealed_size,
)
from backup.errors import IntegrityError, KeyUnavailableError

__all__ = ["AgeFile", "inspect", "seal", "seal_stream", "unseal", "unseal_stream"]

_CHUNKS_PER_BLOCK = 16
_BLOCK_BYTES = _CHUNKS_PER_BLOCK * CHUNK_BYTES
_SEALED_BLOCK_BYTES = _CHUNKS_PER_BLOCK * SEALED_CHUNK_BYTES


def seal(
    plaintext: Buffer,
    recipients: Sequence[Recipient],
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> bytearray:
    """The age file of `plaintext`, which any one of the recipients opens.

    Raises `SettingsError` for recipients that one file cannot have together.
    """
    beginning, cipher = _begin(recipients, random)
    plain = memoryview(plaintext).cast("B")
    file = bytearray(len(beginning) + sealed_size(len(plain)))
    file[: len(beginning)] = beginning
    _seal_chunks(cipher, plain, memoryview(file)[len(beginning) :], is_last=True)
    return file


def unseal(file: Buffer, identities: Sequence[Identity]) -> bytearray:
    """The plaintext of a whole binary age file, or an exception and none of it.

    Raises `KeyUnavailableError` when no identity fits, `IntegrityError` when the file is wrong.
    """
    view = memoryview(file).cast("B")
    header = peek_header(lambda size: bytes(view[:size]))
    cipher_start = header.size_bytes + NONCE_BYTES
    cipher = _open_header(header, bytes(view[header.size_bytes : cipher_start]), identities)
    sealed = view[cipher_start:]
    plaintext = bytearray(plain_size(len(sealed)))
    plain = memoryview(plaintext)
    position = 0
    for start in range(0, max(1, len(plain)), CHUNK_BYTES):
        upto = position + SEALED_CHUNK_BYTES
        is_last = upto >= len(sealed)
        if not cipher.open_chunk(
            sealed[position:upto], plain[start : start + CHUNK_BYTES], is_last=is_last
        ):
            raise misplaced(is_last=is_last)
        position = upto
    return plaintext


def seal_stream(
    source: Source,
    sink: Sink,
    recipients: Sequence[Recipient],
    *,
    armored: bool = False,
    random: Callable[[int], bytes] = os.urandom,
) -> None:
    """Read `source` to its end and write its age file to `sink`, in constant memory.

    An exception leaves an age file in the sink that does not open.
    """
    beginning, cipher = _begin(recipients, random)
    armor = ArmorWriter(sink) if armored else None
    target: Sink = armor or sink
    write_all(target, beginning)
    exact = ExactSource(source)
    buffer = memoryview(bytearray(_SEALED_BLOCK_BYTES))
    is_last = False
    while not is_last:
        block = exact.read(_BLOCK_BYTES)
        # Looking a whole block ahead spares the copy that looking one byte ahead would cost.
        is_last = not exact.peek(_BLOCK_BYTES)
        sealed = buffer[: sealed_size(len(block))]
        _seal_chunks(cipher, memoryview(block), sealed, is_last=is_last)
        write_all(target, sealed)
    if armor is not None:
        armor.close()


def unseal_stream(source: Source, sink: Sink, identities: Sequence[Identity]) -> None:
    """Open a binary or armored age file from `source` into `sink`, in constant memory.

    Every byte written has been authenticated, but only a return says that the file was whole.
    Raises `KeyUnavailableError` when no identity fits, `IntegrityError` when the file is wrong.
    """
    exact, _ = open_armor(source)
    header = read_header(exact)
    cipher = _open_header(header, exact.read(NONCE_BYTES), identities)
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    is_last = False
    while not is_last:
        block = memoryview(exact.read(_SEALED_BLOCK_BYTES))
        is_last = not exact.peek(_SEALED_BLOCK_BYTES)
        opened = 0
        try:
            for position in range(0, max(1, len(block)), SEALED_CHUNK_BYTES):
                sealed = block[position : position + SEALED_CHUNK_BYTES]
                ends = is_last and position + SEALED_CHUNK_BYTES >= len(block)
                plain = buffer[opened : opened + max(0, len(sealed) - TAG_BYTES)]
                is_in_place = cipher.open_chunk(sealed, plain, is_last=ends)
                opened += len(plain)
                if not is_in_place:
                    raise misplaced(is_last=ends)
        finally:
            write_all(sink, buffer[:opened])


def _begin(
    recipients: Sequence[Recipient], random: Callable[[int], bytes]
) -> tuple[bytes, PayloadCipher]:
    require_compatible(recipients)
    file_key = random(FILE_KEY_BYTES)
    stanzas = [recipient.wrap(file_key, random).encode() for recipient in recipients]
    nonce = random(NONCE_BYTES)
    return encode_header(stanzas, file_key) + nonce, PayloadCipher(file_key, nonce)


def _open_header(header: Header, nonce: bytes, identities: Sequence[Identity]) -> PayloadCipher:
    file_key = _unwrap(header, identities)
    header.require_mac(file_key)
    if len(nonce) != NONCE_BYTES:
        raise IntegrityError("age header is wrong: the file ends before its payload")
    return PayloadCipher(file_key, nonce)


def _unwrap(header: Header, identities: Sequence[Identity]) -> bytes:
    if len(header.stanzas) > 1:
        for stanza in header.stanzas:
            # Whoever knows a passphrase expects that only those who know it wrote the file.
            if stanza.kind == PASSPHRASE_KIND:
                raise malformed(stanza, "it is not the only stanza")
    for identity in identities:
        if (file_key := identity.unwrap(header.stanzas)) is not None:
            return file_key
    kinds = ", ".join(sorted({stanza.kind for stanza in header.stanzas}))
    raise KeyUnavailableError(
        f"none of the {len(identities)} identities given opens the age file (sealed to {kinds})",
        hint="strongroom restore --identity FILE names another identity",
    )


def _seal_chunks(
    cipher: PayloadCipher, plain: memoryview, sealed: memoryview, *, is_last: bool
) -> None:
    position = 0
    for start in range(0, max(1, len(plain)), CHUNK_BYTES):
        end = start + CHUNK_BYTES
        cipher.seal_chunk(
            plain[start:end],
            sealed[position : position + SEALED_CHUNK_BYTES],
            is_last=is_last and end >= len(plain),
        )
        position += SEALED_CHUNK_BYTES
