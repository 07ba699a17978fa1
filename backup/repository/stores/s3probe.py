"""What a real bucket does, asked of it: facts that `doctor` holds against the settings.

Leaves one small object, `probes/undeletable`, whose deletion is tried each time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

from backup.errors import NotFoundError, ObjectExistsError, StrongroomError
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3errors import FOREIGN, code_of, status_of

# refused: nobody gets by; hidden: the bytes stay, under an older version; deleted: they are gone.
Deletion: TypeAlias = Literal["refused", "hidden", "deleted"]
Conditional: TypeAlias = Literal["refused", "replaced", "unknown"]

PROTECTED_KEY = "probes/undeletable"
_SPEED_BYTES = 4 * 2**20
_LISTED_WITHIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was seen. `None`: it could not be asked with these credentials.

    `conditional`: what `If-None-Match: *` does where an object is. `checks_digests`: bytes that do
    not fit their Content-MD5, or the signature if the profile relies on that, are refused.
    `listed_after` is None if the object was not listed.
    """

    conditional: Conditional
    checks_digests: bool
    listed_after: timedelta | None
    deletion: Deletion
    locked_until: datetime | None
    has_versions: bool | None
    has_lock: bool | None
    skew: timedelta
    put_bytes_per_second: float
    get_bytes_per_second: float


def probe(store: S3Store, random: Callable[[int], bytes]) -> Facts:
    """Return the facts. Raises `StoreError` when the bucket can't be used at all."""
    key = f"leases/probe-{random(8).hex()}"
    content = random(_SPEED_BYTES)
    began = time.monotonic()
    store.put(key, content)
    written = time.monotonic()
    listed_after = _listed_after(store, key)
    reading = time.monotonic()
    store.get(key)
    read = time.monotonic()
    raw, names = store.raw, store.names_of(key)
    conditional, digests = _conditional(raw, names), _checks_digests(store, names)
    skew = _skew(raw, names)
    with contextlib.suppress(StrongroomError):
        store.delete(key)
    deletion, until = _deletion(store)
    return Facts(
        conditional=conditional,
        checks_digests=digests,
        listed_after=listed_after,
        deletion=deletion,
        locked_until=until,
        has_versions=_asked(
            lambda: raw.get_bucket_versioning(Bucket=names["Bucket"]).get("Status") == "Enabled"
        ),
        has_lock=_has_lock(raw, names["Bucket"]),
        skew=skew,
        put_bytes_per_second=_SPEED_BYTES / max(1e-6, written - began),
        get_bytes_per_second=_SPEED_BYTES / max(1e-6, read - reading),
    )


def _listed_after(store: S3Store, key: str) -> timedelta | None:
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        if key in set(store.list(key)):
            return timedelta(seconds=asked - began)
        if time.monotonic() - began > _LISTED_WITHIN_SECONDS:
            return None
        time.sleep(0.5)


def _conditional(raw: Any, names: dict[str, Any]) -> Conditional:  # noqa: ANN401 - boto3's client
    try:
        raw.put_object(**names, Body=b"replaced", IfNoneMatch="*")
    except FOREIGN as error:
        return "refused" if status_of(error) == 412 else "unknown"
    return "replaced"


def _checks_digests(store: S3Store, names: dict[str, Any]) -> bool:
    raw = store.raw
    try:
        if store.options.profile.digest == "signature":
            with _altered_on_its_way(raw):
                raw.put_object(**names, Body=b"something")
            return False
        # The MD5 of nothing.
        raw.put_object(**names, Body=b"something", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    except FOREIGN as error:
        return status_of(error) == 400
    return False


@contextlib.contextmanager
def _altered_on_its_way(raw: Any) -> Iterator[None]:  # noqa: ANN401 - boto3's client
    """Send other bytes than those that were signed, of the same length."""

    def alter(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        request.body = b"SOMETHING"

    raw.meta.events.register("before-send.s3.PutObject", alter)
    try:
        yield
    finally:
        raw.meta.events.unregister("before-send.s3.PutObject", alter)


def _skew(raw: Any, names: dict[str, Any]) -> timedelta:  # noqa: ANN401 - boto3's client
    asked = datetime.now(UTC)
    answer = raw.head_object(**names)
    dated = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return timedelta() if dated is None else parsedate_to_datetime(dated) - asked


def _deletion(store: S3Store) -> tuple[Deletion, datetime | None]:
    """Try to delete an object as whoever has these credentials would, and say what came of it."""
    with contextlib.suppress(ObjectExistsError):
        store.put(PROTECTED_KEY, b"nobody should be able to delete this\n")
    store.keep_locked([PROTECTED_KEY])
    until = _asked_date(store)
    raw, names = store.raw, store.names_of(PROTECTED_KEY)
    version = raw.head_object(**names).get("VersionId")
    try:
        if version is not None:
            with contextlib.suppress(*FOREIGN):
                raw.delete_object(**names, VersionId=version)
                return "deleted", until
        marker = raw.delete_object(**names).get("VersionId")
    except FOREIGN:
        return "refused", until
    if version is None:
        return "deleted", until
    # Only a marker on top; ours to take away again, if we may.
    if marker is not None:
        with contextlib.suppress(*FOREIGN):
            raw.delete_object(**names, VersionId=marker)
    return "hidden", until


def _asked_date(store: S3Store) -> datetime | None:
    try:
        return store.protection(PROTECTED_KEY).until
    except NotFoundError:
        return None


def _has_lock(raw: Any, bucket: str) -> bool | None:  # noqa: ANN401 - boto3's client
    try:
        found = raw.get_object_lock_configuration(Bucket=bucket)
    except FOREIGN as error:
        return False if code_of(error).startswith("ObjectLockConfiguration") else None
    return bool(found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


def _asked(ask: Callable[[], bool]) -> bool | None:
    try:
        return ask()
    except FOREIGN:
        return None
