"""Canonical JSON: one text for one value, so that what is signed is what is stored.

Sorted keys, no spaces, UTF-8, no floats, integers within ±2^53, times in UTC with a final `Z`.
Reading is strict: an unknown field is an unknown format, never something to skip, and a text
that another reader could read otherwise (a key given twice, another zone) is refused.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from backup.errors import IntegrityError, SettingsError

STRICT = ConfigDict(extra="forbid", strict=True)
"""For `__pydantic_config__` of the dataclasses that are stored."""

_Value = TypeVar("_Value")
_MAXIMUM_INTEGER = 2**53
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?Z")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,37}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Making one costs milliseconds; there are three kinds of stored value.
_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _integer_from_text(value: object) -> object:
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        raise ValueError("a number that may be large is not written as text, in digits alone")
    return int(value)


def _digest_from_text(value: object) -> object:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError("a SHA-256 is not written as 64 hex digits")
    return bytes.fromhex(value)


def _time_from_text(value: object) -> object:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("a time is not written 2026-01-14T02:00:00Z")
    return datetime.fromisoformat(value)


def _text_from_time(value: datetime) -> str:
    if value.utcoffset() != timedelta():
        raise TypeError("a stored time must be in UTC")
    return value.isoformat().replace("+00:00", "Z")


IntegerAsText: TypeAlias = Annotated[
    int,
    BeforeValidator(_integer_from_text),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_INTEGER.pattern})$"}),
]
"""An integer that may pass 2^53, such as a bigint of PostgreSQL: stored as text."""

Sha256: TypeAlias = Annotated[
    bytes,
    BeforeValidator(_digest_from_text),
    PlainSerializer(bytes.hex, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_DIGEST.pattern})$"}),
]
"""A SHA-256, 32 bytes: stored as 64 hex digits. Where there may be a million of them."""

UtcTime: TypeAlias = Annotated[
    datetime,
    BeforeValidator(_time_from_text),
    PlainSerializer(_text_from_time, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIME.pattern}$"}),
]
"""A time in UTC, to the second or to the microsecond: stored with a final `Z`."""


def encode(value: object) -> bytes:
    """Return the canonical bytes of a stored value (a dataclass), with no newline."""
    return canonical_text(_adapter(type(value)).dump_python(value, mode="json"))


def canonical_text(plain: object) -> bytes:
    """Return the canonical bytes of objects, arrays, texts and numbers."""
    _require_canonical(plain)
    return _text(plain)


def decode(kind: type[_Value], data: bytes, name: str) -> _Value:
    """Return the value in `data`, or raise `IntegrityError` naming the object and the field."""
    try:
        value: _Value = _adapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the text"
        raise IntegrityError(
            f"{name} does not follow this version's format: {where}: {first['msg'].lower()}",
            hint=_upgrade(data),
        ) from error
    except SettingsError as error:
        raise IntegrityError(f"{name}: {error.message}") from error
    if not _is_canonical(data):
        raise IntegrityError(f"{name} is not canonical JSON: this program did not write it so")
    return value


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _text(plain: object) -> bytes:
    return ENCODER.encode(plain).encode()


def _is_canonical(data: bytes) -> bool:
    try:
        plain = DECODER.decode(data.decode())
    except TypeError:
        return False
    return _text(plain) == data


def _upgrade(data: bytes) -> str:
    """Return what to do about a text that this version does not read, naming who wrote it."""
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        plain = None
    writer = None
    if isinstance(plain, dict):
        writer = plain.get("written_by") or plain.get("created_by")
    if not isinstance(writer, str):
        return "a newer strongroom may have written it: `strongroom --version`, then upgrade"
    return f"it says that {writer[:60]!r} wrote it: read it with that version or a newer one"


def _refused(text: str) -> object:
    raise TypeError(f"a stored value must not hold {text}")


def _read_integer(text: str) -> int:
    value = int(text)
    _require_canonical(value)
    return value


# They find what `_require_canonical` refuses while they read, as the text is walked only once then.
DECODER = json.JSONDecoder(parse_float=_refused, parse_constant=_refused, parse_int=_read_integer)
ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _require_canonical(plain: object) -> None:
    if isinstance(plain, dict):
        for inner in plain.values():
            _require_canonical(inner)
    elif isinstance(plain, list):
        for inner in plain:
            _require_canonical(inner)
    elif isinstance(plain, float):
        raise TypeError("a stored value must not hold a float")
    elif isinstance(plain, int) and abs(plain) > _MAXIMUM_INTEGER:
        raise TypeError("a stored integer must stay within 2^53; write it as text")
