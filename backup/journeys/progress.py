"""How a journey tells whoever watches what moves: a terminal's bar, a log, or nobody."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called from several threads at once; must return quickly and never raise."""

    def begin(self, activity: str, total_bytes: int | None) -> None:
        """A phase begins; `total_bytes` None means that its size is not known."""

    def advance(self, moved_bytes: int, stored_bytes: int = 0) -> None:
        """So many more bytes were read; so many of them were new to the store."""

    def note(self, sentence: str) -> None:
        """Something that a person should read."""


class Silent:
    """Nobody watches."""

    def begin(self, activity: str, total_bytes: int | None) -> None:
        """Do nothing."""

    def advance(self, moved_bytes: int, stored_bytes: int = 0) -> None:
        """Do nothing."""

    def note(self, sentence: str) -> None:
        """Do nothing."""
