"""S3 servers for tests, and buckets in them; here the mock, in `radosgw.py` a real one."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3  # noqa: TID251 - what the store has no method for
from moto.server import ThreadedMotoServer

from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3options import (
    PROFILES,
    Credentials,
    Lock,
    ProfileName,
    S3Address,
    S3Options,
)

RCLONE = Path(sys.executable).with_name("rclone")
KEYS = Credentials(access_key_id="AKIATESTTEST", secret_access_key="SKSKSKSKSKSKSKSK")
_SECONDS = 30.0
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """A running server, what kind it is taken for, and the keys of a user who may do all."""

    endpoint: str
    profile: ProfileName
    keys: Credentials = KEYS
    ca_file: Path | None = None
    plain_endpoint: str = ""

    @property
    def options(self) -> S3Options:
        """How a store reaches it."""
        return S3Options(
            profile=PROFILES[self.profile],
            endpoint=self.endpoint,
            path_style=True,
            ca_file=self.ca_file,
            credentials=self.keys,
            timeout=timedelta(seconds=60),
        )

    @property
    def client(self) -> Any:
        """A client of boto3, for what the store has no method for."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            verify=None if self.ca_file is None else str(self.ca_file),
            aws_access_key_id=self.keys.access_key_id,
            aws_secret_access_key=self.keys.secret_access_key,
        )

    def new_bucket(self, *, has_lock: bool = False) -> str:
        """Make a bucket and return its name."""
        name = f"test-{os.getpid()}-{next(_numbers)}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=has_lock)
        return name

    def store(self, bucket: str, prefix: str = "", *, lock: Lock | None = None) -> S3Store:
        """Open a store in a bucket."""
        return S3Store(S3Address(bucket=bucket, prefix=prefix), replace(self.options, lock=lock))


@contextlib.contextmanager
def moto() -> Iterator[S3Server]:
    """The mock, on a thread of this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    assert server._server is not None
    server._server.app = _one_put_at_a_time(server._server.app)
    try:
        host, port = server.get_host_and_port()
        yield S3Server(endpoint=f"http://{host}:{port}", profile="aws")
    finally:
        server.stop()


def _one_put_at_a_time(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return the mock with conditional puts that are one step, as every real store has them.

    By itself it looks whether an object is there, and puts it later: of two at once both would.
    """
    putting = threading.Lock()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH")
        if environ.get("HTTP_IF_NONE_MATCH") != "*" or not length:
            return app(environ, start_response)
        # All of it is here before anybody else has to wait.
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(length)))
        with putting:
            return app(environ, start_response)

    return serve


def wait_for(port: int, seconds: float = _SECONDS) -> None:
    """Return when somebody listens on a port of loopback."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
