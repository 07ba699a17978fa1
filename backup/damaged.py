"""Chunk objects that were found damaged: no later backup of this host refers to them again.

An object that lies under its name counts as stored, whatever has become of its bytes. So who reads
it and finds it damaged notes it here, in the state directory, and the next backup stores the chunk
anew. A note is a hint: where it could not be written, a chunk stays damaged in all backups until
somebody moves its object away, and with one too many it is stored twice.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from backup.errors import Flaw, IntegrityError, StoreError, StrongroomError

_log = logging.getLogger(__name__)

# Seen in the bytes alone; what else is wrong is seen only by who opens the object.
_IN_THE_BYTES: Final[tuple[Flaw, ...]] = ("altered", "truncated")
_NOTED: Final[tuple[Flaw, ...]] = (*_IN_THE_BYTES, "unauthentic")
_NAME = re.compile(r"[0-9a-f]{64}")


class DamagedObjects:
    """What this host knows of the damaged chunk objects of a repository, by their SHA-256."""

    def __init__(self, state_directory: Path, repository_id: str) -> None:
        self._directory = state_directory / "damaged" / repository_id

    def all(self) -> frozenset[bytes]:
        """Return them. Raises `StoreError` if that can't be read."""
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise StoreError(
                f"reading {self._directory}: {error.strerror or error}",
                hint="the state directory must be this user's own",
            ) from error
        return frozenset(bytes.fromhex(name) for name in names if _NAME.fullmatch(name))

    def note(self, sha256: bytes, error: StrongroomError) -> None:
        """Note an object if what reading it failed with says that its bytes are wrong.

        Not one that is missing, that the store did not give, or that is sealed to somebody else.
        Where it can't be noted the log says so: what was found damaged is told in any case.
        """
        if not isinstance(error, IntegrityError) or error.flaw not in _NOTED:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path(sha256).write_text(error.flaw, encoding="ascii")
        except OSError as failure:
            _log.warning("%s is damaged, and that could not be noted: %s", sha256.hex(), failure)

    def clear(self, sound: Iterable[bytes], *, is_opened: bool) -> None:
        """Forget those that were read and are sound, as somebody put the right bytes back.

        What only opening can tell is not forgotten unless it was opened.
        """
        try:
            for sha256 in self.all().intersection(sound):
                if is_opened or self._path(sha256).read_text(encoding="ascii") in _IN_THE_BYTES:
                    self._path(sha256).unlink(missing_ok=True)
        except (OSError, StrongroomError, UnicodeDecodeError) as failure:
            _log.warning("objects that are sound again are still noted as damaged: %s", failure)

    def _path(self, sha256: bytes) -> Path:
        return self._directory / sha256.hex()
