"""A real S3 server with Object Lock: Ceph's gateway, 18.2 of Debian trixie, on loopback only.

It needs root, for a root file system with the packages (mmdebstrap) and for namespaces of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess  # noqa: TID251 - mmdebstrap, openssl
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from backup.postgres.command import Command
from backup.postgres.process import serving
from backup.repository.stores.s3options import Credentials
from tests.lab.buckets import KEYS, S3Server, wait_for
from tests.lab.rootfs import cache_directory, cached, sources_of

_SUITE = "trixie"
_PACKAGES = "ceph-mon,ceph-osd,radosgw,ceph-common,ca-certificates"
_NEEDS = ("mmdebstrap", "unshare", "openssl", "chroot")
_LIMIT_SECONDS = 900
_STARTING_SECONDS = 300.0
_PORTS = 71


def skip_without() -> None:
    """Skip where a real S3 server can't be had, with the reason."""
    if os.geteuid() != 0:
        pytest.skip("a real S3 server needs root")
    missing = [tool for tool in _NEEDS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"a real S3 server needs {', '.join(missing)}")


@contextlib.contextmanager
def radosgw() -> Iterator[S3Server]:
    """The gateway, over TLS with a certificate of its own; `plain` of it is the same over HTTP."""
    root = _root_filesystem()
    with (
        # Ceph's processes end a moment later than the first one, and still write to their logs.
        tempfile.TemporaryDirectory(
            prefix="strongroom-radosgw-", ignore_cleanup_errors=True
        ) as name,
        _free_ports() as port,
    ):
        directory = Path(name)
        logs = directory / "logs"
        logs.mkdir(mode=0o777)
        logs.chmod(0o777)
        authority = _certificate(directory)
        script = Path(__file__).with_name("radosgw.sh")
        command = Command(
            label="radosgw",
            argv=(
                *("unshare", "--mount", "--propagation=private", "--pid", "--fork"),
                *("--kill-child=KILL", "--mount-proc", "bash", str(script)),
                *(str(root), str(port), str(directory / "both.pem"), str(logs)),
            ),
            death_signal=signal.SIGKILL,  # unshare ignores any other while its child is there
        )
        with serving(command, stop=signal.SIGKILL):
            _wait(port, logs)
            yield S3Server(
                endpoint=f"https://127.0.0.1:{port + 1}",
                profile="ceph",
                ca_file=authority,
                plain_endpoint=f"http://127.0.0.1:{port}",
            )


def new_user(server: S3Server, name: str) -> Credentials:
    """Make a user who may do nothing yet, by Ceph's own interface, and return the keys."""
    keys = Credentials(
        access_key_id=secrets.token_hex(10).upper(), secret_access_key=secrets.token_hex(20)
    )
    asked: Mapping[str, str] = {
        "uid": name,
        "display-name": name,
        "access-key": keys.access_key_id,
        "secret-key": keys.secret_access_key,
        "max-buckets": "-1",
        "format": "json",
    }
    request = AWSRequest("PUT", f"{server.plain_endpoint}/admin/user?{urlencode(asked)}")
    admin = BotoCredentials(KEYS.access_key_id, KEYS.secret_access_key)
    S3SigV4Auth(admin, "s3", "us-east-1").add_auth(request)
    prepared = request.prepare()
    sent = urllib.request.Request(prepared.url, method="PUT", headers=dict(prepared.headers))
    with urllib.request.urlopen(sent, timeout=60) as answer:
        assert json.load(answer)["user_id"] == name
    return keys


def _root_filesystem() -> Path:
    """Return a root file system with the packages; built once a day, as other labs' are."""
    return cached("ceph", f"ceph-{_SUITE}", _build)


def _build(target: Path) -> None:
    done = subprocess.run(
        (
            *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root"),
            f"--include={_PACKAGES}",
            '--aptopt=Apt::Install-Recommends "false"',
            '--aptopt=Acquire::Check-Valid-Until "false"',
            '--aptopt=Acquire::Languages "none"',
            '--aptopt=Acquire::Retries "5"',
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            *(_SUITE, str(target), "-"),
        ),
        input="\n".join(sources_of(_SUITE)) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"mmdebstrap for radosgw failed:\n{done.stderr[-4000:]}")


def _certificate(directory: Path) -> Path:
    """Write a key with its own certificate for 127.0.0.1; return the certificate's path."""
    key, certificate = directory / "key.pem", directory / "ca.pem"
    subprocess.run(
        (
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"),
            *("-subj", "/CN=strongroom lab", "-addext", "subjectAltName=IP:127.0.0.1"),
        ),
        check=True,
        capture_output=True,
        timeout=60,
    )
    (directory / "both.pem").write_text(certificate.read_text() + key.read_text())
    return certificate


def _wait(port: int, logs: Path) -> None:
    try:
        wait_for(port + 1, _STARTING_SECONDS)
    except OSError as error:
        told = "\n".join(f"{path.name}: {path.read_text()[-500:]}" for path in logs.glob("*.out"))
        raise RuntimeError(f"radosgw did not start:\n{told}") from error


@contextlib.contextmanager
def _free_ports() -> Iterator[int]:
    """Yield the first of so many ports in a row, which are no other gateway's meanwhile.

    They are below those that the kernel gives out, and nobody listened on them just now.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        number = secrets.randbelow(12_000 // _PORTS)
        first = 20_000 + number * _PORTS
        with (cache_directory() / f"ports-{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.ExitStack() as stack:
                    for port in range(first, first + _PORTS):
                        probe = stack.enter_context(socket.socket())
                        probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            yield first
            return
    raise RuntimeError("no free ports in a row")
