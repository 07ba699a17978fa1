"""Proof that an entry is in the log: what an auditor keeps, and checks without the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from backup.crypto import merkle
from backup.crypto.note import Checkpoint, open_checkpoint
from backup.crypto.sshkey import PublicKey
from backup.errors import IntegrityError, NotFoundError
from backup.evidence.entry import Entry, decode_entry
from backup.evidence.log import StoredLog, origin
from backup.repository.canonical import STRICT, decode, encode
from backup.repository.manifest import FormatNumber, RepositoryId


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """An entry's very line, the hashes beside its way to the root (hex), the signed checkpoint."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    format: FormatNumber
    repository_id: RepositoryId
    seq: int
    line: str
    hashes: tuple[str, ...]
    checkpoint: str


def prove(log: StoredLog, repository_id: str, seq: int) -> InclusionProof:
    """Return the proof of an entry under the newest checkpoint. Raises `NotFoundError`."""
    size, note = log.notes[-1] if log.notes else (0, b"")
    if not 0 <= seq < min(size, len(log.lines)):
        raise NotFoundError(
            f"no checkpoint vouches for an entry {seq} of the evidence log",
            hint="`strongroom log show` lists the entries",
        )
    return InclusionProof(
        format=1,
        repository_id=repository_id,
        seq=seq,
        line=log.lines[seq][1].decode(),
        hashes=tuple(one.hex() for one in merkle.inclusion_proof(log.leaves[:size], seq)),
        checkpoint=note.decode(),
    )


def encode_proof(proof: InclusionProof) -> bytes:
    """Return the bytes of the file that an auditor keeps."""
    return encode(proof)


def decode_proof(data: bytes, name: str) -> InclusionProof:
    """Return the proof in a file called `name`. Raises `IntegrityError`; nothing is proven yet."""
    return decode(InclusionProof, data, name)


def verify_proof(proof: InclusionProof, keys: Sequence[PublicKey]) -> tuple[Entry, Checkpoint]:
    """Return the entry, which is in a log that one of `keys` vouches for, and the checkpoint.

    Raises `IntegrityError`.
    """
    checkpoint, _ = open_checkpoint(proof.checkpoint.encode(), origin(proof.repository_id), keys)
    try:
        hashes = [bytes.fromhex(one) for one in proof.hashes]
    except ValueError as error:
        raise IntegrityError("the proof of inclusion holds something that is no hash") from error
    line = proof.line.encode()
    merkle.verify_inclusion(
        merkle.leaf_hash(line),
        index=proof.seq,
        size=checkpoint.size,
        proof=hashes,
        root=checkpoint.root,
    )
    return decode_entry(line, proof.seq), checkpoint
