"""The plain requests of a store, made with no more than they need; anything else goes boto3's way.

boto3 works longer on a request than it takes to sign and send a chunk, and asks for leave to send
first, which costs a round trip. Here it is signed and sent, and no more. What is answered with
anything but the plain answer is asked again by boto3, which knows what to do: a put may have been
heard and only its answer lost, as the caller has to expect of boto3, too.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from backup.repository.stores.s3options import S3Options
from backup.repository.stores.s3place import Place
from backup.repository.stores.s3signature import PORTS, UNSIGNED, Signer, host_of
from backup.repository.stores.s3wire import Wires

# What is put with more than these, an object with a lock for one, goes boto3's way.
_HEADERS: Final = {
    "ContentMD5": "content-md5",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "IfNoneMatch": "if-none-match",
}
_PLACES: Final = frozenset({"Bucket", "Key", "Body", "Metadata"})
# After a failure the store is left to boto3, which slows down for stores that ask for it.
_PAUSE_SECONDS: Final = 30.0
_NOTHING: Final = hashlib.sha256().hexdigest()
_ABSENT: Final = re.compile(rb"<Code>NoSuchKey</Code>")
_AGENT: Final = {"user-agent": "strongroom"}


class AbsentError(Exception):
    """There is no such object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Keys of a listing in the store's order; `token` asks for those after them, if there are."""

    keys: tuple[str, ...]
    token: str | None


class Quick:
    """Asks one bucket for whole objects. May be called from several threads at once."""

    def __init__(self, place: Place, options: S3Options) -> None:
        url = place.url
        self._keys = place.keys
        self._base = url.path
        self._has_tls = url.scheme == "https"
        self._signer = Signer(host_of(url), place.region)
        # What `http.client` has read from is never used to put: it does not say what it left.
        self._puts, self._asks = (
            Wires(
                url.hostname or "",
                url.port or PORTS[url.scheme],
                place.context,
                place.tunnel,
                connect_seconds=options.connect_seconds,
                read_seconds=options.read_seconds,
            )
            for _ in range(2)
        )
        self._resumes = 0.0

    def try_put(self, arguments: Mapping[str, Any], sha256: bytes | None = None) -> bool:
        """Put what boto3's `put_object` would put, whose arguments these are.

        `sha256` is the body's, if it is known: it is signed and not computed again. False: it was
        not put, or nobody knows; then boto3 is to do it.
        """
        headers = _headers(arguments)
        if headers is None or self._is_paused:
            return False
        body: bytes = arguments["Body"]
        path = self._path(arguments["Key"])
        signed = self._signed("PUT", path, headers, self._payload(headers, body, sha256))
        if signed is None:
            return False
        try:
            status = self._puts.exchange(_head(path, signed, len(body)), body)
        except (OSError, HTTPException, UnicodeError):
            status = 0
        if status not in {200, 412}:  # 412: something is there already, and all is well
            self._pause()
        return status == 200

    def try_get(self, key: str) -> bytes | None:
        """Return an object; None: boto3 is to ask. Raises `AbsentError`."""
        status, body = self._ask("GET", self._path(key))
        if status == 200:
            return body
        if status == 404 and _ABSENT.search(body):
            raise AbsentError(key)
        self._pause()
        return None

    def try_delete(self, key: str) -> bool:
        """Remove an object, if it is there; False: nobody knows, and boto3 is to do it."""
        status, _ = self._ask("DELETE", self._path(key))
        if status != 204:
            self._pause()
        return status == 204

    def try_list(self, prefix: str, token: str | None) -> Page | None:
        """Return a page of keys that start with this; None: boto3 is to ask."""
        asked = {"list-type": "2", "prefix": prefix}
        if token is not None:
            asked["continuation-token"] = token
        query = urlencode(sorted(asked.items()), quote_via=quote, safe="~")
        status, body = self._ask("GET", self._base.removesuffix("/") or "/", query)
        page = _page(body) if status == 200 else None
        if page is None:
            self._pause()
        return page

    @property
    def _is_paused(self) -> bool:
        return time.monotonic() < self._resumes

    def _pause(self) -> None:
        if not self._is_paused:
            self._resumes = time.monotonic() + _PAUSE_SECONDS

    def _path(self, key: str) -> str:
        return self._base + quote(key, safe="/~")

    def _ask(self, method: str, path: str, query: str = "") -> tuple[int, bytes]:
        """Return an answer's status and body; the status is 0 if there was none."""
        signed = None if self._is_paused else self._signed(method, path, {}, _NOTHING, query)
        if signed is None:
            return 0, b""
        target = f"{path}?{query}" if query else path
        try:
            return self._asks.ask(method, target, signed | _AGENT)
        except (OSError, HTTPException, ValueError):
            return 0, b""

    def _signed(
        self, method: str, path: str, headers: Mapping[str, str], payload: str, query: str = ""
    ) -> dict[str, str] | None:
        """Return all headers of a request; None: there are no keys now, and boto3 will say so."""
        keys = self._keys()
        if keys is None:
            return None
        now = datetime.now(UTC)
        return self._signer.sign(
            method, path, headers, payload=payload, keys=keys, now=now, query=query
        )

    def _payload(self, headers: Mapping[str, str], body: bytes, sha256: bytes | None) -> str:
        """Return what the signature says of the body."""
        if sha256 is not None:
            return sha256.hex()
        # With a Content-MD5, and TLS, boto3 does not digest the body once more either.
        if self._has_tls and "content-md5" in headers:
            return UNSIGNED
        return hashlib.sha256(body).hexdigest()


def _headers(arguments: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the headers that stand for the arguments; None: some have none here."""
    headers = {f"x-amz-meta-{name}": word for name, word in arguments["Metadata"].items()}
    for name, value in arguments.items():
        if name in _HEADERS:
            headers[_HEADERS[name]] = value
        elif name not in _PLACES:
            return None
    return headers


def _head(path: str, headers: Mapping[str, str], size_bytes: int) -> bytes:
    """Return a request's first bytes. No header holds the end of a line: the signer sees to it."""
    lines = [f"{name}: {value}" for name, value in {**headers, **_AGENT}.items()]
    lines.append(f"content-length: {size_bytes}")
    return "\r\n".join((f"PUT {path} HTTP/1.1", *lines, "", "")).encode("ascii")


def _page(body: bytes) -> Page | None:
    """Return what a listing says; None: it says that it goes on, and not where, or is none."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - expat refuses what grows without an end
    except ElementTree.ParseError:
        return None
    goes_on = root.findtext("{*}IsTruncated")
    token = root.findtext("{*}NextContinuationToken") if goes_on == "true" else None
    is_whole = goes_on == "false" or bool(token)
    keys = [found.findtext("{*}Key") or "" for found in root.iterfind("{*}Contents")]
    is_plain = root.find("{*}EncodingType") is None and all(keys)
    return Page(keys=tuple(keys), token=token) if is_whole and is_plain else None
