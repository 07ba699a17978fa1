"""A status as JSON, for `status --json` and `/status`: words, times in UTC, spans in seconds."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum

from scheduler.status import Severity, Status


def status_json(status: Status) -> dict[str, object]:
    """Return the status for `json.dumps`, with `exit_code` and `summary`."""
    plain = _plain(status)
    assert isinstance(plain, dict)
    return {**plain, "exit_code": status.severity.value, "summary": status.summary}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Severity):
        return value.name.lower()
    return value.value if isinstance(value, Enum) else value
