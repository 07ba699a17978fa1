"""Canonical JSON of a value with long lists, a piece at a time: no list is there twice.

The catalogue of a database with very many tables is tens of megabytes of text, which as a tree of
Python's would be hundreds. `canonical` stays the authority on what the text is: here is what it
says, in less memory.
"""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Iterator
from functools import cache
from json import JSONDecodeError
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from backup.crypto.source import Buffer
from backup.errors import SettingsError
from backup.repository.canonical import DECODER, ENCODER, STRICT, canonical_text, decode

_Value = TypeVar("_Value")
_ITEMS: Final = 1000
_WINDOW_BYTES: Final = 256 * 1024


def encode_pieces(value: object) -> Iterator[bytes]:
    """Yield what `canonical.encode` returns for a dataclass, a batch of a list's items at once."""
    mark = "{"
    kind: Any = type(value)
    for name, hint in _hints(kind):
        yield f'{mark}"{name}":'.encode()
        mark = ","
        inner = getattr(value, name)
        if dataclasses.is_dataclass(inner):
            yield from encode_pieces(inner)
        elif _is_list(hint):
            yield b"["
            for start in range(0, len(inner), _ITEMS):
                batch = _text(hint, inner[start : start + _ITEMS])
                yield b"," + batch[1:-1] if start else batch[1:-1]
            yield b"]"
        else:
            yield _text(hint, inner)
    yield b"}"


def decode_pieces(
    kind: type[_Value], data: Buffer, name: str, *, window_bytes: int = _WINDOW_BYTES
) -> _Value:
    """Return what `canonical.decode` returns, or raise what it raises."""
    try:
        reader = _Reader(data, window_bytes)
        value: _Value = reader.dataclass(kind)
        reader.require_end()
    except (ValueError, TypeError, LookupError, RecursionError, SettingsError):
        # Something is wrong with the text. What, and what to say of it, is known there.
        return decode(kind, bytes(data), name)
    return value


class _Reader:
    """A text on its way from bytes to values: a window of it, and where in the window we are."""

    def __init__(self, data: Buffer, window_bytes: int) -> None:
        self._rest = memoryview(data)
        self._window_bytes = window_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0

    def dataclass(self, kind: Any) -> Any:  # noqa: ANN401 - a type, and a value of it
        """Return the object that comes next: known fields in their order, each once."""
        hints = dict(_hints(kind))
        fields: dict[str, object] = {}
        last = ""
        self._require("{")
        while True:
            name = self._value(str)
            if name <= last:
                raise ValueError("fields out of order")
            last = name
            self._require(":")
            fields[name] = self._field(hints[name])
            if not self._take(","):
                break
        self._require("}")
        return kind(**fields)

    def require_end(self) -> None:
        """Raise unless all was read."""
        if self._ahead():
            raise ValueError("more text than one value")

    def _field(self, hint: Any) -> object:  # noqa: ANN401 - a type, in any form
        if _is_list(hint):
            return tuple(self._items(hint))
        inner = next(filter(_is_stored, (hint, *get_args(hint))), None)
        if inner is not None and (inner is hint or self._ahead() == "{"):
            return self.dataclass(inner)
        return self._value(hint)

    def _items(self, hint: Any) -> Iterator[object]:  # noqa: ANN401 - a type, in any form
        self._require("[")
        if self._take("]"):
            return
        texts: list[str] = []
        goes_on = True
        while goes_on:
            texts.append(self._next())
            goes_on = self._take(",")
            if len(texts) == _ITEMS or not goes_on:
                yield from _adapter(hint).validate_json(f"[{','.join(texts)}]")
                texts.clear()
        self._require("]")

    def _value(self, hint: Any) -> Any:  # noqa: ANN401 - a type, in any form
        return _adapter(hint).validate_json(self._next())

    def _next(self) -> str:
        """Return the text of the value that comes next, if it is the canonical one."""
        while True:
            try:
                plain, end = DECODER.raw_decode(self._text, self._at)
            except JSONDecodeError:
                if not self._more():
                    raise
                continue
            # A number that ends with the window may go on in the next one.
            if end < len(self._text) or not self._more():
                break
        text = self._text[self._at : end]
        if ENCODER.encode(plain) != text:
            raise ValueError("not canonical")
        self._at = end
        return text

    def _require(self, mark: str) -> None:
        if not self._take(mark):
            raise ValueError(f"no {mark}")

    def _take(self, mark: str) -> bool:
        """Whether this character comes next; it is passed then."""
        if self._ahead() != mark:
            return False
        self._at += 1
        return True

    def _ahead(self) -> str:
        """Return the next character; none at the end."""
        while self._at == len(self._text) and self._more():
            pass
        return self._text[self._at : self._at + 1]

    def _more(self) -> bool:
        """Move the window; return whether there was more to read."""
        # What does not end in the window is read twice as far the next time.
        size = max(self._window_bytes, len(self._text) - self._at)
        piece, self._rest = self._rest[:size], self._rest[size:]
        if not piece:
            return False
        self._text = self._text[self._at :] + self._decoder.decode(piece, final=not self._rest)
        self._at = 0
        return True


@cache
def _hints(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a dataclass with their types, in the order of the text."""
    hints = get_type_hints(kind, include_extras=True)
    names = sorted(field.name for field in dataclasses.fields(kind))
    return tuple((name, hints[name]) for name in names)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - a type, in any form
    return TypeAdapter(hint, config=STRICT)


def _is_stored(hint: Any) -> bool:  # noqa: ANN401 - a type, in any form
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _is_list(hint: Any) -> bool:  # noqa: ANN401 - a type, in any form
    return get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis


def _text(hint: Any, value: object) -> bytes:  # noqa: ANN401 - a type, in any form
    return canonical_text(_adapter(hint).dump_python(value, mode="json"))
