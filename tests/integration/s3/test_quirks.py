"""Stores that differ from Amazon's, one way each: `doctor` names the way, and what helps."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from backup.errors import StoreError
from backup.journeys.bucketcheck import judge
from backup.journeys.check import Check
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3options import PROFILES, Lock, ProfileName, S3Address
from backup.repository.stores.s3probe import probe
from tests.lab.buckets import S3Server
from tests.lab.gate import Bend, gate
from tests.lab.s3servers import S3Servers

LOCK = Lock(mode="compliance", duration=timedelta(days=2))
OFF = timedelta(minutes=10)


def without(*names: bytes) -> Callable[[bytes], bytes]:
    """A store that does not hear these headers."""

    def hears(head: bytes) -> bytes:
        return b"".join(
            line for line in head.splitlines(keepends=True) if not line.lower().startswith(names)
        )

    return hears


def refusing(pattern: bytes, status: int, code: str) -> Callable[[bytes], tuple[int, str] | None]:
    """A store that refuses requests in whose head the pattern is."""
    return lambda head: (status, code) if re.search(pattern, head, re.IGNORECASE) else None


def dated_otherwise(_: bytes, answer: bytes) -> bytes:
    """An answer of a store whose clock is ahead."""
    date = format_datetime(datetime.now(UTC) + OFF, usegmt=True).encode("ascii")
    return re.sub(rb"(?i)\r\ndate: [^\r]+", b"\r\nDate: " + date, answer, count=1)


def listing_late() -> Callable[[bytes, bytes], bytes]:
    """The answers of a store that lists nothing in its first two lists."""
    lists = itertools.count()

    def answers(head: bytes, answer: bytes) -> bytes:
        if b"list-type=2" not in head.partition(b"\r\n")[0] or next(lists) >= 2:
            return answer
        first, _, body = answer.partition(b"\r\n\r\n")
        body = re.sub(rb"(?s)<Contents>.*</Contents>", b"", body)
        length = b"\r\nContent-Length: %d" % len(body)
        return re.sub(rb"(?i)\r\ncontent-length: \d+", length, first) + b"\r\n\r\n" + body

    return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk:
    """A way to differ, and what is to be said of it: of the check of that name, or at once."""

    bend: Bend
    profile: ProfileName = "aws"
    lock: Lock | None = None
    has_versions: bool = False
    name: str = ""
    status: str = ""
    says: str
    hint: str


QUIRKS: dict[str, Quirk] = {
    "it replaces what is there": Quirk(
        bend=Bend(hears=without(b"if-none-match")),
        name="conditional put",
        status="bad",
        says="does not keep the store from replacing",
        hint='or to "other"',
    ),
    "it knows no conditional put": Quirk(
        bend=Bend(refuses=refusing(rb"\r\nif-none-match:", 501, "NotImplemented")),
        says="501 NotImplemented",
        hint="set `profile`",
    ),
    "it can do what the profile does not use": Quirk(
        bend=Bend(),
        profile="other",
        name="conditional put",
        status="warning",
        says="the profile does not use it",
        hint="take a profile that does",
    ),
    "it takes bytes that do not fit their digest": Quirk(
        bend=Bend(hears=without(b"content-md5")),
        name="digests",
        status="warning",
        says="takes bytes that do not fit",
        hint="verify",
    ),
    "it takes bytes that do not fit the signature": Quirk(
        bend=Bend(),
        profile="ceph",
        name="digests",
        status="bad",
        says="takes bytes that do not fit the signature",
        hint='to "other"',
    ),
    "it wants a Content-MD5": Quirk(
        bend=Bend(refuses=refusing(rb"\r\nx-amz-checksum-sha256:", 400, "InvalidRequest")),
        says="400 InvalidRequest",
        hint="set `profile`",
    ),
    "it lists late": Quirk(
        bend=Bend(answers=listing_late()),
        name="list after put",
        status="bad",
        says="is not listed until",
        hint="do not prune here",
    ),
    "it lets these credentials delete": Quirk(
        bend=Bend(),
        name="deletion",
        status="warning",
        says="can delete objects for good",
        hint="store policy",
    ),
    "it forgets the lock": Quirk(
        bend=Bend(
            hears=without(b"x-amz-object-lock"),
            refuses=refusing(rb"^PUT [^ ]*\?retention", 200, ""),
        ),
        lock=LOCK,
        name="object lock",
        status="bad",
        says="objects are not locked",
        hint="bucket with Object Lock",
    ),
    "it knows no lock": Quirk(
        bend=Bend(refuses=refusing(rb"\r\nx-amz-object-lock", 400, "InvalidRequest")),
        lock=LOCK,
        says="400 InvalidRequest",
        hint="set `profile`",
    ),
    "it keeps what is deleted": Quirk(
        bend=Bend(),
        has_versions=True,
        name="versions",
        status="warning",
        says="keeps what is deleted",
        hint="lifecycle rule",
    ),
    "its clock is wrong": Quirk(
        bend=Bend(answers=dated_otherwise),
        name="clock of the store",
        status="warning",
        says="differs by",
        hint="time synchronisation",
    ),
    "it refuses for the clock": Quirk(
        bend=Bend(refuses=refusing(rb"^PUT ", 403, "RequestTimeTooSkewed")),
        says="403 RequestTimeTooSkewed",
        hint="time synchronisation",
    ),
    "the bucket is in another region": Quirk(
        bend=Bend(refuses=refusing(rb"^PUT ", 400, "AuthorizationHeaderMalformed")),
        says="400 AuthorizationHeaderMalformed",
        hint="set `region`",
    ),
}


@contextmanager
def store_of(server: S3Server, quirk: Quirk | None) -> Iterator[S3Store]:
    """A store behind the quirk, in a bucket of its own."""
    made = quirk or Quirk(bend=Bend(), says="", hint="")
    bucket = server.new_bucket(has_lock=made.lock is not None)
    if made.has_versions:
        server.client.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )
    with gate(server.endpoint, bend=made.bend) as bent:
        options = replace(
            server.options,
            endpoint=bent.endpoint,
            profile=PROFILES[made.profile],
            lock=made.lock,
            timeout=timedelta(seconds=20),
        )
        yield S3Store(S3Address(bucket=bucket, prefix=""), options)


def seen(store: S3Store) -> dict[str, Check]:
    """What is found, by the name of the check."""
    return {check.name: check for check in judge(probe(store, os.urandom), store.options)}


@pytest.mark.parametrize("name", QUIRKS)
def test_the_quirk_is_named(s3_servers: S3Servers, name: str) -> None:
    """By its own check, or by an error that says what the store answered; with what helps."""
    quirk = QUIRKS[name]
    with store_of(s3_servers.named("moto"), quirk) as store:
        if not quirk.name:
            with pytest.raises(StoreError) as caught:
                seen(store)
            assert quirk.says in caught.value.message
            assert quirk.hint in (caught.value.hint or "")
            return
        check = seen(store)[quirk.name]
    assert (check.status, quirk.says in check.observed) == (quirk.status, True), check
    assert quirk.hint in (check.hint or "")


def test_without_a_quirk_nothing_is_bad(s3_servers: S3Servers) -> None:
    """The same mock behind the same gate, which changes nothing: each check can be good."""
    with store_of(s3_servers.named("moto"), None) as store:
        found = {name: check.status for name, check in seen(store).items()}
    assert found["conditional put"] == found["list after put"] == "good"
    assert found["clock of the store"] == "good"
    assert "bad" not in found.values()
    assert not {"object lock", "versions"} & found.keys()


def test_the_real_store_refuses_what_was_altered_on_its_way(real_s3: S3Server) -> None:
    """Though only the signature tells: by our own put, by boto3's, and nothing is there after."""
    address = S3Address(bucket=real_s3.new_bucket(), prefix="")
    assert real_s3.plain_endpoint is not None
    with gate(real_s3.plain_endpoint, bend=Bend(carries=lambda body: body[::-1])) as bent:
        options = replace(real_s3.options, endpoint=bent.endpoint, ca_file=None)
        store = S3Store(address, options)
        with pytest.raises(StoreError, match="writing"):
            store.put("chunks/aa/1", b"there and back")
        assert len(bent.requests) >= 2, "first by one plain request, then by boto3"
        assert list(store.list("")) == []
        assert seen(real_s3.store(address.bucket))["digests"].status == "good"
