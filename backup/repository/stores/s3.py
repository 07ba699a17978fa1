"""A store in a bucket: an object is an S3 object, put whole with one request, never replaced.

Objects that need not be durable at once are put by threads of their own, a bounded number and a
bounded amount of memory at a time; `sync` waits for them. Every call has a deadline. boto3 tries
again what fails for the moment; every object carries a random word, so that a put which was tried
twice knows its own object from another writer's.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import boto3  # noqa: TID251 - this module is boto3's home
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader, create_loader

from backup.errors import (
    LockedError,
    NotFoundError,
    ObjectExistsError,
    StoreError,
    StrongroomError,
)
from backup.repository.stores.base import Buffer, is_key, require_key
from backup.repository.stores.calls import Calls, InFlight
from backup.repository.stores.s3errors import BROKEN_OFF, FOREIGN, code_of, status_of, translated
from backup.repository.stores.s3options import Lock, S3Address, S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_Result = TypeVar("_Result")

_ATTEMPTS = 5  # botocore's; below, what it does not try again
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0
_IN_FLIGHT_BYTES = 32 * 2**20
# 409 is two conditional puts of one key at one moment.
_PASSING = frozenset({408, 409, 429})
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound", "NoSuchVersion"})
_TAIL = re.compile(r"[A-Za-z0-9._%-]*")
_WORD = "strongroom-put"
# Taken and given back all the time, and never data: not locked.
_FLEETING = ("leases/", "condemned/", "pins/")


class S3Store:
    """Objects below a prefix of a bucket, which must exist."""

    def __init__(self, address: S3Address, options: S3Options) -> None:
        self._address = address
        self._options = options
        self._base = f"{address.prefix}/" if address.prefix else ""
        self._limit_seconds = options.timeout.total_seconds()
        self._client = _connect(options)
        self._calls = Calls(f"s3 {address.bucket}")
        self._in_flight = InFlight(calls=options.connections, size_bytes=_IN_FLIGHT_BYTES)
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Future[None], float]] = {}
        self._failure: StrongroomError | None = None
        self._creating = tuple(threading.Lock() for _ in range(64))

    @property
    def address(self) -> str:
        """`s3://bucket/prefix`."""
        return str(self._address)

    @property
    def options(self) -> S3Options:
        """What it was opened with."""
        return self._options

    @property
    def raw(self) -> Any:  # noqa: ANN401 - for probes; typed in this module only
        """boto3's own client, for what is asked of the bucket and is no work of a store."""
        return self._client

    def names_of(self, key: str) -> dict[str, Any]:
        """Return bucket and full key, as boto3 wants them."""
        require_key(key)
        return self._names(key)

    def put(self, key: str, data: Buffer, *, durable: bool = True) -> None:
        """Write an object; see `Store.put`."""
        require_key(key)
        body, doing = bytes(data), f"writing {self._name(key)}"
        if durable:
            self._refuse_waiting(key)
            deadline = self._deadline()
            work = partial(self._create, key, body, doing, deadline)
            self._answer(self._calls.submit(work), doing, deadline)
            return
        self._raise_failure()
        if not self._in_flight.enter(len(body), self._limit_seconds):
            raise self._fail(self._late(f"{doing}: other uploads"))
        try:
            with self._lock:
                self._refuse_waiting(key)
                deadline = self._deadline()
                future = self._calls.submit(partial(self._create, key, body, doing, deadline))
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
                self._answer(future, f"writing to {self.address}", deadline)
            except StrongroomError as error:
                self._fail(error)
        self._raise_failure()

    def get(self, key: str) -> bytes:
        """Return an object; see `Store.get`."""
        require_key(key)

        def fetch() -> bytes:
            found = self._client.get_object(**self._names(key))
            return found["Body"].read()

        try:
            return self._run(f"reading {self._name(key)}", fetch)
        except _AbsentError:
            raise NotFoundError(f"{key} is not in {self.address}") from None

    def list(self, prefix: str) -> Iterator[str]:
        """Yield keys, a page at a time; see `Store.list`."""
        directory, _, tail = prefix.rpartition("/")
        if (directory and not is_key(directory)) or not _TAIL.fullmatch(tail):
            return
        if prefix.startswith("/"):
            return
        last = ""
        for key in self._listed(prefix):
            if key <= last:
                raise StoreError(
                    f"listing {self._name(prefix)}: the store gave {key} after {last}",
                    hint="it does not list in ascending order, and repositories need that",
                )
            last = key
            yield key

    def delete(self, key: str) -> None:
        """Remove an object; see `Store.delete`. Raises `LockedError` while a lock holds it."""
        require_key(key)
        doing = f"deleting {self._name(key)}"
        if self._options.lock is None:
            with contextlib.suppress(_AbsentError):
                self._run(doing, lambda: self._client.delete_object(**self._names(key)))
            return
        # In a bucket that keeps versions a plain delete would only hide the object.
        for version in self._versions(key):
            self._delete_version(key, version, doing)

    def locked_until(self, key: str) -> datetime | None:
        """Return until when no one can delete an object; None: it is not locked."""
        require_key(key)
        found = self._head(key)
        if found is None:
            raise NotFoundError(f"{key} is not in {self.address}")
        return _lock_end(found)

    def keep_locked(self, keys: Iterable[str]) -> int:
        """Extend the locks of objects that are used again; see `LockingStore.keep_locked`."""
        lock = self._options.lock
        if lock is None:
            return 0
        now = datetime.now(UTC)

        def keep(key: str) -> bool:
            current = self.locked_until(key)
            if current is not None and current >= now + lock.duration:
                return False
            self._extend_lock(key, lock, now + lock.duration + lock.margin)
            return True

        with ThreadPoolExecutor(self._options.connections, thread_name_prefix="lock") as pool:
            return sum(pool.map(keep, keys))

    def hold(self, key: str, *, is_held: bool) -> None:
        """Set or lift an object's legal hold: a lock without an end."""
        require_key(key)
        self._run(
            f"holding {self._name(key)}",
            lambda: self._client.put_object_legal_hold(
                **self._names(key), LegalHold={"Status": "ON" if is_held else "OFF"}
            ),
        )

    def _extend_lock(self, key: str, lock: Lock, until: datetime) -> None:
        self._run(
            f"locking {self._name(key)}",
            lambda: self._client.put_object_retention(
                **self._names(key),
                Retention={
                    "Mode": "GOVERNANCE" if lock.mode == "governance" else "COMPLIANCE",
                    "RetainUntilDate": until,
                },
            ),
        )

    def _create(self, key: str, body: bytes, doing: str, deadline: float) -> None:
        word = secrets.token_hex(8)
        arguments: dict[str, Any] = {
            **self._names(key),
            **self._checksum(body),
            **self._locking(key),
            "Body": body,
            "Metadata": {_WORD: word},
        }
        if self._options.has_conditional_put:
            try:
                self._try(
                    doing, deadline, lambda: self._client.put_object(**arguments, IfNoneMatch="*")
                )
            except _TakenError:
                # The first try may have been heard and only its answer lost.
                if self._word(key) != word:
                    raise self._exists(key) from None
            return
        with self._creating[hash(key) % len(self._creating)]:
            if self._head(key) is not None:
                raise self._exists(key)
            self._try(doing, deadline, lambda: self._client.put_object(**arguments))
            if self._word(key) != word:
                raise self._exists(key)

    def _checksum(self, body: bytes) -> dict[str, Any]:
        if self._options.profile.has_sha256:
            digest = hashlib.sha256(body).digest()
            return {"ChecksumSHA256": base64.b64encode(digest).decode("ascii")}
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        return {"ContentMD5": base64.b64encode(digest).decode("ascii")}

    def _locking(self, key: str) -> dict[str, Any]:
        lock = self._options.lock
        if lock is None or key.startswith(_FLEETING):
            return {}
        return {
            "ObjectLockMode": lock.mode.upper(),
            "ObjectLockRetainUntilDate": datetime.now(UTC) + lock.duration + lock.margin,
        }

    def _listed(self, prefix: str) -> Iterator[str]:
        token: dict[str, Any] = {}
        while True:
            page = self._run(
                f"listing {self._name(prefix)}",
                partial(
                    self._client.list_objects_v2,
                    Bucket=self._address.bucket,
                    Prefix=self._base + prefix,
                    **token,
                ),
            )
            for found in page.get("Contents", ()):
                yield found["Key"].removeprefix(self._base)
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _versions(self, key: str) -> Iterator[str]:
        """Yield the versions of one key, delete markers among them, newest first."""
        names = self._names(key)
        token: dict[str, Any] = {}
        while True:
            page = self._run(
                f"listing versions of {self._name(key)}",
                partial(
                    self._client.list_object_versions,
                    Bucket=names["Bucket"],
                    Prefix=names["Key"],
                    **token,
                ),
            )
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            yield from (one["VersionId"] for one in found if one["Key"] == names["Key"])
            if not page.get("IsTruncated"):
                return
            token = {
                "KeyMarker": page["NextKeyMarker"],
                "VersionIdMarker": page["NextVersionIdMarker"],
            }

    def _delete_version(self, key: str, version: str, doing: str) -> None:
        try:
            self._run(
                doing,
                lambda: self._client.delete_object(**self._names(key), VersionId=version),
            )
        except _AbsentError:
            return
        except StoreError as error:
            found: Mapping[str, Any] = {}
            with contextlib.suppress(StrongroomError):
                found = self._head(key, version) or {}
            until = _lock_end(found)
            is_held = found.get("ObjectLockLegalHoldStatus") == "ON"
            if is_held or (until is not None and until > datetime.now(UTC)):
                raise _locked(key, until, is_held=is_held) from error
            raise

    def _head(self, key: str, version: str | None = None) -> Mapping[str, Any] | None:
        names = self._names(key) if version is None else {**self._names(key), "VersionId": version}
        try:
            return self._run(
                f"looking at {self._name(key)}",
                lambda: self._client.head_object(**names),
            )
        except _AbsentError:
            return None

    def _word(self, key: str) -> str | None:
        found = self._head(key) or {}
        kept = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
        return kept.get(_WORD)

    def _run(self, doing: str, call: Callable[[], _Result]) -> _Result:
        """Make a call, on a thread of its own, within the limit."""
        deadline = self._deadline()
        future = self._calls.submit(partial(self._try, doing, deadline, call))
        return self._answer(future, doing, deadline)

    def _answer(self, future: Future[_Result], doing: str, deadline: float) -> _Result:
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise self._late(doing) from None

    def _try(self, doing: str, deadline: float, call: Callable[[], _Result]) -> _Result:
        """Make a call, again while what is wrong may pass and there is time."""
        pause = 0.2
        while True:
            try:
                return call()
            except FOREIGN as error:
                status = status_of(error)
                if code_of(error) in _ABSENT or (status == 404 and not code_of(error)):
                    raise _AbsentError(doing) from error
                if status == 412:
                    raise _TakenError(doing) from error
                wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
                may_pass = status in _PASSING or isinstance(error, BROKEN_OFF)
                if not may_pass or pause > 2 or time.monotonic() + wait > deadline:
                    raise translated(doing, error) from error
                time.sleep(wait)
                pause *= 2

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

    def _late(self, doing: str) -> StoreError:
        return StoreError(
            f"{doing}: no answer within {self._limit_seconds:g} s",
            hint="check the network to the store; `timeout` of [s3] is how long a call may take",
        )

    def _exists(self, key: str) -> ObjectExistsError:
        return ObjectExistsError(f"{self._name(key)} exists already and was left as it is")

    def _deadline(self) -> float:
        return time.monotonic() + self._limit_seconds

    def _name(self, key: str) -> str:
        return f"s3://{self._address.bucket}/{self._base}{key}"

    def _names(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._address.bucket, "Key": self._base + key}


class _AbsentError(Exception):
    """There is no such object."""


class _TakenError(Exception):
    """An object with this key is there."""


def _locked(key: str, until: datetime | None, *, is_held: bool) -> LockedError:
    why = "a legal hold, which has no end" if is_held else f"a lock until {until:%Y-%m-%d %H:%M}Z"
    return LockedError(
        f"{key} can't be deleted: {why}",
        until=None if is_held else until,
        hint="prune again when the lock has ended; a pin's hold ends with the pin",
    )


def _lock_end(head: Mapping[str, Any]) -> datetime | None:
    until: datetime | None = head.get("ObjectLockRetainUntilDate")
    return until


@cache
def _loader() -> Loader:
    """Return what reads botocore's descriptions of services: megabytes, once for all stores."""
    return create_loader()


def _session() -> botocore.session.Session:
    session = botocore.session.get_session()
    session.register_component("data_loader", _loader())
    return session


def _connect(options: S3Options) -> S3Client:
    credentials = options.credentials
    limit = options.timeout / timedelta(seconds=1)
    session = boto3.session.Session(botocore_session=_session())
    return session.client(
        "s3",
        endpoint_url=options.endpoint,
        region_name=options.region or options.profile.region or session.region_name or "us-east-1",
        verify=None if options.ca_file is None else str(options.ca_file),
        aws_access_key_id=None if credentials is None else credentials.access_key_id,
        aws_secret_access_key=None if credentials is None else credentials.secret_access_key,
        config=Config(
            connect_timeout=min(_CONNECT_SECONDS, limit),
            read_timeout=min(_READ_SECONDS, limit),
            max_pool_connections=options.connections * 4,
            retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS},
            tcp_keepalive=True,
            # Trailers with checksums of its own are not understood by older servers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": "path" if options.path_style else "virtual",
                "payload_signing_enabled": True,
            },
        ),
    )
