"""Settings of buckets and copies: `[s3]` and `[[copies]]`, as `docs/settings.md` has them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backup.repository.locking import MINIMUM_LOCK
from backup.repository.stores.s3options import (
    PROFILES,
    Credentials,
    Lock,
    LockMode,
    ProfileName,
    S3Options,
)
from backup.retentionpolicy import RetentionSettings

_GIVEN = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


class GivenS3(BaseModel):
    """`[s3]`: how to reach a bucket, and with which lock objects are written.

    Without `lock_for` a lock follows from the retention policy and reaches `lock_at_most` ahead.
    """

    model_config = _GIVEN

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+/?$")] | None = None
    region: Annotated[str, Field(min_length=1)] | None = None
    profile: ProfileName = "aws"
    ca_file: Path | None = None
    path_style: bool | None = None
    lock: LockMode | None = None
    lock_for: Annotated[timedelta, Field(gt=timedelta())] | None = None
    lock_at_most: Annotated[timedelta, Field(ge=MINIMUM_LOCK)] = timedelta(days=365)
    require_locked: Annotated[timedelta, Field(gt=timedelta())] | None = None
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
        return self

    @property
    def is_lock_derived(self) -> bool:
        """Whether locks follow from the retention policy."""
        return self.lock is not None and self.lock_for is None

    def options(
        self, credentials: Credentials | None, longest: timedelta | None = None
    ) -> S3Options:
        """Return the values that a store is opened with.

        `longest` is how long any backup is locked by the policy; None: as far as a lock reaches.
        """
        profile = PROFILES[self.profile]
        lock = None
        if self.lock is not None:
            kept = self.lock_for or longest or self.lock_at_most
            lock = Lock(mode=self.lock, duration=kept)
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
    """`[[copies]]`: a second repository store that backups are copied to.

    `[copies.s3]` and `[copies.retention]` are its own. Without the latter it is never pruned.
    """

    model_config = _GIVEN

    name: Annotated[str, Field(pattern=_NAME)]
    repository: Annotated[str, Field(min_length=1)]
    s3: GivenS3 | None = None
    retention: RetentionSettings | None = None
