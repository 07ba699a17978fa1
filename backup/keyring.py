"""The keys that a backup host holds for one repository, and the pins that it checks against.

Below the state directory, `keys/<repository id>/`:

    chunk.key        names chunks; decrypts nothing
    signing.key      Ed25519, OpenSSH form; signs manifests
    recipients.txt   public keys, as `age -R` reads them: who can decrypt
    allowed_signers  as `ssh-keygen -Y verify -f` reads it: whose manifests count
    files.sha256     as `sha256sum --check` reads it: what `init` wrote for all backups

No identity is ever here. What the store says of recipients or signers is never believed: whoever
can write to the store could write himself in, or another `restore.sh`.
"""

from __future__ import annotations

import re
import secrets
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from backup.crypto.allowed_signers import AllowedSigners
from backup.crypto.recipients import Recipient, parse_recipient
from backup.crypto.sshkey import SigningKey
from backup.errors import KeyUnavailableError, SettingsError
from backup.files import create, make_directory, move_over, sync_directory
from backup.repository.chunking import ChunkKey
from backup.repository.layout import require_repository_id
from backup.repository.manifest import RepositoryFile
from backup.repository.writing import WritingKeys

CHUNK_KEY_FILE = "chunk.key"
SIGNING_KEY_FILE = "signing.key"
RECIPIENTS_FILE = "recipients.txt"
ALLOWED_SIGNERS_FILE = "allowed_signers"
FILES_FILE = "files.sha256"

_FILE_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9.-]+)")


def keys_directory(state_directory: Path, repository_id: str) -> Path:
    """Return where the keys for a repository are kept.

    Raises `ValueError` for what is no repository id: the store must not choose a directory here.
    """
    require_repository_id(repository_id)
    return state_directory / "keys" / repository_id


def save(
    directory: Path,
    *,
    chunk_key: ChunkKey,
    signing_key: SigningKey,
    recipients: Sequence[Recipient],
    allowed_signers: str,
    repository_files: Sequence[RepositoryFile],
) -> None:
    """Write a new set of keys, readable by this user alone; durable on return.

    Raises `SettingsError` if keys are there already: they are never overwritten.
    """
    if directory.exists():
        raise SettingsError(f"{directory} holds keys already and they were left as they are")
    texts = {
        CHUNK_KEY_FILE: chunk_key.text,
        SIGNING_KEY_FILE: signing_key.text,
        RECIPIENTS_FILE: "".join(f"{recipient.text}\n" for recipient in recipients),
        ALLOWED_SIGNERS_FILE: allowed_signers,
        FILES_FILE: "".join(f"{file.sha256}  {file.name}\n" for file in repository_files),
    }
    unfinished = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    try:
        try:
            make_directory(unfinished)
            for name, text in texts.items():
                create(unfinished / name, text.encode())
            sync_directory(unfinished)
            move_over(unfinished, directory)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise SettingsError(
            f"writing keys to {directory}: {error.strerror or error}",
            hint="name a directory of your own with --state-directory",
        ) from error


def load_writing_keys(directory: Path, credentials: Path | None) -> WritingKeys:
    """Return what a backup is written with. Raises `KeyUnavailableError`.

    A file of the same name in the credentials directory (systemd's `LoadCredential=`) wins.
    """
    if not directory.is_dir():
        raise KeyUnavailableError(
            f"this host holds no keys for the repository ({directory} does not exist)",
            hint="check --repository and --state-directory; `strongroom init` made the keys",
        )
    recipients = tuple(
        parse_recipient(line.strip())
        for line in _read(directory / RECIPIENTS_FILE).splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    )
    if not recipients:
        raise KeyUnavailableError(f"{directory / RECIPIENTS_FILE} lists no recipient")
    return WritingKeys(
        recipients=recipients,
        chunk_key=ChunkKey.from_text(_read_secret(directory, CHUNK_KEY_FILE, credentials)),
        signing_key=SigningKey.from_text(_read_secret(directory, SIGNING_KEY_FILE, credentials)),
        files=tuple(map(_parse_file, _read(directory / FILES_FILE).splitlines())),
    )


def load_signing_key(directory: Path, credentials: Path | None) -> SigningKey:
    """Return what this host signs with, if it holds nothing else. Raises `KeyUnavailableError`."""
    return SigningKey.from_text(_read_secret(directory, SIGNING_KEY_FILE, credentials))


def _parse_file(line: str) -> RepositoryFile:
    match = _FILE_LINE.fullmatch(line)
    if match is None:
        raise KeyUnavailableError(f"{FILES_FILE} has a line that is not of sha256sum: {line!r}")
    return RepositoryFile(name=match[2], sha256=match[1])


def load_allowed_signers(directory: Path, named: Path | None) -> AllowedSigners | None:
    """Return the pinned signers: from the file `named`, or of this host; None if there are none."""
    path = named or directory / ALLOWED_SIGNERS_FILE
    if named is None and not path.exists():
        return None
    return AllowedSigners.parse(_read(path))


def _read_secret(directory: Path, name: str, credentials: Path | None) -> str:
    if credentials is not None and (credentials / name).exists():
        return _read(credentials / name)
    path = directory / name
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyUnavailableError(
            f"{path} can be read by others than its owner, so it is not used",
            hint=f"chmod 600 {path}; if others may have read it, replace the key",
        )
    return _read(path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise KeyUnavailableError(f"reading {path}: {reason}") from error
