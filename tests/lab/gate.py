"""A gate before an S3 server: it counts the requests, and one of them, or all from it on, fail.

It speaks HTTP without TLS, as a balancer in front of a store does; bodies have a known length.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

# An answer with this status and S3's own code for it; or the connection is reset; or no answer.
Fault: TypeAlias = Literal["500", "503", "429", "408", "403", "reset", "timeout"]
PASSING: tuple[Fault, ...] = ("500", "503", "429", "408", "reset", "timeout")
_CODES = {
    "500": "InternalError",
    "503": "SlowDown",
    "429": "TooManyRequests",
    "408": "RequestTimeout",
    "403": "AccessDenied",
}
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Which requests fail, the first being 1, and how.

    `acts_first`: the store does what was asked and only its answer is lost. `for_good`: every
    later request fails as well.
    """

    at: int
    fault: Fault
    acts_first: bool = False
    for_good: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bend:
    """How a store differs from Amazon's: what it is asked is heard and answered in other words.

    `carries` gets each body on its way there; it must leave the length as it is.
    Heads are bytes up to and with the empty line. `refuses` returns a status and a code of S3 for
    what the store does not do, and no code if it says that it did; `answers` gets the request's
    head and the whole answer.
    """

    hears: Callable[[bytes], bytes] = lambda head: head
    carries: Callable[[bytes], bytes] = lambda body: body
    refuses: Callable[[bytes], tuple[int, str] | None] = lambda _: None
    answers: Callable[[bytes, bytes], bytes] = lambda _, answer: answer


class Gate:
    """A port of loopback that leads to a server; `requests` are those that came.

    `asked_first` is how many waited for leave before they sent their body.
    """

    def __init__(self, endpoint: str, failing: Failing | None, bend: Bend) -> None:
        there = urlsplit(endpoint)
        assert there.scheme == "http"
        self.requests: list[str] = []
        self.asked_first = 0
        self.failed = 0
        self.port = 0
        self._host, self._port = there.hostname or "", there.port or 80
        self._failing, self._bend = failing, bend
        self._over = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def endpoint(self) -> str:
        """What to give to a client."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, ready: threading.Event) -> None:
        """Listen until told to end."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._over.wait()
        server.close()
        await end_all(self._open)

    def end(self) -> None:
        """Close everything; called in the loop."""
        self._over.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, EOFError):
            answers, there = await asyncio.open_connection(self._host, self._port)
            self._open.add(there)
            try:
                while await self._pass_one(reader, writer, answers, there):
                    pass
            finally:
                there.transport.abort()
                self._open.discard(there)
        writer.close()
        self._open.discard(writer)

    async def _pass_one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        there: asyncio.StreamWriter,
    ) -> bool:
        """Take one request and answer it; return whether the connection goes on."""
        head = await _head(reader)
        self.requests.append(head.partition(b"\r\n")[0].decode("ascii", "replace"))
        fault = self._due(len(self.requests))
        if b"100-continue" in head:
            self.asked_first += 1
            # Told here, and not asked of the server: what it says would look like an answer.
            head = b"\r\n".join(
                line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")
            )
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(_length(head))
        refused = self._bend.refuses(head)
        if refused is not None:
            return await _refuse(*refused, writer, head)
        answer = b""
        if fault is None or fault.acts_first:
            there.write(self._bend.hears(head) + self._bend.carries(body))
            answer = await _answer(answers, has_body=not head.startswith(b"HEAD "))
        if fault is not None:
            return await self._fail(fault.fault, writer, head)
        writer.write(self._bend.answers(head, answer))
        await writer.drain()
        return True

    def _due(self, number: int) -> Failing | None:
        failing = self._failing
        if failing is None or number < failing.at:
            return None
        if number > failing.at and not failing.for_good:
            return None
        self.failed += 1
        return failing

    async def _fail(self, fault: Fault, writer: asyncio.StreamWriter, head: bytes) -> bool:
        if fault == "timeout":
            await self._over.wait()
            return False
        if fault == "reset":
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return False
        return await _refuse(int(fault), _CODES[fault], writer, head)


async def end_all(writers: set[asyncio.StreamWriter]) -> None:
    """End whatever else this loop does, and its connections: what is left is left for good.

    A test that comes later would be blamed for it, when its garbage is collected.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)  # connections are closed in the loop's next round


async def _refuse(status: int, code: str, writer: asyncio.StreamWriter, head: bytes) -> bool:
    told = f"<Error><Code>{code}</Code><Message>by the gate</Message></Error>".encode()
    told = told if code else b""
    writer.write(
        f"HTTP/1.1 {status} Failed\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(told)}\r\n\r\n".encode("ascii")
    )
    writer.write(b"" if head.startswith(b"HEAD ") else told)
    await writer.drain()
    return True


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip()
    return b""


def _length(head: bytes) -> int:
    return int(_field(head, b"content-length") or 0)


async def _answer(reader: asyncio.StreamReader, *, has_body: bool) -> bytes:
    """Read one answer whole."""
    head = await _head(reader)
    status = head.split(b" ", 2)[1]
    if not has_body or status in {b"204", b"304"}:
        return head
    if _field(head, b"transfer-encoding").lower() != b"chunked":
        return head + await reader.readexactly(_length(head))
    parts = [head]
    while True:
        line = await reader.readuntil(b"\r\n")
        data = await reader.readexactly(int(line.partition(b";")[0], 16) + 2)
        parts += (line, data)
        if len(data) == 2:
            return b"".join(parts)


@contextlib.contextmanager
def gate(endpoint: str, failing: Failing | None = None, bend: Bend | None = None) -> Iterator[Gate]:
    """Yield a gate to a server; with the block it ends."""
    made = Gate(endpoint, failing, bend or Bend())
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(made.serve(ready)), daemon=True
    )
    thread.start()
    assert ready.wait(30)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(made.end)
        thread.join(30)
        loop.close()
