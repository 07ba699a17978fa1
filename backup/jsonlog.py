"""Log records as one line of JSON each, with the keys that a record carries beside its sentence."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

# What every record has of itself; the rest is what we gave it (`action` and its like).
_ORDINARY: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN: Final = (str, int, float, bool, type(None))


class JsonLog(logging.Formatter):
    """A record as `ts`, `level`, `logger`, `message`, and its own keys that are plain."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(self.fields_of(record), ensure_ascii=False)

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what the line says, key by key."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "ts": moment.isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "action": None,
        }
        # Other values are objects: what they would show nobody has looked at.
        line |= {
            key: value
            for key, value in vars(record).items()
            if key not in _ORDINARY and isinstance(value, _PLAIN)
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return line
