"""Settings of buckets and copies: `[s3]` and `[[copies]]`, as `docs/settings.md` has them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backup.repository.stores.s3options import (
    PROFILES,
    Credentials,
    Lock,
    LockMode,
    ProfileName,
    S3Options,
)

_GIVEN = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


class GivenS3(BaseModel):
    """`[s3]`: how to reach a bucket, and with which lock objects are written."""

    model_config = _GIVEN

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+/?$")] | None = None
    region: Annotated[str, Field(min_length=1)] | None = None
    profile: ProfileName = "aws"
    ca_file: Path | None = None
    path_style: bool | None = None
    lock: LockMode | None = None
    lock_for: Annotated[timedelta, Field(gt=timedelta())] | None = None
    connections: Annotated[int, Field(ge=1, le=64)] = 8
    timeout: Annotated[timedelta, Field(gt=timedelta())] = timedelta(minutes=2)

    @model_validator(mode="after")
    def _require_sense(self) -> Self:
        if self.profile != "aws" and self.endpoint is None:
            raise ValueError(f"profile {self.profile} needs an endpoint")
        if self.lock is not None and not PROFILES[self.profile].has_lock:
            raise ValueError(f"profile {self.profile} has no Object Lock")
        if self.lock is None and self.lock_for is not None:
            raise ValueError("lock_for without lock")
        if self.lock is not None and self.lock_for is None:
            raise ValueError("lock needs lock_for: how long nobody can delete an object")
        return self

    def options(self, credentials: Credentials | None) -> S3Options:
        """Return the values that a store is opened with."""
        profile = PROFILES[self.profile]
        lock = None
        if self.lock is not None and self.lock_for is not None:
            lock = Lock(mode=self.lock, duration=self.lock_for)
        return S3Options(
            profile=profile,
            endpoint=self.endpoint,
            region=self.region,
            path_style=profile.path_style if self.path_style is None else self.path_style,
            ca_file=self.ca_file,
            credentials=credentials,
            lock=lock,
            connections=self.connections,
            timeout=self.timeout,
        )


class GivenCopy(BaseModel):
    """`[[copies]]`: a second repository store that backups are copied to; `[copies.s3]` its own."""

    model_config = _GIVEN

    name: Annotated[str, Field(pattern=_NAME)]
    repository: Annotated[str, Field(min_length=1)]
    s3: GivenS3 | None = None
