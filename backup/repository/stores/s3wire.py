"""Connections to one server over which whole requests are sent, and answers read that are plain.

Only for requests that somebody else makes again when there was no good answer: what is not plain,
whatever it is, is an error here and ends the connection. That is why it can be short, and it takes
half the processor time of `http.client` and a third of urllib3's.
"""

from __future__ import annotations

import http.client
import re
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_BLOCK: Final = 16_384  # a record of TLS at most: nothing is left where nobody would look for it
_LONGEST_HEAD: Final = 65_536
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})[ \r]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n)", re.IGNORECASE)
# After an answer with one of these nothing is known of what the next bytes are.
_ENDS: Final = re.compile(rb"\r\n(?:transfer-encoding:|connection:[^\r]*close)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """A proxy that connects to the server for us, and what it wants to be told."""

    host: str
    port: int
    headers: Mapping[str, str]


class Wires:
    """Connections that are kept open; as many as there are exchanges at one moment.

    `context` makes what TLS needs, when the first connection needs it; None: without TLS. One that
    takes `connect_seconds`, and one that is silent for `read_seconds`, is given up.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: Callable[[], ssl.SSLContext] | None,
        tunnel: Tunnel | None,
        *,
        connect_seconds: float,
        read_seconds: float,
    ) -> None:
        self._host = host
        self._port = port
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._making = threading.Lock()
        self._tunnel = tunnel
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._idle: list[http.client.HTTPConnection] = []
        weakref.finalize(self, _end, self._idle)

    def exchange(self, head: bytes, body: bytes) -> int:
        """Send a request and return its answer's status; how the answer goes on is not read.

        Raises `OSError`, and `HTTPException` where the proxy or the server answers nonsense.
        """
        wire = self._unused() or self._connected()
        is_good = False
        try:
            wire.sock.sendall(head)
            wire.sock.sendall(body)
            status, is_good = _answer(wire)
        finally:
            if is_good:
                self._idle.append(wire)
            else:
                wire.close()
        return status

    def ask(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a request without a body; return its answer's status and whole body.

        Raises like `exchange`, and `ValueError` for a header that is none.
        """
        wire = self._unused() or self._connected()
        is_good = False
        try:
            wire.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                wire.putheader(name, value)
            wire.endheaders()
            # Many a server sends an answer's head by itself and the rest when it has word of that,
            # which the kernel keeps back for 40 ms; the option lasts for a while only (tcp(7)).
            wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            with wire.getresponse() as answer:
                if not answer.chunked and answer.length is None:
                    raise http.client.HTTPException("an answer that does not say where it ends")
                body = answer.read()
            is_good = not answer.will_close
        finally:
            if is_good:
                self._idle.append(wire)
            else:
                wire.close()
        return answer.status, body

    def _unused(self) -> http.client.HTTPConnection | None:
        """Return a connection that the server has not closed, and has said nothing on."""
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return None
            poll = select.poll()
            poll.register(wire.sock, select.POLLIN)
            if not poll.poll(0):
                return wire
            wire.close()

    def _connected(self) -> http.client.HTTPConnection:
        through = self._tunnel
        host, port = (through.host, through.port) if through else (self._host, self._port)
        limit = self._connect_seconds
        wire = (
            http.client.HTTPConnection(host, port, timeout=limit)
            if (context := self._tls()) is None
            else http.client.HTTPSConnection(host, port, timeout=limit, context=context)
        )
        if through:
            wire.set_tunnel(self._host, self._port, through.headers)
        try:
            wire.connect()
            wire.sock.settimeout(self._read_seconds)
        except BaseException:
            wire.close()
            raise
        return wire

    def _tls(self) -> ssl.SSLContext | None:
        with self._making:
            if self._context is None and self._make_context is not None:
                self._context = self._make_context()
            return self._context


def _end(wires: list[http.client.HTTPConnection]) -> None:
    for wire in wires:
        wire.close()


def _answer(wire: http.client.HTTPConnection) -> tuple[int, bool]:
    """Return an answer's status, and whether the connection is good for another request."""
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        more = wire.sock.recv(_BLOCK)
        if not more:
            raise http.client.RemoteDisconnected("closed before the end of the answer's head")
        got += more
        if len(got) > _LONGEST_HEAD:
            raise http.client.LineTooLong("an answer's head")
    status = _STATUS.match(got)
    if status is None:
        raise http.client.BadStatusLine(repr(got[:40]))
    head, rest = got[: end + 2], got[end + 4 :]
    lengths = _LENGTH.findall(head)
    is_whole = len(lengths) == 1 and len(rest) == int(lengths[0])
    return int(status[2]), is_whole and status[1] == b"1" and not _ENDS.search(head)
