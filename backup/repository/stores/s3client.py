"""boto3's own client for a bucket, as the settings have it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3  # noqa: TID251 - this module is boto3's home
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.loaders import Loader
from botocore.utils import get_environ_proxies

from backup.repository.stores.s3options import S3Options
from backup.repository.stores.s3place import Place, tls
from backup.repository.stores.s3signature import PORTS, Keys
from backup.repository.stores.s3wire import Tunnel

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ATTEMPTS = 5  # botocore's; `s3bucket.py` tries what it does not try again


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A client, and what signs its requests; None: there is nothing to sign with."""

    client: S3Client
    credentials: Credentials | None
    ca_file: str | None


@contextmanager
def _not_collecting() -> Iterator[None]:
    """Keep the collector from going through megabytes of descriptions again and again."""
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_collecting:
            gc.enable()


@_not_collecting()
def connect(options: S3Options) -> Connected:
    """Return a client; nothing is asked of the store yet."""
    credentials = options.credentials
    base = _session()
    # Where the settings name none, boto3's own places count: AWS_CA_BUNDLE, its configuration.
    ca_file = str(options.ca_file or base.get_config_variable("ca_bundle") or "") or None
    session = boto3.session.Session(botocore_session=base)
    client = session.client(
        "s3",
        endpoint_url=options.endpoint,
        region_name=options.region or options.profile.region or session.region_name or "us-east-1",
        verify=ca_file,
        aws_access_key_id=None if credentials is None else credentials.access_key_id,
        aws_secret_access_key=None if credentials is None else credentials.secret_access_key,
        config=Config(
            connect_timeout=options.connect_seconds,
            read_timeout=options.read_seconds,
            max_pool_connections=options.connections * 4,
            retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS},
            tcp_keepalive=True,
            # Trailers with checksums of its own are not understood by older servers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": "path" if options.path_style else "virtual",
                "payload_signing_enabled": True,
            },
        ),
    )
    return Connected(
        client=client,
        credentials=session.get_credentials()
        if credentials is None
        else Credentials(credentials.access_key_id, credentials.secret_access_key),
        ca_file=ca_file,
    )


def place_of(connected: Connected, bucket: str) -> Place | None:
    """Return where boto3 would send requests for a bucket, and with what.

    None: there is nothing to sign with, or only boto3 can talk to the proxy that leads there.
    """
    credentials = connected.credentials
    if credentials is None:
        return None
    # boto3 knows where the bucket is, in the path or in the host's name.
    url = urlsplit(
        connected.client.generate_presigned_url(
            "put_object", Params={"Bucket": bucket, "Key": "key"}
        )
    )
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
    ca_file = connected.ca_file or str(get_cert_path(verify=True))
    return Place(
        url=url._replace(path=url.path.removesuffix("key"), query=""),
        region=connected.client.meta.region_name,
        keys=partial(_keys_of, credentials),
        context=partial(tls, ca_file) if url.scheme == "https" else None,
        tunnel=tunnel,
    )


def _keys_of(credentials: Credentials) -> Keys | None:
    """Return the keys of the moment; None: boto3 will say why, too, where it is told to people."""
    try:
        frozen = credentials.get_frozen_credentials()
    except BotoCoreError:
        return None
    return Keys(
        access_key=frozen.access_key or "", secret_key=frozen.secret_key or "", token=frozen.token
    )


class _Loader(Loader):
    """Does not look into hundreds of services' directories to say that there is S3."""

    def list_available_services(self, type_name: str) -> list[str]:
        """Return what may be services; one that has no `type_name` is refused when it is read."""
        paths = [Path(path) for path in self.search_paths]
        return sorted({one.name for path in paths if path.is_dir() for one in path.iterdir()})


@cache
def _loader() -> Loader:
    """Return what reads botocore's descriptions of services: megabytes, once for all stores."""
    return _Loader()


def _session() -> botocore.session.Session:
    session = botocore.session.get_session()
    session.register_component("data_loader", _loader())
    return session
