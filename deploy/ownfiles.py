"""Files on the operator's machine, keys, certificates, passwords: each whole, or not there."""

from __future__ import annotations

from pathlib import Path

from backup import files
from backup.errors import SettingsError


def write_whole(path: Path, data: bytes, *, mode: int = files.PUBLIC) -> None:
    """Put a file into its place, also into that of an older one; durable on return.

    Raises `SettingsError`, and what was there before is there still, or the whole new one.
    """
    try:
        files.write_over(path, data, mode=mode)
    except OSError as error:
        raise SettingsError(f"writing {path}: {error.strerror}") from error
