"""`init`: a new repository, and on this host the keys to write it with.

The keys are durable before anything is in the store, and `repository.json` comes last: it exists
exactly when the repository does. A run that died in the middle is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup import keyring
from backup.crypto import age
from backup.crypto.allowed_signers import AllowedSigner, AllowedSigners
from backup.crypto.recipients import Recipient
from backup.crypto.sshkey import SigningKey
from backup.errors import SettingsError
from backup.evidence.entry import EntryType
from backup.evidence.report import REPORT_NAMESPACE
from backup.logmemory import open_log
from backup.repository import stock
from backup.repository.canonical import encode
from backup.repository.chunking import CHUNK_KEY_BYTES, ChunkKey, ChunkSizes
from backup.repository.layout import (
    CHUNK_KEY_KEY,
    INSTRUCTIONS_KEY,
    REPOSITORY_KEY,
    SCRIPT_KEY,
    log_checkpoint_key,
    log_entry_key,
)
from backup.repository.manifest import (
    MANIFEST_NAMESPACE,
    RepositoryDescription,
    RepositoryFile,
    sha256_hex,
)
from backup.repository.stores.base import Store

_BEFORE_THE_LAST = (
    CHUNK_KEY_KEY,
    INSTRUCTIONS_KEY,
    SCRIPT_KEY,
    log_entry_key(0),
    log_checkpoint_key(1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialized:
    """What `init` made. `allowed_signers` is the line that auditors and other hosts pin."""

    repository_id: str
    address: str
    keys_directory: Path
    recipients: tuple[str, ...]
    allowed_signers: str


def initialize(
    store: Store,
    recipients: Sequence[Recipient],
    *,
    sizes: ChunkSizes,
    state_directory: Path,
    principal: str,
    now: datetime,
    random: Callable[[int], bytes],
    version: str,
) -> Initialized:
    """Make a repository in an empty store; durable on return.

    Raises `SettingsError` if the store holds anything that an unfinished `init` did not leave.
    """
    _require_empty(store)
    repository_id = random(16).hex()
    chunk_key = ChunkKey(random(CHUNK_KEY_BYTES))
    signing_key = SigningKey.generate(principal)
    # Sealing first: recipients that can't be mixed are refused before anything is written.
    sealed_chunk_key = age.seal(chunk_key.text.encode("ascii"), recipients)
    signers = AllowedSigners(
        signers=(
            AllowedSigner(
                principals=(principal,),
                public_key=signing_key.public_key,
                namespaces=(MANIFEST_NAMESPACE, REPORT_NAMESPACE),
            ),
        )
    )

    description = RepositoryDescription(
        format=1, repository_id=repository_id, chunk_sizes=sizes, created=now, created_by=version
    )
    objects = {
        CHUNK_KEY_KEY: bytes(sealed_chunk_key),
        INSTRUCTIONS_KEY: stock.instructions(),
        SCRIPT_KEY: stock.script(),
        REPOSITORY_KEY: encode(description),
    }
    directory = keyring.keys_directory(state_directory, repository_id)
    keyring.save(
        directory,
        chunk_key=chunk_key,
        signing_key=signing_key,
        recipients=recipients,
        allowed_signers=signers.text,
        repository_files=[
            RepositoryFile(name=key, sha256=sha256_hex(data)) for key, data in objects.items()
        ],
    )
    last = objects.pop(REPOSITORY_KEY)
    for key, data in objects.items():
        store.put(key, data)
    open_log(store, repository_id, signing_key, state_directory).append(
        EntryType.GENESIS,
        {
            "repository": repository_id,
            "signing_key": signing_key.public_key.fingerprint,
            "recipients": " ".join(recipient.fingerprint for recipient in recipients),
        },
        now=now,
    )
    store.put(REPOSITORY_KEY, last)
    return Initialized(
        repository_id=repository_id,
        address=store.address,
        keys_directory=directory,
        recipients=tuple(recipient.text for recipient in recipients),
        allowed_signers=signers.text.strip(),
    )


def _require_empty(store: Store) -> None:
    """Clear what an unfinished `init` left; refuse anything else."""
    found = []
    for key in store.list(""):
        if key == REPOSITORY_KEY:
            raise SettingsError(
                f"{store.address} is a repository already and was left as it is",
                hint="take a backup into it, or name another directory",
            )
        found.append(key)
        if key not in _BEFORE_THE_LAST:
            raise SettingsError(
                f"{store.address} is not empty: it holds {key}",
                hint="name a new or empty directory",
            )
    for key in found:
        store.delete(key)
