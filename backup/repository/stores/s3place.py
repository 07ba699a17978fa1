"""Where a bucket is, whose keys open it and whose word it is believed by: what a request takes.

Settings that say all of it are understood here. What they leave open boto3 knows, with its places
for credentials, its regions and its configuration (`s3client.py`); it takes a third of a second to
load, which is half of what a verb takes that asks for little.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import SplitResult, urlsplit

from backup.repository.stores.s3options import S3Options
from backup.repository.stores.s3signature import PORTS, Keys
from backup.repository.stores.s3wire import Tunnel

_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy"})
# With one of these, or a shared file of boto3's, other keys than those beside it may be meant.
_ELSEWHERE: Final = frozenset({"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bucket: its URL, whose path ends with a slash, and what a request to it takes.

    `keys` returns those of the moment; None: there are none now. `context` is None without TLS.
    """

    url: SplitResult
    region: str
    keys: Callable[[], Keys | None]
    context: Callable[[], ssl.SSLContext] | None
    tunnel: Tunnel | None = None


def stated(bucket: str, options: S3Options, environment: Mapping[str, str]) -> Place | None:
    """Return the bucket's place if the settings say all of it; None: boto3 has to be asked."""
    url = urlsplit(options.endpoint or "")
    region = options.region or options.profile.region
    keys = _keys(options, environment)
    is_plain = url.scheme in PORTS and bool(url.hostname) and url.username is None
    if (
        not (is_plain and options.path_style and region and keys)
        or url.path.strip("/")
        or url.query
        or (url.scheme == "https" and options.ca_file is None)
        or any(value and name.lower() in _PROXIES for name, value in environment.items())
    ):
        return None
    return Place(
        url=url._replace(path=f"/{bucket}/"),
        region=region,
        keys=lambda: keys,
        context=partial(tls, str(options.ca_file)) if url.scheme == "https" else None,
    )


def _keys(options: S3Options, environment: Mapping[str, str]) -> Keys | None:
    if (given := options.credentials) is not None:
        return Keys(access_key=given.access_key_id, secret_key=given.secret_access_key)
    access_key = environment.get("AWS_ACCESS_KEY_ID")
    secret_key = environment.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key or _ELSEWHERE & environment.keys():
        return None
    token = environment.get("AWS_SESSION_TOKEN") or environment.get("AWS_SECURITY_TOKEN")
    return Keys(access_key=access_key, secret_key=secret_key, token=token or None)


def tls(ca_file: str) -> ssl.SSLContext:
    """Return what trusts this authority only, and wants the host's name in the certificate."""
    return ssl.create_default_context(cafile=ca_file)
