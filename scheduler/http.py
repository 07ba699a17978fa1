"""`/metrics`, `/healthz` and `/status`, on loopback unless the settings say otherwise.

What is served is the last status that was looked at: a scrape costs nothing and waits for nothing.
`/healthz` is about the loop that runs jobs, not about the thread that answers.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from backup.errors import SettingsError
from backup.sections import parse_listen
from scheduler.metrics import CONTENT_TYPE, exposition
from scheduler.status import Status
from scheduler.statusjson import status_json

_PATIENCE_SECONDS = 10


class Sight(Protocol):
    """What is served; asked from other threads."""

    def status(self) -> Status | None:
        """Return the last status; None before the first."""

    def is_ticking(self) -> bool:
        """Whether the loop that runs jobs moved within its limit."""


@contextmanager
def serving(listen: str, sight: Sight) -> Iterator[int | None]:
    """Serve while the block lasts; yield the port. Empty `listen`: serve nothing.

    Raises `SettingsError` if the address can't be had.
    """
    if not listen:
        yield None
        return
    host, port = parse_listen(listen)
    try:
        server = _server(host, port, sight)
    except OSError as error:
        raise SettingsError(
            f"listening on {listen}: {error.strerror or error}",
            hint='set `listen` of [monitoring] to another port, or to "" to serve nothing',
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _server(host: str, port: int, sight: Sight) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    class Handler(_Handler):
        answers = _answers(sight)

    return Server((host, port), Handler)


_Answer = tuple[HTTPStatus, str, bytes]
_TEXT = "text/plain; charset=utf-8"


def _answers(sight: Sight) -> dict[str, Callable[[], _Answer]]:
    def metrics() -> _Answer:
        status = sight.status()
        if status is None:
            return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"nothing was looked at yet\n"
        return HTTPStatus.OK, CONTENT_TYPE, exposition(status)

    def health() -> _Answer:
        if sight.is_ticking():
            return HTTPStatus.OK, _TEXT, b"ok: the loop that runs jobs is moving\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"the loop that runs jobs stands\n"

    def status() -> _Answer:
        found = sight.status()
        if found is None:
            return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"nothing was looked at yet\n"
        text = json.dumps(status_json(found), indent=2, sort_keys=True, ensure_ascii=False)
        return HTTPStatus.OK, "application/json", text.encode()

    return {"/metrics": metrics, "/healthz": health, "/status": status}


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of three paths."""

    answers: dict[str, Callable[[], _Answer]]
    timeout = _PATIENCE_SECONDS  # a client that says nothing holds no thread for ever
    server_version = "strongroom"
    sys_version = ""

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.partition("?")[0])
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, _TEXT, b"/metrics, /healthz or /status\n")
            return
        self._send(*answer())

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, code: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a scrape every 15 seconds is no news."""
