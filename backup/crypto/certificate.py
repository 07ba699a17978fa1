"""Until when X.509 certificates are good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from backup.errors import SettingsError


def expiries(pem: bytes) -> Iterator[tuple[str, datetime]]:
    """Yield the subject and the end of each certificate of a PEM file. Raises `SettingsError`."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise SettingsError("it is no PEM file of certificates") from error
    for certificate in certificates:
        yield certificate.subject.rfc4514_string(), certificate.not_valid_after_utc
