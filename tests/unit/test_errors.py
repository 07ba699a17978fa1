"""The error tree and the operator's table of exit codes say the same."""

from __future__ import annotations

import re
from pathlib import Path

from backup import errors
from backup.errors import StrongroomError

PAGE = Path(__file__).parents[2] / "docs/exit-codes.md"
ROW = re.compile(r"^\| (\d+) \| `(\w+)` \| (yes|no) \|", re.MULTILINE)


def every_class() -> list[type[StrongroomError]]:
    """All classes of the tree."""
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, StrongroomError)
    ]


def test_the_page_lists_every_class_as_it_is() -> None:
    """Code and whether a retry can help."""
    rows = {
        name: (int(code), retry == "yes") for code, name, retry in ROW.findall(PAGE.read_text())
    }
    assert rows == {kind.__name__: (kind.exit_code, kind.is_retryable) for kind in every_class()}


def test_codes_tell_classes_apart() -> None:
    """Only an object that exists already, or is locked, shares its parent's code."""
    shared = {errors.ObjectExistsError, errors.LockedError}
    codes = [kind.exit_code for kind in every_class() if kind not in shared]
    assert len(set(codes)) == len(codes)
    assert all(1 <= code < 64 for code in codes)


def test_an_error_carries_its_hint() -> None:
    """The message is what was being done, the hint is the next command."""
    error = StrongroomError("reading x: gone", hint="strongroom doctor")
    assert (str(error), error.message, error.hint) == (
        "reading x: gone",
        "reading x: gone",
        "strongroom doctor",
    )
    assert StrongroomError("x").hint is None
