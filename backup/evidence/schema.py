"""The published JSON schema of `report.json`, made from the values themselves. Pure."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from backup.evidence.report import Report

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> str:
    """Return `docs/report.schema.json`: what `strongroom report schema` prints.

    It describes what is written, so every field is required: what is not known is null.
    """
    schema = TypeAdapter(Report).json_schema(mode="serialization")
    for described in (schema, *schema["$defs"].values()):
        _require_all(described)
    schema |= {"$schema": _DIALECT, "title": "report.json of a restore test, format 1"}
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _require_all(described: dict[str, Any]) -> None:
    if "properties" in described:
        described["required"] = sorted(described["properties"])
    for field in described.get("properties", {}).values():
        field.pop("title", None)
        field.pop("default", None)
