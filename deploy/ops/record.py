"""What an operation found and did, for whoever asked: `strongroom host plan` and `apply`.

Each record is a line of JSON at the end of the file that `STRONGROOM_DEPLOY_RECORD` names; without
it (plain pyinfra) it is a line of pyinfra's own log. No record holds a secret.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.context import host, state

from deploy.core.sql import Change, Finding

VARIABLE: Final = "STRONGROOM_DEPLOY_RECORD"
# A file that differs in more lines than this is another file.
_SHOWN_LINES: Final = 12
Commands: TypeAlias = Generator[StringCommand, None, None]
Kind: TypeAlias = Literal["change", "finding", "failure"]


def change(item: str, *, expected: str, observed: str) -> None:
    """Note what is not as declared and is about to be made so."""
    _write("change", item, expected=expected, observed=observed)


def finding(item: str, observed: str) -> None:
    """Note what was not declared and is left as it is."""
    _write("finding", item, expected="", observed=observed)


def changes(found: Iterable[Change]) -> None:
    """Note every change of a plan."""
    for one in found:
        change(one.item, expected=one.expected, observed=one.observed)


def findings(found: Iterable[Finding]) -> None:
    """Note every finding of a plan."""
    for one in found:
        finding(one.item, one.observed)


def failing(item: str, problem: str) -> StringCommand:
    """Note why it can't go on, and return a command that fails: an exception ends every host."""
    # While changes are only looked for, what an earlier operation will make is not there yet.
    kind: Kind = "failure" if state.is_executing else "change"
    _write(kind, item, expected="", observed=problem)
    return StringCommand("false", "#", _comment(problem))


def _comment(text: str) -> str:
    return "".join(one if one.isalnum() or one in " .,:/-_" else " " for one in text)


def lines(item: str, expected: str, observed: str | None) -> None:
    """Note each line in which a file without secrets differs; comments do not count."""
    if observed is None:
        change(item, expected="as declared", observed="not there")
        return
    wanted, found = _said(expected), _said(observed)
    lacking = [line for line in wanted if line not in found]
    beside = [line for line in found if line not in wanted]
    if len(lacking) + len(beside) > _SHOWN_LINES or not (lacking or beside):
        change(item, expected="as declared", observed="another content")
        return
    for line in beside:
        change(item, expected="no such line", observed=line)
    for line in lacking:
        change(item, expected=line, observed="no such line")


def _said(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "//"))]


def _operation() -> str:
    if host.current_op_hash is None:
        return ""
    return ", ".join(sorted(state.get_op_meta(host.current_op_hash).names))


def _write(kind: Kind, item: str, *, expected: str, observed: str) -> None:
    path = os.environ.get(VARIABLE)
    if not path:
        wanted = f", declared: {expected}" if expected else ""
        logger.info(f"{host.print_prefix}{kind}: {item}: {observed}{wanted}")
        return
    line = json.dumps(
        {
            "kind": kind,
            "host": host.name,
            "operation": _operation(),
            "item": item,
            "expected": expected,
            "observed": observed,
        }
    )
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
