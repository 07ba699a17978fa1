"""What the firm asks of retention: `[retention]`, and `retention` of a database.

The models are what the settings file says; `Policy` is what the plan works with.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from backup.repository.garbage import MINIMUM_GRACE
from backup.repository.retention import Policy

_Count: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000)]
_Span: TypeAlias = Annotated[timedelta, Field(ge=timedelta())]


class DatabaseRetention(BaseModel):
    """How many backups of one database stay; what is not set is as in `[retention]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    keep_last: _Count = 0
    keep_hourly: _Count = 0
    keep_daily: _Count = 0
    keep_weekly: _Count = 0
    keep_monthly: _Count = 0
    keep_yearly: _Count = 0
    keep_within: _Span = timedelta()
    keep_proven_monthly: _Count = 12
    zone: str | None = None
    minimum_count: Annotated[int, Field(ge=1)] = 3
    minimum_age: _Span = timedelta(days=1)
    max_expire: _Count = 30

    @field_validator("zone")
    @classmethod
    def _require_zone(cls, zone: str | None) -> str | None:
        try:
            return zone if zone is None else ZoneInfo(zone).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; zones look like Europe/London") from None

    def policy(self, zone: str = "UTC") -> Policy:
        """Return the policy; `zone` counts where the table names none."""
        values = self.model_dump(include=set(DatabaseRetention.model_fields) - {"zone"})
        return Policy(**values, zone=ZoneInfo(self.zone or zone))


class RetentionSettings(DatabaseRetention):
    """`[retention]`: the policy of every database that has none of its own.

    `sweep_grace` is how long what nothing refers to stays marked before it is deleted: longer
    than any run takes.
    """

    sweep_grace: Annotated[timedelta, Field(ge=MINIMUM_GRACE)] = timedelta(days=3)

    def of_database(self, own: DatabaseRetention | None, zone: str = "UTC") -> Policy:
        """Return the policy of a database: its own table, and this one for what that leaves out."""
        given = {} if own is None else own.model_dump(exclude_unset=True)
        inherited = self.model_dump(exclude={"sweep_grace"})
        return DatabaseRetention(**{**inherited, **given}).policy(zone)
