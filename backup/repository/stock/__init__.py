"""What lies in every repository so that the data comes back without this program."""

from __future__ import annotations

from importlib.resources import files


def instructions() -> bytes:
    """Return `RESTORE.md`: how to get the data back with stock tools."""
    return (files(__name__) / "RESTORE.md").read_bytes()


def script() -> bytes:
    """Return `restore.sh`, which does what `RESTORE.md` says."""
    return (files(__name__) / "restore.sh").read_bytes()
