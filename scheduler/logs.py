"""The daemon's own log: sentences for people, or one JSON object a line for programs."""

from __future__ import annotations

import logging
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from backup.jsonlog import JsonLog
from scheduler.events import Event
from scheduler.jobs import JobKey


class JsonLines(JsonLog):
    """A record as one line of JSON, with what an event holds."""

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what the line says, key by key."""
        line = super().fields_of(record)
        event = getattr(record, "event", None)
        if isinstance(event, Event):
            line |= {
                one.name: _plain(getattr(event, one.name))
                for one in fields(event)
                if one.name not in {*line, "result"}
            }
        return line


def _plain(value: object) -> object:
    if isinstance(value, JobKey):
        return {"job": value.job, "database": value.database or None}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
