"""A wire to cut: a TCP proxy on loopback that fails after so many bytes, in a way of choice.

It leads to a port of this machine, or to a socket's file.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from tests.lab.gate import end_all

# blip: all connections are reset, once. cut: they are, and every new one. stall: nothing moves any
# more and nothing is closed. drip: a byte now and then, so that no socket's own timeout ever ends.
# swallow: all that comes is taken, and nothing ever arrives.
Break: TypeAlias = Literal["blip", "cut", "stall", "drip", "swallow"]
BREAKS: tuple[Break, ...] = ("blip", "cut", "stall", "drip")
_BLOCK = 65_536
_DRIP_SECONDS = 0.3
_RESET = struct.pack("ii", 1, 0)


class Wire:
    """The wire to a server of this machine; `moved` bytes went through, both ways together."""

    def __init__(
        self, upstream: int | Path, breaks: Break | None, at: int, drip_seconds: float
    ) -> None:
        self.moved = 0
        self.port = 0
        self._upstream = upstream
        self._breaks = breaks
        self._at = at
        self._drip_seconds = drip_seconds
        self._is_broken = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._opened: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_broken(self) -> bool:
        """Whether it came to that."""
        return self._is_broken

    def break_now(self) -> None:
        """Have it break with the next byte."""
        self._at = self.moved

    def mend(self) -> None:
        """Have new connections be whole again; call it when those that broke are over."""
        self._at = sys.maxsize
        self._is_broken = False

    async def serve(self, ready: threading.Event, ended: asyncio.Event) -> None:
        """Listen until told to end."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ended.wait()
        server.close()
        self._reset()
        await end_all(self._opened)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._opened.add(writer)
        if self._is_broken and self._breaks == "cut":
            self._reset()
            return
        try:
            there = await (
                asyncio.open_unix_connection(self._upstream)
                if isinstance(self._upstream, Path)
                else asyncio.open_connection("127.0.0.1", self._upstream)
            )
        except OSError:
            self._reset()
            return
        self._writers.add(there[1])
        self._opened.add(there[1])
        for one in (self._pump(reader, there[1]), self._pump(there[0], writer)):
            task = asyncio.create_task(one)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_BLOCK):
                before = self._before_break(data)
                writer.write(before)
                await writer.drain()
                if len(before) < len(data):
                    await self._break(data[len(before) :], writer)
        writer.close()  # also where the other end was reset: it would be left open for good
        self._writers.discard(writer)

    def _before_break(self, data: bytes) -> bytes:
        """Return what still passes as if nothing was wrong."""
        if self._is_broken:
            return data if self._breaks == "blip" else b""
        before = data if self._breaks is None else data[: max(0, self._at - self.moved)]
        self.moved += len(before)
        self._is_broken = len(before) < len(data)
        if self._is_broken and self._breaks in {"blip", "cut"}:
            self._reset()
        return before

    async def _break(self, rest: bytes, writer: asyncio.StreamWriter) -> None:
        if self._breaks == "stall":
            await asyncio.Event().wait()
        elif self._breaks == "drip":
            for place in range(len(rest)):
                await asyncio.sleep(self._drip_seconds)
                writer.write(rest[place : place + 1])

    def _reset(self) -> None:
        """End all connections as a router does that forgot them."""
        for writer in self._writers:
            with contextlib.suppress(OSError):
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self._writers.clear()


@contextlib.contextmanager
def wire(
    upstream: int | Path,
    breaks: Break | None = None,
    at: int = 0,
    *,
    drip_seconds: float = _DRIP_SECONDS,
) -> Iterator[Wire]:
    """Yield a wire to a port or a socket's file; with the block it ends."""
    made = Wire(upstream, breaks, at, drip_seconds)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(made.serve(ready, ended)), daemon=True
    )
    thread.start()
    ready.wait(30)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)
        loop.close()
