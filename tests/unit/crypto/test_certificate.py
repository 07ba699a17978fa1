"""Until when certificates are good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from backup.crypto.certificate import expiries
from backup.errors import SettingsError

BEGIN = datetime(2026, 1, 14, tzinfo=UTC)


def certificate(name: str, end: datetime) -> bytes:
    """A self-signed certificate, as PEM."""
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        issuer_name=subject, subject_name=subject, public_key=key.public_key(), serial_number=7
    )
    made = builder.not_valid_before(BEGIN).not_valid_after(end).sign(key, None)
    return made.public_bytes(serialization.Encoding.PEM)


def test_each_certificate_of_a_file_has_its_end() -> None:
    """A chain is as good as the first of them that ends."""
    ends = [BEGIN + timedelta(days=days) for days in (30, 90)]
    chain = certificate("db1", ends[0]) + certificate("ca", ends[1])
    assert list(expiries(chain)) == [("CN=db1", ends[0]), ("CN=ca", ends[1])]


@pytest.mark.parametrize("data", [b"", b"nonsense", certificate("db1", BEGIN)[:-40]])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    """It is the settings that name a wrong file."""
    with pytest.raises(SettingsError, match="no PEM file"):
        list(expiries(data))
