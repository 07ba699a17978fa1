"""Where a bucket is: what the settings say themselves is what boto3 makes of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backup.postgres.command import Command
from backup.postgres.process import run
from backup.repository.stores.s3client import connect, place_of
from backup.repository.stores.s3options import PROFILES, Credentials, S3Options
from backup.repository.stores.s3place import stated
from backup.repository.stores.s3signature import Keys
from tests.lab.buckets import KEYS, S3Server

PAIR = {"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "its secret"}
OPTIONS = S3Options(
    profile=PROFILES["minio"],
    endpoint="http://store.test:9000",
    path_style=True,
    credentials=Credentials(access_key_id="AKIAGIVEN", secret_access_key="given"),
)


def set_environment(monkeypatch: pytest.MonkeyPatch, given: Mapping[str, str]) -> None:
    """Have these words in the environment, and no others that mean anything to boto3."""
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (OPTIONS, {}),
        (OPTIONS, PAIR),
        (OPTIONS, {"AWS_DEFAULT_REGION": "eu-north-1", "AWS_ENDPOINT_URL": "http://other.test"}),
        (replace(OPTIONS, credentials=None), PAIR),
        (replace(OPTIONS, credentials=None), {**PAIR, "AWS_SESSION_TOKEN": "for a while"}),
        (replace(OPTIONS, credentials=None), {**PAIR, "AWS_SECURITY_TOKEN": "its old name"}),
        (replace(OPTIONS, endpoint="http://store.test/"), {"no_proxy": "*"}),
        (replace(OPTIONS, endpoint="http://[::1]:9000", region="some"), {}),
        (replace(OPTIONS, endpoint="https://store.test", ca_file=Path("ca.pem")), {}),
    ],
)
def test_what_the_settings_say_is_what_boto3_would_do(
    options: S3Options, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same host, path, region and keys."""
    set_environment(monkeypatch, environment)
    ours = stated("some.bucket", options, os.environ)
    theirs = place_of(connect(options), "some.bucket")
    assert ours is not None
    assert theirs is not None
    assert ours.url == theirs.url
    assert (ours.region, ours.keys(), ours.tunnel) == (theirs.region, theirs.keys(), theirs.tunnel)
    assert (ours.context is None) == (theirs.context is None)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (replace(OPTIONS, endpoint=None), {}),
        (replace(OPTIONS, path_style=False), {}),
        (replace(OPTIONS, profile=PROFILES["aws"]), {}),
        (replace(OPTIONS, endpoint="https://store.test"), {}),
        (replace(OPTIONS, endpoint="http://some@store.test"), {}),
        (replace(OPTIONS, endpoint="http://store.test/below"), {}),
        (replace(OPTIONS, endpoint="http://store.test?some"), {}),
        (replace(OPTIONS, endpoint="store.test"), {}),
        (OPTIONS, {"HTTP_PROXY": "http://proxy.test"}),
        (OPTIONS, {"all_proxy": "http://proxy.test"}),
        (replace(OPTIONS, credentials=None), {}),
        (replace(OPTIONS, credentials=None), {**PAIR, "AWS_SECRET_ACCESS_KEY": ""}),
        (replace(OPTIONS, credentials=None), {**PAIR, "AWS_PROFILE": "other"}),
        (replace(OPTIONS, credentials=None), {**PAIR, "AWS_CREDENTIAL_EXPIRATION": "soon"}),
    ],
)
def test_what_the_settings_leave_open_is_boto3s_to_know(
    options: S3Options, environment: Mapping[str, str]
) -> None:
    """Nothing is guessed."""
    assert stated("some.bucket", options, environment) is None


def test_keys_are_not_shown() -> None:
    """Whoever writes down a place does not write down what opens it."""
    shown = repr(Keys(access_key="AKIA", secret_key="hidden", token="secret too"))
    assert "hidden" not in shown
    assert "secret too" not in shown


def test_boto3_is_not_loaded_for_what_the_quick_way_does(real_s3: S3Server) -> None:
    """A verb that reads, writes, lists and deletes starts without it."""
    bucket = real_s3.new_bucket()
    script = f"""
import sys
from pathlib import Path
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3options import PROFILES, S3Address, S3Options
store = S3Store(
    S3Address(bucket={bucket!r}, prefix="p"),
    S3Options(
        profile=PROFILES["ceph"], endpoint={real_s3.endpoint!r}, path_style=True,
        ca_file=Path({str(real_s3.ca_file)!r}),
    ),
)
store.put("a/1", b"one")
store.put("a/2", b"two", durable=False)
store.sync()
assert store.get("a/1") == b"one"
store.delete("a/1")
assert list(store.list("a/")) == ["a/2"]
print("boto3" in sys.modules)
"""
    command = Command(
        label="a store",
        argv=(sys.executable, "-c", script),
        environment={
            "AWS_ACCESS_KEY_ID": KEYS.access_key_id,
            "AWS_SECRET_ACCESS_KEY": KEYS.secret_access_key,
        },
    )
    assert run(command, timeout=timedelta(seconds=60)).stdout == b"False\n"
