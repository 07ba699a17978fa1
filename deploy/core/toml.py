"""A table as TOML 1.0, for the daemon's settings file; the standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import PurePath
from typing import Any, Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_UNESCAPED_BY_JSON: Final = "\x7f"


def render(table: Mapping[str, Any]) -> str:
    """Return the text of a table. Raises `TypeError` for what TOML cannot say."""
    return "".join(_table((), table)).lstrip("\n")


def _table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    lines = [f"\n[{'.'.join(map(_key, path))}]\n"] if path else []
    lines += [
        f"{_key(name)} = {_value(value)}\n"
        for name, value in table.items()
        if value is not None and not isinstance(value, Mapping)
    ]
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines += _table((*path, name), value)
    return lines


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: Any) -> str:  # noqa: ANN401 - whatever a settings file may hold
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, timedelta):
        return repr(value.total_seconds())
    if isinstance(value, str | PurePath):
        return _string(str(value))
    if isinstance(value, Mapping):
        inner = (f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"TOML has no form for {type(value).__name__}")


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for surrogates (which no text from TOML has) and DEL.
    return json.dumps(text, ensure_ascii=False).replace(_UNESCAPED_BY_JSON, "\\u007f")
