"""Object Lock: what keeps an object from being deleted, by anyone, for a time or for good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from backup.errors import LockedError, NotFoundError, StoreError, StrongroomError
from backup.repository.stores.base import Protection
from backup.repository.stores.s3bucket import Bucket
from backup.repository.stores.s3options import Lock
from backup.repository.stores.s3quick import AbsentError

# Taken and given back all the time, and never data: not locked.
_FLEETING = ("leases/", "condemned/", "pins/")


def lock_arguments(key: str, lock: Lock | None) -> dict[str, Any]:
    """Return what a put says of the object's lock."""
    if lock is None or key.startswith(_FLEETING):
        return {}
    now = datetime.now(UTC)
    end = lock.end(key, now)
    return {
        "ObjectLockMode": lock.mode.upper(),
        "ObjectLockRetainUntilDate": end + lock.margin(key, end - now),
    }


def protection(bucket: Bucket, key: str) -> Protection:
    """Return what keeps an object from being deleted."""
    found = bucket.head(key)
    if found is None:
        raise NotFoundError(f"{key} is not in {bucket.address}")
    return Protection(until=_end_of(found), is_held=_is_held(found))


def extend_locks(
    bucket: Bucket, lock: Lock, keys: Iterable[str], until: datetime | None, *, connections: int
) -> int:
    """Lock each object until then, or as long as one that is written now; return how many."""
    now = datetime.now(UTC)

    def keep(key: str) -> bool:
        needed = lock.end(key, now) if until is None else until
        current = protection(bucket, key).until
        # Whole seconds: a store keeps no more.
        if current is not None and current >= needed.replace(microsecond=0):
            return False
        bucket.run(
            f"locking {bucket.name(key)}",
            lambda: bucket.client.put_object_retention(
                **bucket.names(key),
                Retention={
                    "Mode": "GOVERNANCE" if lock.mode == "governance" else "COMPLIANCE",
                    "RetainUntilDate": needed + lock.margin(key, needed - now),
                },
            ),
        )
        return True

    with ThreadPoolExecutor(connections, thread_name_prefix="lock") as pool:
        return sum(pool.map(keep, keys))


def hold(bucket: Bucket, keys: Iterable[str], *, is_held: bool, connections: int) -> int:
    """Set or lift legal holds: locks without an end; return for how many it was otherwise."""

    def put(key: str) -> bool:
        if protection(bucket, key).is_held == is_held:
            return False
        bucket.run(
            f"{'holding' if is_held else 'letting go of'} {bucket.name(key)}",
            lambda: bucket.client.put_object_legal_hold(
                **bucket.names(key), LegalHold={"Status": "ON" if is_held else "OFF"}
            ),
        )
        return True

    with ThreadPoolExecutor(connections, thread_name_prefix="hold") as pool:
        return sum(pool.map(put, keys))


def delete_versions(bucket: Bucket, key: str, doing: str) -> None:
    """Remove an object for good where versions are kept: a plain delete would only hide it.

    Raises `LockedError` while a lock holds it.
    """
    for version in bucket.versions(key):
        _delete_version(bucket, key, version, doing)


def _delete_version(bucket: Bucket, key: str, version: str, doing: str) -> None:
    try:
        bucket.run(
            doing,
            lambda: bucket.client.delete_object(**bucket.names(key), VersionId=version),
        )
    except AbsentError:
        return
    except StoreError as error:
        found: Mapping[str, Any] = {}
        with contextlib.suppress(StrongroomError):
            found = bucket.head(key, version) or {}
        until = _end_of(found)
        is_held = _is_held(found)
        if is_held or (until is not None and until > datetime.now(UTC)):
            raise _locked(key, until, is_held=is_held) from error
        raise


def _locked(key: str, until: datetime | None, *, is_held: bool) -> LockedError:
    why = "a legal hold, which has no end" if is_held else f"a lock until {until:%Y-%m-%d %H:%M}Z"
    return LockedError(
        f"{key} can't be deleted: {why}",
        until=None if is_held else until,
        hint="prune again when the lock has ended; a legal hold ends with `strongroom unpin`",
    )


def _end_of(head: Mapping[str, Any]) -> datetime | None:
    until: datetime | None = head.get("ObjectLockRetainUntilDate")
    return until


def _is_held(head: Mapping[str, Any]) -> bool:
    return head.get("ObjectLockLegalHoldStatus") == "ON"
