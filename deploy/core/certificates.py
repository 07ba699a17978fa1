"""What a certificate says, and what is wrong with it: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.core.pki import LEAF_LIFETIME, Subject

# A new one is made when less than this is left: a third of its life.
RENEW_WITHIN: Final = LEAF_LIFETIME / 3
# Authorities in public use are held to 398 days; what lives longer is never rotated.
LONGEST_LEAF: Final = timedelta(days=398)
_USAGE_NAMES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "server",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A certificate, as people and programs read it. `serial` is hexadecimal, as OpenSSL prints."""

    common_name: str
    names: tuple[str, ...]
    usages: tuple[str, ...]
    serial: str
    issuer: str
    not_before: datetime
    not_after: datetime
    sha256: str


def describe(certificate: x509.Certificate) -> Described:
    """Return what a certificate says of itself."""
    return Described(
        common_name=_common_name(certificate.subject),
        names=alternative_names(certificate),
        usages=usages(certificate),
        serial=serial_of(certificate),
        issuer=_common_name(certificate.issuer),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sha256=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
    )


def serial_of(certificate: x509.Certificate) -> str:
    """Return the serial number as `openssl x509 -serial` prints it."""
    text = f"{certificate.serial_number:X}"
    return text.zfill(len(text) + len(text) % 2)


def problems(
    certificate: x509.Certificate,
    *,
    subject: Subject,
    authorities: Sequence[x509.Certificate],
    public_key: CertificatePublicKeyTypes | None,
    now: datetime,
) -> tuple[str, ...]:
    """Return one sentence for each thing that makes a leaf useless or too useful; none if good.

    `public_key` is that of the private key beside it, None if that is not at hand.
    """
    return tuple(_problems(certificate, subject, authorities, public_key, now))


def _problems(
    certificate: x509.Certificate,
    subject: Subject,
    authorities: Sequence[x509.Certificate],
    public_key: CertificatePublicKeyTypes | None,
    now: datetime,
) -> Iterator[str]:
    found = describe(certificate)
    if public_key is not None and _spki(certificate.public_key()) != _spki(public_key):
        yield "the private key beside it is not its own"
    if not any(_is_signed_by(certificate, authority) for authority in authorities):
        yield f"no {subject.kind} CA that is trusted here signed it (issuer: {found.issuer})"
    if found.common_name != subject.common_name:
        yield f"its common name is {found.common_name}, not {subject.common_name}"
    if missing := [name for name in subject.names if name not in found.names]:
        yield f"it does not vouch for {', '.join(missing)}"
    if further := [name for name in found.names if name not in subject.names]:
        yield f"it vouches for {', '.join(further)}, which nobody declared"
    if found.usages != (subject.kind,):
        stated = " and ".join(found.usages) or "nothing in particular"
        yield f"it is good for {stated}, not for a {subject.kind} alone"
    if _is_authority(certificate):
        yield "it may sign other certificates"
    if found.not_before > now:
        yield f"it is not valid before {found.not_before:%Y-%m-%d %H:%M} UTC"
    if found.not_after <= now:
        yield f"it ended on {found.not_after:%Y-%m-%d %H:%M} UTC"
    if found.not_after - found.not_before > LONGEST_LEAF:
        yield f"it is valid for more than {LONGEST_LEAF.days} days"


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it is time for the next one."""
    return certificate.not_valid_after_utc - now < RENEW_WITHIN


def alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names and addresses that a certificate vouches for."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in value)


def usages(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return what a certificate is good for: `server`, `client`, or an object identifier."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(_USAGE_NAMES.get(usage, usage.dotted_string) for usage in value)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
