"""Calls to a bucket: each with a deadline, tried again while that helps, errors translated.

boto3 itself tries again what fails for the moment; here is what it does not, and the page by page
of listings.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from backup.errors import StoreError
from backup.repository.stores.calls import Calls
from backup.repository.stores.s3errors import BROKEN_OFF, FOREIGN, code_of, status_of, translated
from backup.repository.stores.s3options import S3Address, S3Options
from backup.repository.stores.s3place import Place, stated
from backup.repository.stores.s3quick import AbsentError, Page, Quick

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from backup.repository.stores.s3client import Connected

_Result = TypeVar("_Result")

# 409 is two conditional puts of one key at one moment.
_PASSING = frozenset({408, 409, 429})
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound", "NoSuchVersion"})


class TakenError(Exception):
    """An object with this key is there."""


class Bucket:
    """A prefix of a bucket, and the threads that call it."""

    def __init__(self, address: S3Address, options: S3Options) -> None:
        self.address = address
        self._base = f"{address.prefix}/" if address.prefix else ""
        self.limit_seconds = options.timeout.total_seconds()
        self._options = options
        self._connecting = threading.Lock()
        self._connected: Connected | None = None
        place = stated(address.bucket, options, os.environ) or self._asked()
        # Without keys there is nothing to sign with; the first call says so.
        self._quick = None if place is None else Quick(place, options)
        self._calls = Calls(f"s3 {address.bucket}")

    @property
    def client(self) -> S3Client:
        """boto3's own client, made when it is needed. Raises `StoreError`."""
        return self._connect().client

    def _connect(self) -> Connected:
        # It takes a third of a second to load, and many a verb does without.
        from backup.repository.stores.s3client import connect  # noqa: PLC0415

        with self._connecting:
            if self._connected is None:
                try:
                    self._connected = connect(self._options)
                except FOREIGN as error:  # half a pair of keys
                    raise translated(f"opening {self.address}", error) from error
            return self._connected

    def _asked(self) -> Place | None:
        """Return what boto3 knows of the bucket's place; None: nobody but boto3 can go there."""
        connected = self._connect()
        from backup.repository.stores.s3client import place_of  # noqa: PLC0415

        return place_of(connected, self.address.bucket)

    def name(self, key: str) -> str:
        """Return a key for messages."""
        return f"s3://{self.address.bucket}/{self._base}{key}"

    def names(self, key: str) -> dict[str, Any]:
        """Return bucket and full key, as boto3 wants them."""
        return {"Bucket": self.address.bucket, "Key": self._base + key}

    def deadline(self) -> float:
        """Return by when a call that begins now is over."""
        return time.monotonic() + self.limit_seconds

    def submit(self, work: Callable[[], _Result]) -> Future[_Result]:
        """Begin a call on a thread of its own."""
        return self._calls.submit(work)

    def run(self, doing: str, call: Callable[[], _Result]) -> _Result:
        """Make a call, on a thread of its own, within the limit."""
        deadline = self.deadline()
        future = self._calls.submit(partial(self.attempt, doing, deadline, call))
        return self.answer(future, doing, deadline)

    def answer(self, future: Future[_Result], doing: str, deadline: float) -> _Result:
        """Return what a call returns, or raise `StoreError` at its deadline."""
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise self.late(doing) from None

    def attempt(self, doing: str, deadline: float, call: Callable[[], _Result]) -> _Result:
        """Make a call, again while what is wrong may pass and there is time."""
        pause = 0.2
        while True:
            try:
                return call()
            except FOREIGN as error:
                status = status_of(error)
                if code_of(error) in _ABSENT or (status == 404 and not code_of(error)):
                    raise AbsentError(doing) from error
                if status == 412:
                    raise TakenError(doing) from error
                wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
                may_pass = status in _PASSING or isinstance(error, BROKEN_OFF)
                if not may_pass or pause > 2 or time.monotonic() + wait > deadline:
                    raise translated(doing, error) from error
                time.sleep(wait)
                pause *= 2

    def put(
        self, doing: str, deadline: float, arguments: Mapping[str, Any], sha256: bytes | None
    ) -> None:
        """Put an object, as boto3's `put_object` does whose arguments these are.

        `sha256` is the body's, where it is known. Raises `TakenError` also where an earlier try of
        this very call was heard.
        """
        if self._quick is None or not self._quick.try_put(arguments, sha256):
            self.attempt(doing, deadline, lambda: self.client.put_object(**arguments))

    def get(self, key: str) -> bytes:
        """Return an object. Raises `AbsentError`."""

        def fetch() -> bytes:
            found = None if self._quick is None else self._quick.try_get(self._base + key)
            if found is None:
                found = self.client.get_object(**self.names(key))["Body"].read()
            return found

        return self.run(f"reading {self.name(key)}", fetch)

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

        def remove() -> None:
            if self._quick is None or not self._quick.try_delete(self._base + key):
                self.client.delete_object(**self.names(key))

        with contextlib.suppress(AbsentError):
            self.run(f"deleting {self.name(key)}", remove)

    def late(self, doing: str) -> StoreError:
        """Return what to raise when there was no answer in time."""
        return StoreError(
            f"{doing}: no answer within {self.limit_seconds:g} s",
            hint="check the network to the store; `timeout` of [s3] is how long a call may take",
        )

    def head(self, key: str, version: str | None = None) -> Mapping[str, Any] | None:
        """Return what is known of an object but its bytes; None: it is not there."""
        names = self.names(key) if version is None else {**self.names(key), "VersionId": version}
        try:
            return self.run(
                f"looking at {self.name(key)}",
                lambda: self.client.head_object(**names),
            )
        except AbsentError:
            return None

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield keys as the store lists them, a page at a time."""
        token: str | None = None
        while True:
            page = self.run(
                f"listing {self.name(prefix)}", partial(self._page, self._base + prefix, token)
            )
            for key in page.keys:
                yield key.removeprefix(self._base)
            token = page.token
            if token is None:
                return

    def _page(self, prefix: str, token: str | None) -> Page:
        page = None if self._quick is None else self._quick.try_list(prefix, token)
        if page is not None:
            return page
        after: dict[str, Any] = {} if token is None else {"ContinuationToken": token}
        found = self.client.list_objects_v2(Bucket=self.address.bucket, Prefix=prefix, **after)
        return Page(
            keys=tuple(one["Key"] for one in found.get("Contents", ())),
            token=found["NextContinuationToken"] if found.get("IsTruncated") else None,
        )

    def versions(self, key: str) -> Iterator[str]:
        """Yield the versions of one key, delete markers among them, newest first."""
        names = self.names(key)
        token: dict[str, Any] = {}
        while True:
            page = self.run(
                f"listing versions of {self.name(key)}",
                partial(
                    self.client.list_object_versions,
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
