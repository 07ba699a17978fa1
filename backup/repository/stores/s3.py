"""A store in a bucket: an object is an S3 object, put whole with one request, never replaced.

Objects that need not be durable at once are put by threads of their own, a bounded number and a
bounded amount of memory at a time; `sync` waits for them. Every call has a deadline. Every object
carries a random word, so that a put which was tried twice knows its own object from another
writer's.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from backup.errors import NotFoundError, ObjectExistsError, StoreError, StrongroomError
from backup.repository.stores import s3locks
from backup.repository.stores.base import Buffer, Protection, is_key, require_key
from backup.repository.stores.calls import InFlight
from backup.repository.stores.s3bucket import Bucket, TakenError
from backup.repository.stores.s3options import S3Address, S3Options
from backup.repository.stores.s3quick import AbsentError

_IN_FLIGHT_BYTES = 32 * 2**20
_TAIL = re.compile(r"[A-Za-z0-9._%-]*")
_WORD = "strongroom-put"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class S3Store:
    """Objects below a prefix of a bucket, which must exist."""

    def __init__(self, address: S3Address, options: S3Options) -> None:
        self._options = options
        self._bucket = Bucket(address, options)
        self._in_flight = InFlight(calls=options.connections, size_bytes=_IN_FLIGHT_BYTES)
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Future[None], float]] = {}
        self._failure: StrongroomError | None = None
        self._creating = tuple(threading.Lock() for _ in range(64))

    @property
    def address(self) -> str:
        """`s3://bucket/prefix`."""
        return str(self._bucket.address)

    @property
    def options(self) -> S3Options:
        """What it was opened with."""
        return self._options

    @property
    def raw(self) -> Any:  # noqa: ANN401 - for probes; typed in `s3bucket.py` only
        """boto3's own client, for what is asked of the bucket and is no work of a store."""
        return self._bucket.client

    def names_of(self, key: str) -> dict[str, Any]:
        """Return bucket and full key, as boto3 wants them."""
        require_key(key)
        return self._bucket.names(key)

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Write an object; see `Store.put`."""
        require_key(key)
        bucket = self._bucket
        body, doing = bytes(data), f"writing {bucket.name(key)}"
        if durable:
            self._refuse_waiting(key)
            deadline = bucket.deadline()
            work = partial(self._create, key, body, doing, deadline)
            bucket.answer(bucket.submit(work), doing, deadline)
            return
        self._raise_failure()
        if not self._in_flight.enter(len(body), bucket.limit_seconds):
            raise self._fail(bucket.late(f"{doing}: other uploads"))
        try:
            with self._lock:
                self._refuse_waiting(key)
                deadline = bucket.deadline()
                future = bucket.submit(partial(self._create, key, body, doing, deadline))
                self._waiting[key] = (future, deadline)
        except BaseException:
            self._in_flight.leave(len(body))
            raise
        future.add_done_callback(partial(self._uploaded, key, len(body)))

    def sync(self) -> None:
        """Wait for the uploads; see `Store.sync`."""
        with self._lock:
            waiting = list(self._waiting.values())
        for future, deadline in waiting:
            try:
                self._bucket.answer(future, f"writing to {self.address}", deadline)
            except StrongroomError as error:
                self._fail(error)
        self._raise_failure()

    def get(self, key: str) -> bytes:
        """Return an object; see `Store.get`."""
        require_key(key)
        try:
            return self._bucket.get(key)
        except AbsentError:
            raise NotFoundError(f"{key} is not in {self.address}") from None

    def list(self, prefix: str) -> Iterator[str]:
        """Yield keys, a page at a time; see `Store.list`."""
        directory, _, tail = prefix.rpartition("/")
        if (directory and not is_key(directory)) or not _TAIL.fullmatch(tail):
            return
        if prefix.startswith("/"):
            return
        last = ""
        for key in self._bucket.keys(prefix):
            if key <= last:
                raise StoreError(
                    f"listing {self._bucket.name(prefix)}: the store gave {key} after {last}",
                    hint="it does not list in ascending order, and repositories need that",
                )
            last = key
            yield key

    def delete(self, key: str) -> None:
        """Remove an object; see `Store.delete`. Raises `LockedError` while a lock holds it."""
        require_key(key)
        if self._options.lock is None:
            self._bucket.delete(key)
            return
        s3locks.delete_versions(self._bucket, key, f"deleting {self._bucket.name(key)}")

    @property
    def is_locking(self) -> bool:
        """Whether objects are written with a lock; see `LockingStore`."""
        return self._options.lock is not None

    def lock_until(self, end: datetime) -> None:
        """Say until when backups are locked from now on; see `LockingStore.lock_until`."""
        if self._options.lock is not None:
            lock = replace(self._options.lock, until=end)
            self._options = replace(self._options, lock=lock)

    def protection(self, key: str) -> Protection:
        """Return what keeps an object from being deleted; see `LockingStore.protection`."""
        require_key(key)
        return s3locks.protection(self._bucket, key)

    def keep_locked(self, keys: Iterable[str], until: datetime | None = None) -> int:
        """Extend locks, never shorten them; see `LockingStore.keep_locked`."""
        lock = self._options.lock
        if lock is None:
            return 0
        connections = self._options.connections
        return s3locks.extend_locks(self._bucket, lock, keys, until, connections=connections)

    def hold(self, keys: Iterable[str], *, is_held: bool) -> int:
        """Set or lift legal holds; see `LockingStore.hold`."""
        if not self.is_locking:
            return 0
        connections = self._options.connections
        return s3locks.hold(self._bucket, keys, is_held=is_held, connections=connections)

    def _create(self, key: str, body: bytes, doing: str, deadline: float) -> None:
        bucket = self._bucket
        word = secrets.token_hex(8)
        sha256 = None if self._options.profile.digest == "md5" else _sha256(key, body)
        locking = s3locks.lock_arguments(key, self._options.lock)
        arguments: dict[str, Any] = {
            **bucket.names(key),
            **self._digest(body, sha256, is_locked=bool(locking)),
            **locking,
            "Body": body,
            "Metadata": {_WORD: word},
        }
        if self._options.has_conditional_put:
            try:
                bucket.put(doing, deadline, {**arguments, "IfNoneMatch": "*"}, sha256)
            except TakenError:
                # The first try may have been heard and only its answer lost.
                if self._word(key) != word:
                    raise self._exists(key) from None
            return
        with self._creating[hash(key) % len(self._creating)]:
            if bucket.head(key) is not None:
                raise self._exists(key)
            bucket.put(doing, deadline, arguments, sha256)
            if self._word(key) != word:
                raise self._exists(key)

    def _digest(self, body: bytes, sha256: bytes | None, *, is_locked: bool) -> dict[str, Any]:
        kind = self._options.profile.digest
        if kind == "sha256" and sha256 is not None:
            return {"ChecksumSHA256": base64.b64encode(sha256).decode("ascii")}
        if kind == "signature" and not is_locked:  # S3 wants one of the others with a lock
            return {}
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        return {"ContentMD5": base64.b64encode(digest).decode("ascii")}

    def _word(self, key: str) -> str | None:
        found = self._bucket.head(key) or {}
        kept = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
        return kept.get(_WORD)

    def _refuse_waiting(self, key: str) -> None:
        # Put a moment ago: that one is the object.
        if key in self._waiting:
            raise self._exists(key)

    def _uploaded(self, key: str, size_bytes: int, future: Future[None]) -> None:
        error = future.exception()
        if isinstance(error, StrongroomError):
            self._fail(error)
        elif error is not None:
            self._fail(StoreError(f"writing to {self.address}: {error}"))
        # Forgotten last: `sync` finds it among those that wait, or its failure.
        with self._lock:
            self._waiting.pop(key, None)
        self._in_flight.leave(size_bytes)

    def _fail(self, error: StrongroomError) -> StrongroomError:
        with self._lock:
            if self._failure is None:
                self._failure = error
        return error

    def _raise_failure(self) -> None:
        with self._lock:
            failure = self._failure
        if failure is not None:
            raise type(failure)(failure.message, hint=failure.hint) from failure

    def _exists(self, key: str) -> ObjectExistsError:
        return ObjectExistsError(f"{self._bucket.name(key)} exists already and was left as it is")


def _sha256(key: str, body: bytes) -> bytes:
    """Return the digest that the store is to hold the body against.

    A chunk's is its name, so a store that keeps a SHA-256 takes no chunk that is not what it is
    called. One that checks only the signature refuses our put of it, and takes boto3's.
    """
    name = key.rpartition("/")[2]
    if key.startswith("chunks/") and _SHA256.fullmatch(name):
        return bytes.fromhex(name)
    return hashlib.sha256(body).digest()
