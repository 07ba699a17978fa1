"""Secrets on the operator's machine: read late, by the one call that needs them, printed never."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from backup.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """A file with one secret, which only its owner may read."""

    path: Path

    def __call__(self) -> SecretStr:
        """Return the secret without the line's end. Raises `SettingsError`."""
        return SecretStr(self.read().decode().rstrip("\r\n"))

    def read(self) -> bytes:
        """Return the content as it is. Raises `SettingsError`."""
        if problem := self.problem():
            raise SettingsError(problem)
        return self.path.read_bytes()

    def problem(self) -> str | None:
        """Return why it cannot be used, without reading it; None if it can."""
        try:
            found = self.path.stat()
        except OSError as error:
            return f"secret {self.path}: {(error.strerror or 'cannot be read').lower()}"
        if not stat.S_ISREG(found.st_mode):
            return f"secret {self.path} is not a file"
        if found.st_mode & 0o077:
            return f"secret {self.path} may be read by others: chmod 600 {self.path}"
        return None if found.st_size else f"secret {self.path} is empty"
