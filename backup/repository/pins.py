"""Pins: backups that stay whatever the policy says, with who said so, when and why.

`docs/format.md`, "Pins": an object `pins/<name>/<backup id>.json`, written once; taking it away
takes the pin off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from backup.errors import IntegrityError, NotFoundError, SettingsError
from backup.repository.canonical import STRICT, UtcTime, decode, encode
from backup.repository.layout import (
    PINS_PREFIX,
    BackupId,
    BackupKey,
    decode_name,
    encode_name,
)
from backup.repository.stores.base import Store

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Why a backup stays, and who said so."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    format: Literal[1]
    backup_id: str
    database: str
    who: Annotated[str, Field(min_length=1, max_length=200)]
    when: UtcTime
    why: Annotated[str, Field(min_length=1, max_length=500)]


def pin_key(key: BackupKey) -> str:
    """Return where the pin of a backup lies."""
    return f"{PINS_PREFIX}{encode_name(key.database)}/{key.id}{_SUFFIX}"


def encode_pin(pin: Pin) -> bytes:
    """Return the bytes of a pin."""
    return encode(pin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Why each pinned backup stays, and what is wrong with pins, a sentence each.

    One that cannot be read is a pin all the same.
    """

    reasons: Mapping[BackupKey, str]
    wrong: tuple[str, ...]


def read_pin(store: Store, key: BackupKey) -> Pin | None:
    """Return the pin of one backup, or None. Raises `IntegrityError`."""
    name = pin_key(key)
    try:
        data = store.get(name)
    except NotFoundError:
        return None
    pin = decode(Pin, data, name)
    if (pin.backup_id, pin.database) != (key.id.text, key.database):
        raise IntegrityError(f"{name} is the pin of another backup", flaw="misfiled")
    return pin


def read_pins(store: Store) -> Mapping[BackupKey, str]:
    """Return why each pinned backup stays; see `Pins`."""
    return look_at_pins(store).reasons


def look_at_pins(store: Store) -> Pins:
    """Return the pins, and what is wrong with them."""
    reasons: dict[BackupKey, str] = {}
    wrong: list[str] = []
    for name in store.list(PINS_PREFIX):
        key = _parse_pin_key(name)
        if key is None:
            wrong.append(f"{name} is no pin by its name, and may have been one")
            continue
        try:
            pin = read_pin(store, key)
        except IntegrityError as error:
            reasons[key] = "the pin cannot be read"
            wrong.append(f"the pin of backup {key.id} cannot be read: {error.message}")
            continue
        if pin is not None:  # taken off in this moment
            reasons[key] = f"{pin.why} ({pin.who}, {pin.when:%Y-%m-%d})"
    return Pins(reasons=reasons, wrong=tuple(wrong))


def _parse_pin_key(name: str) -> BackupKey | None:
    segments = name.split("/")
    if len(segments) != 3 or not segments[2].endswith(_SUFFIX):
        return None
    try:
        return BackupKey(decode_name(segments[1]), BackupId(segments[2].removesuffix(_SUFFIX)))
    except (ValueError, SettingsError):
        return None
