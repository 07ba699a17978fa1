"""Putting an object with one plain request; whatever is not answered at once goes boto3's way.

boto3 works longer on a request than it takes to sign and send a chunk, and asks for leave to send
first, which costs a round trip. Here it is signed and sent, and no more. What is answered with
anything but success is put again by boto3, which knows what to do: only the answer may have been
lost, as the caller has to expect of boto3, too.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from botocore.exceptions import BotoCoreError
from botocore.httpsession import ProxyConfiguration, create_urllib3_context, get_cert_path
from botocore.utils import get_environ_proxies, percent_encode

from backup.repository.stores.s3client import Connected
from backup.repository.stores.s3signature import PORTS, UNSIGNED, Signer, host_of
from backup.repository.stores.s3wire import Tunnel, Wires

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

# What is put with more than these, an object with a lock for one, goes boto3's way.
_HEADERS: Final = {
    "ContentMD5": "content-md5",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "IfNoneMatch": "if-none-match",
}
_PLACES: Final = frozenset({"Bucket", "Key", "Body", "Metadata"})
# After a failure the store is left to boto3, which slows down for stores that ask for it.
_PAUSE_SECONDS: Final = 30.0
_LETTERS: Final = "/~"


class QuickPut:
    """Puts whole objects into one bucket. May be called from several threads at once."""

    def __init__(self, connected: Connected, bucket: str) -> None:
        self._credentials = connected.credentials
        # boto3 knows where the bucket is, in the path or in the host's name.
        url = urlsplit(
            connected.client.generate_presigned_url(
                "put_object", Params={"Bucket": bucket, "Key": "key"}
            )
        )
        self._base = url.path.removesuffix("key")
        self._has_tls = url.scheme == "https"
        self._signer = Signer(host_of(url), connected.client.meta.region_name)
        self._wires = _wires(url, connected)
        self._resumes = 0.0

    def try_put(self, arguments: Mapping[str, Any], sha256: bytes | None = None) -> bool:
        """Put what boto3's `put_object` would put, whose arguments these are.

        `sha256` is the body's, if it is known: it is signed and not computed again. False: it was
        not put, or nobody knows; then boto3 is to do it.
        """
        headers = _headers(arguments)
        if headers is None or self._wires is None or time.monotonic() < self._resumes:
            return False
        keys = self._keys()
        if keys is None:
            return False
        body: bytes = arguments["Body"]
        path = self._base + percent_encode(arguments["Key"], safe=_LETTERS)
        signed = self._signer.sign(
            "PUT",
            path,
            headers,
            payload=self._payload(headers, body, sha256),
            keys=keys,
            now=datetime.now(UTC),
        )
        try:
            status = self._wires.exchange(_head(path, signed, len(body)), body)
        except (OSError, HTTPException, UnicodeError):
            status = 0
        if status == 200:
            return True
        if status != 412:  # something is there already, and all is well
            self._resumes = time.monotonic() + _PAUSE_SECONDS
        return False

    def _keys(self) -> ReadOnlyCredentials | None:
        if self._credentials is None:
            return None
        try:
            return self._credentials.get_frozen_credentials()
        except BotoCoreError:  # boto3 will say so, too, where it is told to people
            return None

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
    lines = [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {size_bytes}", "user-agent: strongroom"]
    return "\r\n".join((f"PUT {path} HTTP/1.1", *lines, "", "")).encode("ascii")


def _wires(url: SplitResult, connected: Connected) -> Wires | None:
    """Return connections to the store; None: a proxy leads there that only boto3 can talk to."""
    proxies = ProxyConfiguration(get_environ_proxies(url.geturl()))
    proxy = proxies.proxy_url_for(url.geturl())
    tunnel = None
    if proxy:
        through = urlsplit(proxy)
        if url.scheme != "https" or through.scheme != "http" or not through.hostname:
            return None
        tunnel = Tunnel(
            host=through.hostname,
            port=through.port or PORTS["http"],
            headers=proxies.proxy_headers_for(proxy),
        )
    return Wires(
        url.hostname or "",
        url.port or PORTS[url.scheme],
        partial(_context, connected.ca_file) if url.scheme == "https" else None,
        tunnel,
        connect_seconds=connected.connect_seconds,
        read_seconds=connected.read_seconds,
    )


def _context(ca_file: str | None) -> ssl.SSLContext:
    """Return how boto3 does TLS, and whom it trusts."""
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True
    context.load_verify_locations(ca_file or get_cert_path(verify=True))
    return context
