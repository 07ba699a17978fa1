"""The quick way to a bucket: it counts on nothing but plain answers, and boto3 gets the rest."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from botocore.credentials import Credentials, DeferredRefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from backup.errors import NotFoundError, StoreError
from backup.repository.stores.s3 import S3Store
from backup.repository.stores.s3client import connect, place_of
from backup.repository.stores.s3options import PROFILES, S3Address, S3Options
from backup.repository.stores.s3place import Place
from backup.repository.stores.s3quick import AbsentError, Page, Quick
from tests.lab.buckets import KEYS, S3Server
from tests.lab.s3servers import S3Servers

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


def asked(options: S3Options, bucket: str = "bucket") -> Place:
    """Where boto3 sends what is for a bucket."""
    place = place_of(connect(options), bucket)
    assert place is not None
    return place


def quick(port: int, timeout: timedelta = timedelta(seconds=80)) -> Quick:
    """The quick way to a server."""
    options = options_for(port, timeout)
    return Quick(asked(options), options)


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
        place = place_of(replace(connected, credentials=changing), "bucket")
        assert place is not None
        puts = Quick(place, options_for(server.port))
        assert puts.try_put(arguments())
        changing.access_key, changing.token = "SECOND", "its token"
        assert puts.try_put(arguments())
        heads = [head.decode("ascii") for head in server.heads]
        assert ["Credential=FIRST/" in heads[0], "Credential=SECOND/" in heads[1]] == [True, True]
        assert "\r\nx-amz-security-token: its token\r\n" in heads[1]
        assert place_of(replace(connected, credentials=None), "bucket") is None
        gone = DeferredRefreshableCredentials(refresh_using=fails, method="some")
        place = place_of(replace(connected, credentials=gone), "bucket")
        assert place is not None
        without = Quick(place, options_for(server.port))
        assert not without.try_put(arguments())
        assert without.try_get("some/key") is None
        assert len(server.heads) == 2


def test_a_certificate_for_another_name_is_refused(real_s3: S3Server) -> None:
    """Who signed it is not enough: it names the address, and not `localhost`."""
    port = urlsplit(real_s3.endpoint).port
    options = replace(real_s3.options, endpoint=f"https://localhost:{port}")
    assert not Quick(asked(options), options).try_put(arguments())
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
        carry_both_ways(connection, there)


def carry_both_ways(one: socket.socket, other: socket.socket) -> None:
    """Carry what two say to each other until both have said all."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=carry, args=(other, one), daemon=True)
    back.start()
    carry(one, other)
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
        puts = Quick(asked(real_s3.options, bucket), real_s3.options)
        assert puts.try_put(arguments("a/1", bucket))
        assert puts.try_put(arguments("a/2", bucket))
        assert proxy.connections == 1
        lines = proxy.heads[0].decode("ascii").split("\r\n")
        assert lines[0].startswith(f"CONNECT {urlsplit(real_s3.endpoint).netloc} HTTP/1.")
        assert f"Proxy-Authorization: Basic {base64.b64encode(b'some:wo/rd').decode()}" in lines
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        straight = Quick(asked(real_s3.options, bucket), real_s3.options)
        assert straight.try_put(arguments("a/3", bucket))
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
        assert place_of(connect(options), "bucket") is None
        assert server.connections == 0


LIST = b"""<?xml version="1.0" encoding="UTF-8"?><ListBucketResult
 xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>%b</ListBucketResult>"""
WHOLE = b"<IsTruncated>false</IsTruncated>"
ONE = b"<Contents><Key>p/a&amp;b</Key><Size>1</Size></Contents>"


def answer(status: bytes, body: bytes = b"") -> bytes:
    """An answer with a body, after which the connection is good for more."""
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def only_heads(answer: bytes) -> Callable[[socket.socket, Listener], None]:
    """A server that answers each request without a body with these bytes, and hangs up."""

    def serve(connection: socket.socket, found: Listener) -> None:
        head, _ = head_of(connection)
        found.heads.append(head)
        connection.sendall(answer)

    return serve


@pytest.mark.parametrize(
    ("given", "expected", "pauses"),
    [
        (answer(b"200 OK", b"its bytes"), b"its bytes", False),
        (answer(b"200 OK"), b"", False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nits\r\n0\r\n\r\n",
            b"its",
            False,
        ),
        (answer(b"404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>"), "absent", False),
        (answer(b"404 Not Found", b"<Error><Code>NoSuchBucket</Code></Error>"), None, True),
        (answer(b"404 Not Found"), None, True),
        (answer(b"206 Partial Content", b"its"), None, True),
        (answer(b"204 No Content"), None, True),
        (answer(b"503 Slow Down"), None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nits", None, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nits\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\n\r\nits bytes", None, True),
        (b"HTTP/1.0 200 OK\r\n\r\nits bytes", None, True),
        (b"nonsense\r\n\r\n", None, True),
        (b"", None, True),
    ],
)
def test_an_object_is_read_from_a_whole_plain_answer_only(
    given: bytes, expected: bytes | str | None, *, pauses: bool
) -> None:
    """An answer that is cut short, or does not say where it ends, is no object and no absence."""
    with listening(only_heads(given)) as server:
        asks = quick(server.port)
        for _ in range(2):
            if expected == "absent":
                with pytest.raises(AbsentError):
                    asks.try_get("a key")
            else:
                assert asks.try_get("a key") == expected
            # It is seen only when it has happened; the second time nobody may have been asked.
            assert server.has_hung_up.wait(_SECONDS)
        assert len(server.heads) == (1 if pauses else 2)
        assert server.heads[0].startswith(b"GET /bucket/a%20key HTTP/1.1\r\n")


def test_an_answer_in_two_pieces_is_not_waited_for() -> None:
    """A server that sends its second piece when it has word of the first one has that at once.

    Else each of the answers took the 40 ms for which a kernel keeps such word back.
    """

    def serve(connection: socket.socket, found: Listener) -> None:
        while head_of(connection)[0]:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
            connection.sendall(b"its")

    def seconds(asks: Quick) -> float:
        started = time.monotonic()
        assert asks.try_get("key") == b"its"
        return time.monotonic() - started

    with listening(serve) as server:
        asks = quick(server.port)
        taken = [seconds(asks) for _ in range(40)]
        assert server.connections == 1
        assert min(taken[20:]) < 0.035  # the first few are not kept back in any case


@pytest.mark.parametrize(
    ("given", "is_done"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (answer(b"200 OK"), False),
        (answer(b"403 Forbidden"), False),
        (answer(b"404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>"), False),
    ],
)
def test_an_object_is_gone_when_the_store_says_so(given: bytes, *, is_done: bool) -> None:
    """With the one status that means it; of any other boto3 is to make sense."""
    with listening(only_heads(given)) as server:
        assert quick(server.port).try_delete("key") == is_done
        assert server.heads[0].startswith(b"DELETE /bucket/key HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (LIST % (WHOLE + ONE), Page(keys=("p/a&b",), token=None)),
        (LIST % WHOLE, Page(keys=(), token=None)),
        (
            LIST % (b"<IsTruncated>true</IsTruncated><NextContinuationToken>n&lt;/+"
            b"</NextContinuationToken>" + ONE),
            Page(keys=("p/a&b",), token="n</+"),
        ),
        (LIST % (b"<IsTruncated>true</IsTruncated>" + ONE), None),
        (LIST % ONE, None),
        (LIST % (WHOLE + b"<Contents><Size>1</Size></Contents>"), None),
        (LIST % (WHOLE + b"<EncodingType>url</EncodingType>" + ONE), None),
        (LIST % (WHOLE + b"<Contents><Key>p/\x01</Key></Contents>"), None),
        (b"<html/>", None),
        (b"", None),
    ],
)  # fmt: skip
def test_a_listing_that_leaves_doubt_is_boto3s(body: bytes, expected: Page | None) -> None:
    """Of what it holds, and of whether it goes on: one that was cut short would hide objects."""
    with listening(only_heads(answer(b"200 OK", body))) as server:
        assert quick(server.port).try_list("p/", "t&/+ ") == expected
        asked = b"GET /bucket?continuation-token=t%26%2F%2B%20&list-type=2&prefix=p%2F HTTP/1.1\r\n"
        assert server.heads[0].startswith(asked)


def test_boto3_does_all_that_the_quick_way_cannot(s3_servers: S3Servers) -> None:
    """A store that refuses every request of the quick way is read and written all the same."""
    real = s3_servers.named("moto")
    bucket = real.new_bucket()
    port = urlsplit(real.endpoint).port

    def but_for_ours(connection: socket.socket, found: Listener) -> None:
        head, rest = head_of(connection)
        if b"user-agent: strongroom\r\n" in head + b"\r\n":
            found.heads.append(head)
            connection.sendall(answer(b"503 Slow Down"))
            return
        with socket.create_connection(("127.0.0.1", port or 0), _SECONDS) as there:
            there.sendall(head + b"\r\n\r\n" + rest)
            carry_both_ways(connection, there)

    with listening(but_for_ours) as front:
        options = replace(real.options, endpoint=f"http://127.0.0.1:{front.port}")

        def opened() -> S3Store:
            return S3Store(S3Address(bucket=bucket, prefix="p"), options)

        opened().put("a/1", b"one")
        store = opened()
        assert store.get("a/1") == b"one"
        store.put("a/2", b"two")
        assert len(front.heads) == 2, "one try for each store, and then a pause"
        assert list(opened().list("a/")) == ["a/1", "a/2"]
        opened().delete("a/1")
        with pytest.raises(NotFoundError):
            opened().get("a/1")
        assert [head.split()[0] for head in front.heads] == [
            b"PUT", b"GET", b"GET", b"DELETE", b"GET",
        ]  # fmt: skip


def test_a_listing_goes_on_to_its_last_page(real_s3: S3Server) -> None:
    """A page holds a thousand keys at most."""
    store = real_s3.store(real_s3.new_bucket(), "p")
    keys = [f"a/{number:04}" for number in range(1_003)]
    for key in keys:
        store.put(key, b"", durable=False)
    store.sync()
    assert list(store.list("a/")) == keys
