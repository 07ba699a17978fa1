"""Amazon's signature, version 4, of a request.

Botocore's `S3SigV4Auth` makes the same one (a test compares them) and takes five times as long: it
builds a request for it, sorts the headers four times and derives the key anew. A backup signs each
of its chunks.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import SplitResult

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
PORTS: Final = {"http": 80, "https": 443}
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An access key, and the token of one that is for a while; not shown."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class Signer:
    """Signs requests to one host. May be used by several threads at once."""

    def __init__(self, host: str, region: str) -> None:
        self._host = host
        self._region = region
        # Of the last secret and day. One tuple, so that they belong together in every thread.
        self._key = ("", "", b"")

    def sign(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        payload: str,
        keys: Keys,
        now: datetime,
        query: str = "",
    ) -> dict[str, str]:
        """Return the headers with the signature, those that it adds and the host's.

        The path and the query are encoded already, the query sorted by its names. `payload` is the
        SHA-256 of the body in hex, or `UNSIGNED`.
        """
        moment = f"{now:%Y%m%dT%H%M%SZ}"
        given = {**headers, "x-amz-security-token": keys.token} if keys.token else headers
        signed = {name.lower(): " ".join(value.split()) for name, value in given.items()}
        signed |= {"host": self._host, "x-amz-content-sha256": payload, "x-amz-date": moment}
        names = sorted(signed)
        listed = ";".join(names)
        lines = (f"{name}:{signed[name]}" for name in names)
        canonical = "\n".join((method, path, query, *lines, "", listed, payload))
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}"
        key = self._key_of(keys.secret_key, moment[:8])
        signed["authorization"] = (
            f"{_ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={listed},"
            f" Signature={_mac(key, text).hex()}"
        )
        return signed

    def _key_of(self, secret: str, day: str) -> bytes:
        kept_secret, kept_day, key = self._key
        if (kept_secret, kept_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for word in (day, self._region, "s3", "aws4_request"):
                key = _mac(key, word)
            self._key = secret, day, key
        return key


def host_of(url: SplitResult) -> str:
    """Return what the header `host` has to be."""
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.port in {None, PORTS[url.scheme]} else f"{host}:{url.port}"


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8"), "sha256")
