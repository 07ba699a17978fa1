"""Writing signed records about hosts on the operator's machine."""

from __future__ import annotations

from pathlib import Path

from backup.crypto.sshkey import SigningKey
from backup.errors import KeyUnavailableError
from backup.evidence.bundle import sign_evidence
from backup.journeys.reports import write_new


def load_signing_key(path: Path) -> SigningKey:
    """Return the key in a file that nobody else may read. Raises `KeyUnavailableError`."""
    try:
        if path.stat().st_mode & 0o077:
            raise KeyUnavailableError(
                f"{path} can be read by others than its owner, so it is not used",
                hint=f"chmod 600 {path}; if others may have read it, replace the key",
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeyUnavailableError(f"reading {path}: {error.strerror}") from error
    return SigningKey.from_text(text)


def write_signed(directory: Path, name: str, data: bytes, signing_key: Path) -> Path:
    """Write `NAME.json` and `NAME.json.sig`; return the first. Neither may exist.

    An auditor checks it with `ssh-keygen -Y verify -n strongroom-evidence@v1`.
    """
    key = load_signing_key(signing_key)
    path = directory / f"{name}.json"
    write_new(path, data)
    write_new(path.with_name(f"{path.name}.sig"), sign_evidence(data, key))
    return path


def write_page(path: Path, text: str) -> None:
    """Write what people read beside a signed record; it must not exist."""
    write_new(path, text.encode())
