"""The quick way to put: it counts on nothing but a plain 200, and boto3 gets all the rest."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from botocore.credentials import Credentials, DeferredRefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from backup.errors import StoreError
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3client import connect
from backup.repository.stores.s3options import PROFILES, S3Address, S3Options
from backup.repository.stores.s3put import QuickPut
from tests.lab.buckets import KEYS, S3Server

_SECONDS = 60
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BODY = os.urandom(100_000)


@dataclass(slots=True)
class Listener:
    """A port of loopback; a thread each for those who connect, who are counted."""

    port: int
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    has_hung_up: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket, Listener], None]) -> Iterator[Listener]:
    """Let somebody serve each connection until the block ends."""
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Listener(server.getsockname()[1])

        def one(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_SECONDS)
                serve(connection, found)
            found.has_hung_up.set()

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                found.connections += 1
                threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield found
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join(_SECONDS)


def head_of(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read up to an empty line; return that, and what came after it. Empty: nobody asks more."""
    got = b""
    while b"\r\n\r\n" not in got and (more := connection.recv(65_536)):
        got += more
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


def answering(
    answer: bytes | None, *, hangs_up: bool = False
) -> Callable[[socket.socket, Listener], None]:
    """A server that reads requests and answers each with these bytes; None: with silence."""

    def serve(connection: socket.socket, found: Listener) -> None:
        while True:
            head, body = head_of(connection)
            if not head:
                return
            found.heads.append(head)
            while len(body) < len(BODY):
                more = connection.recv(65_536)
                if not more:  # given up by the client
                    return
                body += more
            found.bodies.append(body)
            if answer is None:
                connection.recv(1)
                return
            connection.sendall(answer)
            if hangs_up:
                return

    return serve


def options_for(port: int, timeout: timedelta = timedelta(seconds=80)) -> S3Options:
    """How to reach a server."""
    return S3Options(
        profile=PROFILES["ceph"],
        endpoint=f"http://127.0.0.1:{port}",
        path_style=True,
        credentials=KEYS,
        timeout=timeout,
    )


def quick(port: int, timeout: timedelta = timedelta(seconds=80)) -> QuickPut:
    """The quick way to a server."""
    return QuickPut(connect(options_for(port, timeout)), "bucket")


def arguments(key: str = "some/key", bucket: str = "bucket") -> dict[str, object]:
    """What boto3 would be told."""
    return {
        "Bucket": bucket,
        "Key": key,
        "Body": BODY,
        "Metadata": {"word": "a"},
        "IfNoneMatch": "*",
    }


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (GOOD, 1),
        (b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\ncontent-length:2\r\nX: close\r\n\r\nok", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 ", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", 2),
        (b"HTTP/1.1 200 \r\n\r\n", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 2),
    ],
)  # fmt: skip
def test_a_connection_is_used_again_only_after_a_whole_plain_answer(
    answer: bytes, connections: int
) -> None:
    """Where nobody knows what the next bytes are, the next object gets its own connection."""
    with listening(answering(answer)) as server:
        puts = quick(server.port)
        assert [puts.try_put(arguments(f"a/{number}")) for number in range(2)] == [True, True]
        assert server.connections == connections
        assert server.bodies == [BODY, BODY]
        lines = server.heads[1].decode("ascii").lower().split("\r\n")
        assert lines[0] == "put /bucket/a/1 http/1.1"
        assert {"if-none-match: *", "x-amz-meta-word: a", f"content-length: {len(BODY)}"} < {*lines}


@pytest.mark.parametrize(
    ("answer", "pauses"),
    [
        (GOOD.replace(b"200", b"503"), True),
        (GOOD.replace(b"200", b"201"), True),
        (GOOD.replace(b"200", b"307"), True),
        (GOOD.replace(b"200", b"412"), False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, True),
        (b"HTTP/1.1 2000 OK\r\n\r\n", True),
        (b"HTTP/2 200\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Le", True),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, True),
        (b"", True),
    ],
)  # fmt: skip
def test_what_is_not_answered_with_200_was_not_put(answer: bytes, *, pauses: bool) -> None:
    """And boto3 is left alone with the store for a while, unless only an object was there."""
    with listening(answering(answer, hangs_up=pauses)) as server:
        puts = quick(server.port)
        assert [puts.try_put(arguments()) for _ in range(2)] == [False, False]
        assert len(server.heads) == (1 if pauses else 2)


def test_a_silent_server_is_given_up() -> None:
    """After a quarter of the time that a call may take, as with boto3."""
    with listening(answering(None)) as server:
        assert not quick(server.port, timedelta(seconds=1)).try_put(arguments())
        assert server.has_hung_up.wait(_SECONDS), "the connection is closed"


def test_a_connection_that_the_server_closed_meanwhile_is_no_failure() -> None:
    """It is seen before the next request, which gets a new one."""
    with listening(answering(GOOD, hangs_up=True)) as server:
        puts = quick(server.port)
        for number in range(1, 4):
            assert puts.try_put(arguments())
            assert server.has_hung_up.wait(_SECONDS)
            server.has_hung_up.clear()
            assert server.connections == number


def test_a_lock_goes_boto3s_way() -> None:
    """Nothing is sent for what the quick way has no header for."""
    with listening(answering(GOOD)) as server:
        puts = quick(server.port)
        assert not puts.try_put({**arguments(), "ObjectLockMode": "COMPLIANCE"})
        assert server.connections == 0


def test_credentials_may_change_and_may_be_missing() -> None:
    """An object is signed with those of the moment; without any, boto3 says what is wrong."""

    def fails() -> None:
        raise CredentialRetrievalError(provider="some", error_msg="gone")

    with listening(answering(GOOD)) as server:
        connected = connect(options_for(server.port))
        changing = Credentials("FIRST", "secret")
        puts = QuickPut(replace(connected, credentials=changing), "bucket")
        assert puts.try_put(arguments())
        changing.access_key, changing.token = "SECOND", "its token"
        assert puts.try_put(arguments())
        heads = [head.decode("ascii") for head in server.heads]
        assert ["Credential=FIRST/" in heads[0], "Credential=SECOND/" in heads[1]] == [True, True]
        assert "\r\nx-amz-security-token: its token\r\n" in heads[1]
        gone = DeferredRefreshableCredentials(refresh_using=fails, method="some")
        for none in (None, gone):
            assert not QuickPut(replace(connected, credentials=none), "bucket").try_put(arguments())
        assert len(server.heads) == 2


def test_a_certificate_for_another_name_is_refused(real_s3: S3Server) -> None:
    """Who signed it is not enough: it names the address, and not `localhost`."""
    port = urlsplit(real_s3.endpoint).port
    options = replace(real_s3.options, endpoint=f"https://localhost:{port}")
    assert not QuickPut(connect(options), "bucket").try_put(arguments())
    store = S3Store(
        S3Address(bucket="bucket", prefix=""), replace(options, timeout=timedelta(seconds=5))
    )
    with pytest.raises(StoreError, match="localhost"):
        store.put("chunks/aa/1", b"one")


def tunnel(connection: socket.socket, found: Listener) -> None:
    """Connect somebody to whom he asks for, and carry what they say to each other."""
    head, _ = head_of(connection)
    found.heads.append(head)
    host, _, port = head.split(b" ")[1].partition(b":")
    with socket.create_connection((host.decode(), int(port)), _SECONDS) as there:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def carry(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65_536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        back = threading.Thread(target=carry, args=(there, connection), daemon=True)
        back.start()
        carry(connection, there)
        back.join(_SECONDS)


def test_a_proxy_of_the_environment_is_used(
    real_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its password, and TLS goes through it to the store; `no_proxy` names who needs none."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    bucket = real_s3.new_bucket()
    with listening(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://some:wo%2Frd@127.0.0.1:{proxy.port}")
        puts = QuickPut(connect(real_s3.options), bucket)
        assert puts.try_put(arguments("a/1", bucket))
        assert puts.try_put(arguments("a/2", bucket))
        assert proxy.connections == 1
        lines = proxy.heads[0].decode("ascii").split("\r\n")
        assert lines[0].startswith(f"CONNECT {urlsplit(real_s3.endpoint).netloc} HTTP/1.")
        assert f"Proxy-Authorization: Basic {base64.b64encode(b'some:wo/rd').decode()}" in lines
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert QuickPut(connect(real_s3.options), bucket).try_put(arguments("a/3", bucket))
        assert proxy.connections == 1
    assert list(real_s3.store(bucket).list("a/")) == ["a/1", "a/2", "a/3"]


@pytest.mark.parametrize("kind", ["without TLS", "TLS to the proxy"])
def test_a_proxy_that_is_no_tunnel_is_left_to_boto3(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quick way sends nothing, past it or to it."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with listening(answering(GOOD)) as server:
        if kind == "without TLS":
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
            endpoint = f"http://127.0.0.1:{server.port}"
        else:
            monkeypatch.setenv("https_proxy", f"https://127.0.0.1:{server.port}")
            endpoint = f"https://127.0.0.1:{server.port}"
        options = S3Options(profile=PROFILES["ceph"], endpoint=endpoint, credentials=KEYS)
        assert not QuickPut(connect(options), "bucket").try_put(arguments())
        assert server.connections == 0
