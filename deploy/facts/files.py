"""Files and directories of a host."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api.facts import FactBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or directory: who has it, who may do what, and the SHA-256 of a file's content."""

    owner: str
    group: str
    mode: str
    is_directory: bool
    sha256: str | None


class FileEntry(FactBase[Entry | None]):
    """What is at a path; None if nothing is. A link is followed only if it is asked for."""

    @staticmethod
    def default() -> Entry | None:
        """Nothing is there."""
        return None

    def command(self, path: str) -> str:
        """Return what prints owner, group, mode and kind, and the sum of a file."""
        quoted = shlex.quote(path)
        return (
            f"if [ -e {quoted} ]; then stat -c '%U|%G|%a|%F' {quoted};"
            f" if [ -f {quoted} ]; then sha256sum <{quoted}; fi; fi"
        )

    def process(self, output: list[str]) -> Entry | None:
        """Return the entry."""
        if not output:
            return None
        owner, group, mode, kind = output[0].split("|")
        return Entry(
            owner=owner,
            group=group,
            mode=mode.zfill(4),
            is_directory=kind == "directory",
            sha256=output[1].split()[0] if len(output) > 1 else None,
        )


class FileText(FactBase[str | None]):
    """The text of a file that holds no secret; None if it is not there."""

    @staticmethod
    def default() -> str | None:
        """It is not there."""
        return None

    def command(self, path: str) -> str:
        """Return what prints it."""
        quoted = shlex.quote(path)
        return f"[ ! -f {quoted} ] || {{ echo; cat {quoted}; }}"

    def process(self, output: list[str]) -> str | None:
        """Return the text."""
        return "\n".join(output[1:]) if output else None
