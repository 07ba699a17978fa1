"""`doctor` asks the real bucket, and names what it is not."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest

from backup.errors import StoreError
from backup.journeys.bucketcheck import judge
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3client import connect, place_of
from backup.repository.stores.s3options import PROFILES, Lock, ProfileName, S3Address
from backup.repository.stores.s3probe import Facts, probe
from backup.repository.stores.s3quick import Quick
from tests.lab.buckets import S3Server
from tests.lab.s3servers import S3Servers

LOCK = Lock(mode="compliance", duration=timedelta(minutes=5))


def status(facts: Facts, store: S3Store) -> dict[str, str]:
    """What became of each check."""
    return {check.name: check.status for check in judge(facts, store.options)}


def test_a_real_store_with_a_lock_is_good(real_s3: S3Server) -> None:
    """Nobody deletes, not even who may do all else; and nothing is replaced."""
    store = real_s3.store(real_s3.new_bucket(has_lock=True), lock=LOCK)
    for _ in range(2):
        facts = probe(store, os.urandom)
        # This version of Ceph forgets If-None-Match where versions are kept; the profile knows.
        assert facts.conditional == "replaced"
        assert facts.checks_digests
        assert facts.has_lock
        assert facts.deletion == "hidden"
        found = status(facts, store)
        assert found["deletion"] == "warning", "the administrator can hide it, a writer could not"
        assert {name for name, word in found.items() if word == "bad"} == set()
        assert found["object lock"] == "good"
        assert found["conditional put"] == "warning"


def test_a_bucket_without_a_lock_can_be_emptied(real_s3: S3Server) -> None:
    """It is said, with the command that helps."""
    store = real_s3.store(real_s3.new_bucket())
    facts = probe(store, os.urandom)
    assert facts.deletion == "deleted"
    assert facts.conditional == "refused"
    checks = {check.name: check for check in judge(facts, store.options)}
    assert checks["deletion"].status == "warning"
    assert "store policy" in (checks["deletion"].hint or "")


def test_a_lock_that_the_bucket_does_not_know_is_an_error(real_s3: S3Server) -> None:
    """Not a backup without a lock."""
    store = real_s3.store(real_s3.new_bucket(), lock=LOCK)
    with pytest.raises(StoreError, match="writing"):
        store.put("chunks/aa/1", b"x")


@pytest.mark.parametrize("profile", ["aws", "other"])
def test_the_mock_takes_wrong_digests(s3_servers: S3Servers, profile: ProfileName) -> None:
    """And `doctor` finds out."""
    server = s3_servers.named("moto")
    options = replace(server.options, profile=PROFILES[profile])
    store = S3Store(S3Address(bucket=server.new_bucket(), prefix=""), options)
    facts = probe(store, os.urandom)
    found = status(facts, store)
    assert found["digests"] == ("good" if facts.checks_digests else "warning")
    assert found["conditional put"] == ("good" if profile == "aws" else "warning")


def test_an_authority_of_the_environment_counts_where_the_settings_name_none(
    real_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every request: none is tried without it first, and then made again by boto3."""
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    options = replace(real_s3.options, ca_file=None)
    address = S3Address(bucket=real_s3.new_bucket(), prefix="p")
    with pytest.raises(StoreError):
        S3Store(address, replace(options, timeout=timedelta(seconds=5))).put("chunks/aa/1", b"one")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(real_s3.ca_file))
    place = place_of(connect(options), address.bucket)
    assert place is not None
    arguments = {"Bucket": address.bucket, "Key": "p/2", "Body": b"two", "Metadata": {}}
    assert Quick(place, options).try_put(arguments)
    store = S3Store(address, options)
    store.put("chunks/aa/3", b"three")
    assert store.get("chunks/aa/3") == b"three"
