"""Real receivers on loopback for what the daemon sends: mail, and HTTP requests."""

from __future__ import annotations

import contextlib
import email
import email.message
import email.policy
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class MailSink:
    """A mail server that keeps what it gets."""

    port: int = 0
    messages: list[email.message.EmailMessage] = field(default_factory=list)
    is_refusing: bool = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take in a mail."""
        if self.is_refusing:
            return "451 not now"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, email.message.EmailMessage)
        self.messages.append(message)
        return "250 OK"

    @property
    def url(self) -> str:
        """Where Apprise delivers to it."""
        return (
            f"mailto://127.0.0.1:{self.port}/?from=strongroom@backup1.example.org"
            "&to=ops@example.org&mode=insecure&user=none"
        )


class _Mail(Controller):
    def __init__(self, sink: MailSink) -> None:
        super().__init__(sink, hostname="127.0.0.1", port=0, ready_timeout=60)
        self._sink = sink

    def _trigger_server(self) -> None:
        # It listens by now; which port the kernel gave it was not to be known before.
        assert self.server is not None
        self.port = self._sink.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def mail_sink() -> Iterator[MailSink]:
    """A mail server while the block lasts."""
    sink = MailSink()
    controller = _Mail(sink)
    controller.start()
    try:
        yield sink
    finally:
        controller.stop()


@dataclass
class HttpSink:
    """An HTTP server that keeps the requests that it gets."""

    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    code: int = 200

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [path for _, path in self.requests]


@contextlib.contextmanager
def http_sink() -> Iterator[HttpSink]:
    """An HTTP server while the block lasts."""
    sink = HttpSink()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sink.requests.append((self.command, self.path))
            self.send_response(sink.code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]
