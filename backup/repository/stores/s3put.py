"""Putting an object with one plain request; whatever is not answered at once goes boto3's way.

boto3 works longer on a request than it takes to sign and send a chunk, and asks for leave to send
first, which costs a round trip. Here the same parts of botocore sign and send it, and no others.
What is answered with anything but success is put again by boto3, which knows what to do: only the
answer may have been lost, as the caller has to expect of boto3, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies, percent_encode

from backup.repository.stores.s3client import Connected

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

# What is put with more than these, an object with a lock for one, goes boto3's way.
_HEADERS: Final = {
    "ContentMD5": "Content-MD5",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "IfNoneMatch": "If-None-Match",
}
_PLACES: Final = frozenset({"Bucket", "Key", "Body", "Metadata"})
# After a failure the store is left to boto3, which slows down for stores that ask for it.
_PAUSE_SECONDS: Final = 30.0
_LETTERS: Final = "/~"


class QuickPut:
    """Puts whole objects into one bucket. May be called from several threads at once."""

    def __init__(self, connected: Connected, bucket: str) -> None:
        self._credentials = connected.credentials
        self._region = connected.client.meta.region_name
        # boto3 knows where the bucket is, in the path or in the host's name.
        url = connected.client.generate_presigned_url(
            "put_object", Params={"Bucket": bucket, "Key": "key"}
        )
        self._base = url.partition("?")[0].removesuffix("key")
        self._http = URLLib3Session(
            verify=connected.ca_file or True,  # type: ignore[arg-type]  # a path, too
            proxies=get_environ_proxies(self._base),
            timeout=(connected.connect_seconds, connected.read_seconds),  # type: ignore[arg-type]  # both
            max_pool_connections=connected.connections,
        )
        self._resumes = 0.0

    def try_put(self, arguments: Mapping[str, Any], sha256: bytes | None = None) -> bool:
        """Put what boto3's `put_object` would put, whose arguments these are.

        `sha256` is the body's, if it is known: it is signed and not computed again. False: it was
        not put, or nobody knows; then boto3 is to do it.
        """
        headers = _headers(arguments)
        if headers is None or time.monotonic() < self._resumes:
            return False
        frozen = None if self._credentials is None else self._credentials.get_frozen_credentials()
        if frozen is None:
            return False
        url = self._base + percent_encode(arguments["Key"], safe=_LETTERS)
        request = self._signed(url, headers, arguments["Body"], frozen, sha256)
        try:
            status = self._http.send(request.prepare()).status_code
        except BotoCoreError:
            status = 0
        if status == 200:
            return True
        if status != 412:  # something is there already, and all is well
            self._resumes = time.monotonic() + _PAUSE_SECONDS
        return False

    def _signed(
        self,
        url: str,
        headers: dict[str, str],
        body: bytes,
        frozen: ReadOnlyCredentials,
        sha256: bytes | None,
    ) -> AWSRequest:
        request = AWSRequest(method="PUT", url=url, headers=headers, data=body)
        # With a Content-MD5, and TLS, botocore does not digest the body once more.
        request.context["has_streaming_input"] = True
        _Signature(frozen, self._region, sha256).add_auth(request)
        return request


class _Signature(S3SigV4Auth):
    """Amazon's, which covers the body by its SHA-256; that is not computed where it is known."""

    def __init__(self, frozen: ReadOnlyCredentials, region: str, sha256: bytes | None) -> None:
        super().__init__(frozen, "s3", region)
        self._sha256 = sha256

    def payload(self, request: AWSRequest) -> str:
        """Return what the signature says of the body."""
        return super().payload(request) if self._sha256 is None else self._sha256.hex()


def _headers(arguments: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the headers that stand for the arguments; None: some have none here."""
    headers = {f"x-amz-meta-{name}": word for name, word in arguments["Metadata"].items()}
    for name, value in arguments.items():
        if name in _HEADERS:
            headers[_HEADERS[name]] = value
        elif name not in _PLACES:
            return None
    return headers
