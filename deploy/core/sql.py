"""SQL text: names and literals, and what a change of rights or roles consists of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# The statements that follow hold verifiers: neither the server's log nor pgaudit's gets them, even
# when one of them fails. Only a superuser's session may say so, which these are.
QUIETLY: Final = (
    "SET log_statement = 'none'",
    "SET log_min_duration_statement = -1",
    "SET log_min_error_statement = 'panic'",
    "SET pgaudit.log = 'none'",
    "SET client_min_messages = 'warning'",
)
# Settings that are lists of names: quoted as one, they would be one name with commas in it.
_LISTS: Final = frozenset(
    {"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"}
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Change:
    """One thing that is not as declared, and the statements that make it so.

    `item`, `expected` and `observed` are for people and hold no secret; the statements may.
    """

    item: str
    expected: str
    observed: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is there and was not declared, and is left as it is."""

    item: str
    observed: str


def ident(name: str) -> str:
    """Return a name as SQL has it, quoted: keywords and capitals mean what they say."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a string as SQL has it, whatever `standard_conforming_strings` says."""
    quoted = text.replace("'", "''")
    if "\\" in text:
        doubled = quoted.replace("\\", "\\\\")
        return f" E'{doubled}'"
    return f"'{quoted}'"


def assignment(name: str, value: str) -> str:
    """Return a setting as SET and ALTER … SET take it: `work_mem = '8MB'`."""
    if name in _LISTS:
        return f"{name} = {', '.join(ident(part) for part in _parts(value))}"
    return f"{name} = {literal(value).strip()}"


def is_same_setting(name: str, one: str | None, other: str) -> bool:
    """Whether two values of a setting mean the same, however a list is quoted and spaced."""
    if one is None or name not in _LISTS:
        return one == other
    return _parts(one) == _parts(other)


def _parts(value: str) -> list[str]:
    return [part.strip().strip('"') for part in value.split(",")]


def idents(names: Iterable[str]) -> str:
    """Return names, separated by commas."""
    return ", ".join(ident(name) for name in names)


def script(changes: Iterable[Change], *, in_transaction: bool = True) -> str:
    """Return the input of psql that makes the changes: all of them or none, and quietly."""
    statements = [statement for change in changes for statement in change.statements]
    if in_transaction:
        statements = ["BEGIN", *statements, "COMMIT"]
    return "".join(f"{statement};\n" for statement in (*QUIETLY, *statements))
