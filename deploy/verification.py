"""`host verify`, from an inventory to checks: gather on each host, judge, report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from backup.errors import StrongroomError
from backup.repository.canonical import encode
from deploy import pki
from deploy.core.certificates import describe, problems
from deploy.core.checks import Check, Target, judge
from deploy.core.checks_host import probes_of
from deploy.core.hostreport import HostReport, verdict
from deploy.core.layout import server_pair
from deploy.core.model import DatabaseServer, Estate, Host
from deploy.core.parse import InventoryHost
from deploy.core.pki import Subject, decode_certificates
from deploy.gather import gather
from deploy.remote import remote_named


def verify(
    estate: Estate,
    inventory: tuple[InventoryHost, ...],
    hosts: Sequence[Host],
    *,
    now: datetime,
) -> tuple[Check, ...]:
    """Return every check of these hosts; they are asked all at once. Changes nothing anywhere."""

    def of_host(host: Host) -> tuple[Check, ...]:
        target = target_of(estate, host, now=now)
        probes = probes_of(target)
        return judge(target, probes, gather(remote_named(inventory, host.name), target, probes))

    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        return tuple(check for checks in pool.map(of_host, hosts) for check in checks)


def target_of(estate: Estate, host: Host, *, now: datetime) -> Target:
    """Return a host with all that the operator's machine knows of it."""
    server = estate.postgresql_host(host.name)
    authorities = _authorities(estate)
    return Target(
        estate=estate,
        host=host,
        now=now,
        server=server,
        replica=estate.replica(host.name),
        backup_host=estate.backup_host(host.name),
        served_serial=None if server is None else _newest_serial(estate, host),
        certificate_problems=(
            None if server is None or not authorities else _judge_of(server, authorities, now)
        ),
        ca_keys=frozenset(map(_public_sha256, authorities)),
    )


def report(
    estate: Estate,
    inventory: Path,
    checks: tuple[Check, ...],
    *,
    started: datetime,
    finished: datetime,
    version: str,
    operator: str,
) -> bytes:
    """Return the record of a verification, as it is signed."""
    failed = sum(not check.passed for check in checks)
    return encode(
        HostReport(
            generated_by=version,
            generated_on=operator,
            site=estate.site.name,
            hosts=tuple(dict.fromkeys(check.host for check in checks)),
            inventory_sha256=hashlib.sha256(inventory.read_bytes()).hexdigest(),
            started=started,
            finished=finished,
            verdict=verdict(checks),
            passed=len(checks) - failed,
            failed=failed,
            checks=checks,
        )
    )


def _authorities(estate: Estate) -> tuple[x509.Certificate, ...]:
    directory = estate.site.pki_directory
    found: list[x509.Certificate] = []
    for kind in pki.KINDS:
        try:
            found += pki.trusted_authorities(directory, kind)
        except StrongroomError:
            return ()  # the checks that need them fail, and say so
    return tuple(found)


def _judge_of(
    server: DatabaseServer, authorities: Sequence[x509.Certificate], now: datetime
) -> Callable[[str], tuple[str, ...]]:
    subject = Subject.server(server.host.certificate_names())

    def judged(pem: str) -> tuple[str, ...]:
        try:
            certificate = decode_certificates(pem.encode(), "what the server showed")[0]
        except StrongroomError:
            return ("it showed no certificate",)
        found = problems(
            certificate, subject=subject, authorities=authorities, public_key=None, now=now
        )
        left = (describe(certificate).not_after - now).days
        return (*found, f"it ends in {left} days") if 0 <= left < _FEW_DAYS else found

    return judged


_FEW_DAYS = 14


def _newest_serial(estate: Estate, host: Host) -> str | None:
    path = server_pair(estate.site.pki_directory, host.name).certificate
    try:
        return describe(decode_certificates(path.read_bytes(), str(path))[0]).serial
    except (OSError, StrongroomError):
        return None


def _public_sha256(certificate: x509.Certificate) -> str:
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()
