"""The commands that documents show, as scripts: what stands between sh fences, by section."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_EXPORT = re.compile(r"\b([A-Z_]+)=(?=\S)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block, and the heading that it stands under."""

    section: str
    language: str
    text: str


def blocks(path: Path) -> Iterator[Block]:
    """Every fenced block of a document, in order."""
    text = path.read_text(encoding="utf-8")
    fences = list(_FENCE.finditer(text))
    headings = [
        found
        for found in _HEADING.finditer(text)
        if not any(fence.start() < found.start() < fence.end() for fence in fences)
    ]
    for fence in fences:
        above = [found[1] for found in headings if found.start() < fence.start()]
        yield Block(section=above[-1], language=fence[1], text=fence[2])


def sections(path: Path) -> set[str]:
    """The headings with commands that are run."""
    return {block.section for block in blocks(path) if block.language == "sh"}


def script(path: Path, *, leave_out: Collection[str] = ()) -> str:
    """All commands of a document, but for some sections, as one script that stops at an error."""
    assert set(leave_out) <= sections(path)
    commands = [
        block.text
        for block in blocks(path)
        if block.language == "sh" and block.section not in leave_out
    ]
    return "set -euo pipefail\n" + "\n".join(commands)


def to_fill_in(path: Path) -> set[str]:
    """The variables that a document asks its reader to fill in."""
    return {
        name
        for block in blocks(path)
        if block.language == "text"
        for line in block.text.splitlines()
        if line.startswith("export ")
        for name in _EXPORT.findall(line.split("#")[0])
    }
