"""Certificates for PostgreSQL: two small authorities, and leaves that are good for one thing each.

Pure: `now`, keys and serial numbers are arguments or made from the operating system's randomness.
One authority vouches for servers, the other for clients, so that neither can stand in for the
other: each has its one extended key usage, which OpenSSL holds the leaves to as well. Keys are on
P-256 and P-384: libpq binds SCRAM to a certificate signed with SHA-256, not to Ed25519.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from backup.errors import SettingsError

Kind: TypeAlias = Literal["server", "client"]
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey

LEAF_LIFETIME: Final = timedelta(days=90)
AUTHORITY_LIFETIME: Final = timedelta(days=3650)
# Clocks of hosts differ; a certificate that is not good yet is an outage.
_BACKDATED: Final = timedelta(minutes=5)
_USAGES: Final[dict[Kind, x509.ObjectIdentifier]] = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate that signs others, and its key."""

    kind: Kind
    certificate: x509.Certificate
    key: PrivateKey = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a leaf vouches for.

    A server's names are DNS names or addresses, the first being its common name. A client's
    common name is the role that it may be; its one name is the host that holds the key.
    """

    kind: Kind
    common_name: str
    names: tuple[str, ...]

    @classmethod
    def server(cls, names: Sequence[str]) -> Subject:
        """A database server that clients reach by these names."""
        return cls(kind="server", common_name=names[0], names=tuple(names))

    @classmethod
    def client(cls, role: str, host: str) -> Subject:
        """A role, on the one host that holds its key."""
        return cls(kind="client", common_name=role, names=(host,))


def new_key() -> PrivateKey:
    """Return a key for a leaf."""
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(kind: Kind, site: str, *, now: datetime) -> Authority:
    """Return a new authority for a site, for ten years, that signs leaves of one kind only."""
    key = ec.generate_private_key(ec.SECP384R1())
    # The day tells an authority from the one that follows it.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, site),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{site} {kind} CA {now:%Y-%m-%d %H:%M:%S}"),
        ]
    )
    builder = (
        _builder(name, name, key.public_key(), now=now, lifetime=AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[kind]]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(kind=kind, certificate=builder.sign(key, hashes.SHA384()), key=key)


def make_request(subject: Subject, key: PrivateKey) -> x509.CertificateSigningRequest:
    """Return the request that an authority elsewhere signs: the names, and what it is for."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name(subject))
        .add_extension(x509.SubjectAlternativeName(_alternatives(subject)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[subject.kind]]), critical=False)
        .sign(key, hashes.SHA256())
    )


def issue(
    authority: Authority,
    subject: Subject,
    public_key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
) -> x509.Certificate:
    """Return a leaf, with a random serial number. Raises `SettingsError`.

    It never outlives its authority: a leaf that no one can check is worse than none.
    """
    if authority.kind != subject.kind:
        raise SettingsError(f"the {authority.kind} CA signs no {subject.kind} certificate")
    if now + lifetime > authority.certificate.not_valid_after_utc:
        raise SettingsError(
            f"the {authority.kind} CA ends on"
            f" {authority.certificate.not_valid_after_utc:%Y-%m-%d}, before this certificate would",
            hint="strongroom host pki init --next DIRECTORY makes the authorities that follow",
        )
    issuer = authority.certificate
    builder = (
        _builder(_name(subject), issuer.subject, public_key, now=now, lifetime=lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[subject.kind]]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternatives(subject)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
    )
    return builder.sign(authority.key, hashes.SHA384())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _name(subject: Subject) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)])


def _alternatives(subject: Subject) -> list[x509.GeneralName]:
    return [_general_name(name) for name in subject.names]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def encode_certificate(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def encode_request(request: x509.CertificateSigningRequest) -> bytes:
    """Return a request as PEM."""
    return request.public_bytes(serialization.Encoding.PEM)


def encode_key(key: PrivateKey) -> bytes:
    """Return the secret text of a key: PKCS #8 PEM, which libpq and the server read."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def decode_certificates(data: bytes, what: str) -> tuple[x509.Certificate, ...]:
    """Return every certificate of a PEM file, in order. Raises `SettingsError`."""
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError as error:
        raise SettingsError(f"{what} holds no PEM certificates: {error}") from error


def decode_key(data: bytes, what: str) -> PrivateKey:
    """Return the key of a PEM file without passphrase. Raises `SettingsError`."""
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        # The cause is left out: it must not carry what the file says.
        raise SettingsError(f"{what} is not a private key in PEM without passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{what} is not a key on an elliptic curve")
    return key
