"""What has to be known of a bucket before it is asked anything: address, kind of store, limits.

The kinds differ in what they can do, as their own documentation says; `strongroom doctor` asks the
real one and says where it differs from this page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias

from backup.errors import SettingsError
from backup.repository.stores.base import is_key

SCHEME = "s3://"

ProfileName: TypeAlias = Literal[
    "aws", "ceph", "minio", "r2", "wasabi", "backblaze", "garage", "other"
]
LockMode: TypeAlias = Literal["governance", "compliance"]
DigestName: TypeAlias = Literal["sha256", "md5", "signature"]

_DAY = timedelta(days=1)
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0
_SILENCES = 4  # in a row, within the time that a call may take
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a kind of store can do.

    `has_conditional_put`: it refuses `If-None-Match: *` where an object is, atomically. Without
    it a put looks first, and two hosts that put at one moment can replace each other's object.
    `keeps_to_it_in_versions`: also in a bucket that keeps versions, as every one with a lock does;
    radosgw 18.2 does not. `digest`: by which it tells that bytes were altered on their way: a
    SHA-256 that it also keeps, a Content-MD5, or the SHA-256 that every signature covers, which
    costs nothing more; a store is only held to that one if it was seen to check it.
    """

    has_conditional_put: bool
    digest: DigestName
    has_lock: bool
    path_style: bool
    region: str | None
    keeps_to_it_in_versions: bool = True


PROFILES: dict[ProfileName, Profile] = {
    "aws": Profile(
        has_conditional_put=True, digest="sha256", has_lock=True, path_style=False, region=None
    ),
    "ceph": Profile(
        has_conditional_put=True,
        digest="signature",
        has_lock=True,
        path_style=True,
        region="us-east-1",
        keeps_to_it_in_versions=False,
    ),
    "minio": Profile(
        has_conditional_put=True,
        digest="sha256",
        has_lock=True,
        path_style=True,
        region="us-east-1",
    ),
    "r2": Profile(
        has_conditional_put=True, digest="md5", has_lock=False, path_style=True, region="auto"
    ),
    "wasabi": Profile(
        has_conditional_put=False, digest="md5", has_lock=True, path_style=False, region=None
    ),
    "backblaze": Profile(
        has_conditional_put=False, digest="md5", has_lock=True, path_style=False, region=None
    ),
    "garage": Profile(
        has_conditional_put=False,
        digest="md5",
        has_lock=False,
        path_style=True,
        region="garage",
    ),
    "other": Profile(
        has_conditional_put=False,
        digest="md5",
        has_lock=False,
        path_style=True,
        region="us-east-1",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Address:
    """A bucket, and the prefix below which all keys lie; the prefix may be empty."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> S3Address:
        """Return the address in `s3://bucket/prefix`. Raises `SettingsError`."""
        bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
        prefix = prefix.rstrip("/")
        if not text.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
            raise SettingsError(
                f"{text}: not the address of a bucket", hint="for example s3://bucket/prefix"
            )
        if prefix and not is_key(prefix):
            raise SettingsError(
                f"{text}: the prefix is not a path of plain names",
                hint="letters, digits and ._%- between slashes, no name begins with a dot",
            )
        return cls(bucket=bucket, prefix=prefix)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An access key; not shown."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """With which lock each object is written, and for how long from then.

    `until` is for backups and chunks, if it is known until when they have to be locked. What may be
    used again is locked longer by a margin, so that its lock is extended now and then, and not by
    every backup.
    """

    mode: LockMode
    duration: timedelta
    until: datetime | None = None

    def end(self, key: str, now: datetime) -> datetime:
        """Return until when an object has to be locked that is written now."""
        if self.until is None or not key.startswith(("chunks/", "backups/")):
            return now + self.duration
        return max(self.until, now + _DAY)

    def margin(self, key: str, span: timedelta) -> timedelta:
        """A quarter of the time, a month at most; a backup's own objects are never used again."""
        return timedelta() if key.startswith("backups/") else min(span / 4, 30 * _DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """How to reach a bucket. `credentials` None: as boto3 finds them."""

    profile: Profile
    endpoint: str | None = None
    region: str | None = None
    path_style: bool = False
    ca_file: Path | None = None
    credentials: Credentials | None = None
    lock: Lock | None = None
    connections: int = 8
    timeout: timedelta = timedelta(minutes=2)

    @property
    def has_conditional_put(self) -> bool:
        """Whether the store is relied on to refuse what would replace an object."""
        profile = self.profile
        return profile.has_conditional_put and (
            self.lock is None or profile.keeps_to_it_in_versions
        )

    @property
    def connect_seconds(self) -> float:
        """How long to wait for a connection."""
        return min(_CONNECT_SECONDS, self.timeout / timedelta(seconds=1))

    @property
    def read_seconds(self) -> float:
        """How long a store may be silent."""
        return min(_READ_SECONDS, self.timeout / timedelta(seconds=_SILENCES))
