"""The daemon's own log: sentences for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler.events import Event
from scheduler.jobs import JobKey


class JsonLines(logging.Formatter):
    """A record as one line of JSON: `ts`, `level`, `message`, `action`, and what an event holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "action": getattr(record, "action", None),
        }
        event = getattr(record, "event", None)
        if isinstance(event, Event):
            line |= {
                one.name: _plain(getattr(event, one.name))
                for one in fields(event)
                if one.name not in {*line, "result"}
            }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


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
