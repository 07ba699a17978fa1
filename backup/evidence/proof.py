"""Proofs that an auditor keeps, and checks without the log.

That an entry is in the log, and that the log begins with what it was when he last saw it.
"""

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
from backup.evidence.log import Claim, StoredLog, origin
from backup.repository.canonical import STRICT, decode, encode
from backup.repository.manifest import FormatNumber, LogHead, RepositoryId


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """Two signed checkpoints, and the hashes (hex) that lead from the earlier to the later one."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    format: FormatNumber
    repository_id: RepositoryId
    earlier: str
    hashes: tuple[str, ...]
    checkpoint: str


def kept_claim(note: bytes, repository_id: str, keys: Sequence[PublicKey]) -> Claim:
    """Return what a checkpoint that somebody has kept says of the log. Raises `IntegrityError`."""
    try:
        kept, _ = open_checkpoint(note, origin(repository_id), keys)
    except IntegrityError as error:
        raise IntegrityError(f"the checkpoint that was kept: {error.message}") from error
    head = LogHead(size=kept.size, root=kept.root.hex())
    return Claim(who="the checkpoint that was kept", head=head)


def prove_consistency(log: StoredLog, repository_id: str, earlier: Claim, note: bytes) -> bytes:
    """Return the proof that the newest checkpoint's log begins with an earlier one's.

    `note` is the earlier checkpoint, opened as `earlier`. Raises `IntegrityError` if it does not.
    """
    size, newest = log.notes[-1] if log.notes else (0, b"")
    if not 0 < earlier.head.size <= min(size, len(log.lines)):
        raise IntegrityError(
            f"the log was cut short: {earlier.who} saw {earlier.head.size} entries, and"
            f" {min(size, len(log.lines))} are there"
        )
    leaves = log.leaves[:size]
    if merkle.root(leaves[: earlier.head.size]).hex() != earlier.head.root:
        raise IntegrityError(f"the log was written anew: {earlier.who} saw other entries")
    return encode(
        ConsistencyProof(
            format=1,
            repository_id=repository_id,
            earlier=note.decode(),
            hashes=tuple(one.hex() for one in merkle.consistency_proof(leaves, earlier.head.size)),
            checkpoint=newest.decode(),
        )
    )


def verify_consistency(data: bytes, name: str, keys: Sequence[PublicKey]) -> tuple[int, int]:
    """Return the sizes of the two logs, of which the later begins with the earlier.

    Both checkpoints are by one of `keys`. Raises `IntegrityError`.
    """
    proof = decode(ConsistencyProof, data, name)
    earlier, later = (
        open_checkpoint(note.encode(), origin(proof.repository_id), keys)[0]
        for note in (proof.earlier, proof.checkpoint)
    )
    try:
        hashes = [bytes.fromhex(one) for one in proof.hashes]
    except ValueError as error:
        raise IntegrityError("the proof of consistency holds something that is no hash") from error
    merkle.verify_consistency(
        size=earlier.size,
        root=earlier.root,
        later_size=later.size,
        later_root=later.root,
        proof=hashes,
    )
    return earlier.size, later.size
