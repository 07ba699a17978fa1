"""The settings in force, one line each with where it comes from; and their JSON schema."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from backup.environment import (
    CREDENTIALS_VARIABLE,
    DSN_CREDENTIAL,
    config_path,
    database_credentials,
    fallback_dsn,
)
from backup.repository.layout import encode_name
from backup.settings import PREFIX, Settings

_MASK = "**********"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """A setting, its value as text, and its source."""

    name: str
    value: str
    source: str


def effective(
    settings: Settings,
    *,
    environment: Mapping[str, str],
    is_root: bool,
    config: Path | None,
    options: Collection[str] = (),
) -> list[Effective]:
    """Return every setting in force, in the order of the documentation; secrets are masked.

    `options` are the settings that the command line gave.
    """
    path = config or config_path(environment, is_root=is_root)
    given = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    variables = {
        name.upper().removeprefix(PREFIX).lower()
        for name in environment
        if name.upper().startswith(PREFIX)
    }
    directory = environment.get(CREDENTIALS_VARIABLE)
    credentials = {one.name for one in Path(directory).iterdir()} if directory else set()

    def source(field: str) -> str:
        if field in options:
            return "command line"
        if field in variables:
            return f"{PREFIX}{field.upper()}"
        if field in credentials:
            return f"credential {field}"
        if field in given:
            return str(path)
        if field == "dsn" and fallback_dsn(environment):
            return "DATABASE_URL or POSTGRES_*"
        return "default"

    secrets = database_credentials(environment)
    rows = []
    for field in Settings.model_fields:
        for name, value in _leaves(field, getattr(settings, field)):
            of_database = name.removeprefix("databases.").removesuffix(".dsn")
            is_credential = name.endswith(".dsn") and encode_name(of_database) in secrets
            rows.append(
                Effective(
                    name=name,
                    value=value,
                    source=f"credential {DSN_CREDENTIAL}{encode_name(of_database)}"
                    if is_credential
                    else source(field)
                    if source(field) != str(path) or _is_in(given, name)
                    else "default",
                )
            )
    return rows


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for field in type(value).model_fields:
            inner = getattr(value, field)
            if inner is not None:
                yield from _leaves(f"{name}.{field}", inner)
    elif isinstance(value, dict):
        for key, inner in sorted(value.items()):
            yield from _leaves(f"{name}.{key}", inner)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for number, inner in enumerate(value):
            yield from _leaves(f"{name}.{number}", inner)
    elif value is not None:
        yield name, _MASK if isinstance(value, SecretStr) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _is_in(given: Mapping[str, Any], name: str) -> bool:
    """Whether the file itself sets this, and not a default inside of a table that it sets."""
    found: Any = given
    rest = name
    while rest:
        if isinstance(found, list):
            index, _, rest = rest.partition(".")
            found = found[int(index)]
            continue
        # Names of databases may have dots in them: the longest key that fits.
        keys = [key for key in found if rest == key or rest.startswith(f"{key}.")]
        if not keys:
            return False
        key = max(keys, key=len)
        found, rest = found[key], rest[len(key) + 1 :]
    return True


def schema() -> dict[str, Any]:
    """Return the JSON schema of the settings file."""
    found = Settings.model_json_schema()
    found.pop("required", None)  # what the file leaves out has a default, or another source
    _take_numbers(found)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "Strongroom settings",
    }


def _take_numbers(part: object) -> None:
    """Durations are seconds as well as ISO 8601, and secrets are text like any other."""
    if isinstance(part, list):
        for inner in part:
            _take_numbers(inner)
    elif isinstance(part, dict):
        if part.get("format") == "duration":
            part.pop("format")
            part["type"] = ["number", "string"]
            part.pop("exclusiveMinimum", None)
        if part.get("writeOnly"):
            part.pop("format", None)
        for inner in part.values():
            _take_numbers(inner)
