"""JSON logs: one line a record, whatever is in it, with its own keys and nothing else."""

from __future__ import annotations

import json
import logging

from backup.jsonlog import JsonLog


def line(message: str, *values: object, **extra: object) -> str:
    """What is logged of a record."""
    record = logging.LogRecord("backup.x", logging.WARNING, __file__, 1, message, values, None)
    vars(record).update(extra)
    return JsonLog().format(record)


def test_a_record_is_one_line_with_its_keys() -> None:
    """Also a sentence with line ends and quotes in it."""
    text = line("took %s", 'a "b"\nc', action="chunk_stored", size_bytes=3)
    assert "\n" not in text
    found = json.loads(text)
    assert found["message"] == 'took a "b"\nc'
    assert (found["level"], found["logger"]) == ("warning", "backup.x")
    assert (found["action"], found["size_bytes"]) == ("chunk_stored", 3)
    assert found["ts"].endswith("Z")


def test_what_is_no_plain_value_is_left_out() -> None:
    """An object's own text may hold anything, a password among it."""
    assert "canary" not in line("x", settings={"dsn": "canary-7c1f"})
