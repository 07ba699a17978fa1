"""Leaves are good for exactly what they were made for, and what is wrong with one is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from backup.errors import SettingsError
from deploy.core.certificates import describe, is_due, problems
from deploy.core.pki import (
    AUTHORITY_LIFETIME,
    LEAF_LIFETIME,
    Authority,
    Subject,
    decode_certificates,
    decode_key,
    encode_certificate,
    encode_key,
    issue,
    make_authority,
    make_request,
    new_key,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = new_key()
SERVERS = make_authority("server", "lab", now=NOW)
CLIENTS = make_authority("client", "lab", now=NOW)
DB1 = Subject.server(["db1.example.org", "db1", "192.0.2.11"])
BACKUP = Subject.client("strongroom_backup", "backup1.example.org")


def found_in(
    certificate: x509.Certificate,
    *,
    subject: Subject = DB1,
    authority: Authority = SERVERS,
    now: datetime = NOW,
) -> tuple[str, ...]:
    """What is wrong with a certificate whose key is KEY."""
    return problems(
        certificate,
        subject=subject,
        authorities=[authority.certificate],
        public_key=KEY.public_key(),
        now=now,
    )


def db1(**changes: object) -> x509.Certificate:
    """A server certificate, good but for what is changed."""
    subject = replace(DB1, **changes)  # type: ignore[arg-type]
    return issue(SERVERS, subject, KEY.public_key(), now=NOW)


def test_a_leaf_is_good_for_what_it_was_made_for() -> None:
    """Names, usage, authority, key and time are as declared; it lives for 90 days."""
    server = issue(SERVERS, DB1, KEY.public_key(), now=NOW)
    client = issue(CLIENTS, BACKUP, KEY.public_key(), now=NOW)
    assert found_in(server) == ()
    assert found_in(client, subject=BACKUP, authority=CLIENTS) == ()
    said = describe(server)
    assert (said.common_name, said.names) == ("db1.example.org", DB1.names)
    assert said.usages == ("server",)
    assert said.not_after == NOW + LEAF_LIFETIME
    assert describe(client).common_name == "strongroom_backup"


def test_serial_numbers_are_random() -> None:
    """Two leaves of one subject differ, and a serial number has 64 random bits at least."""
    serials = {db1().serial_number for _ in range(8)}
    assert len(serials) == 8
    assert min(serials).bit_length() > 64


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (db1(names=("db1.example.org", "db1")), "does not vouch for 192.0.2.11"),
        (db1(names=(*DB1.names, "db9")), "vouches for db9, which nobody declared"),
        (db1(common_name="db2"), "common name is db2"),
        (
            issue(
                make_authority("server", "lab", now=NOW + timedelta(seconds=1)),
                DB1,
                KEY.public_key(),
                now=NOW,
            ),
            "no server CA that is trusted here signed it",
        ),
        (issue(SERVERS, DB1, new_key().public_key(), now=NOW), "key beside it is not its own"),
        (
            issue(SERVERS, DB1, KEY.public_key(), now=NOW + timedelta(days=1)),
            "not valid before 2026-03-02 11:55 UTC",
        ),
        (
            issue(SERVERS, DB1, KEY.public_key(), now=NOW, lifetime=timedelta(days=500)),
            "valid for more than 398 days",
        ),
    ],
)
def test_each_fault_is_named(certificate: x509.Certificate, expected: str) -> None:
    """One sentence for one fault, and no other."""
    (sentence,) = found_in(certificate)
    assert expected in sentence


def test_a_leaf_that_is_over_says_since_when() -> None:
    """And it was due long before."""
    certificate = db1()
    after = NOW + LEAF_LIFETIME
    assert found_in(certificate, now=after) == ("it ended on 2026-05-30 12:00 UTC",)
    assert not is_due(certificate, NOW + timedelta(days=59))
    assert is_due(certificate, NOW + timedelta(days=61))


def test_a_client_certificate_is_no_server_certificate() -> None:
    """Whoever steals a client's key cannot be the server, and the other way round."""
    with pytest.raises(SettingsError, match="the client CA signs no server certificate"):
        issue(CLIENTS, DB1, KEY.public_key(), now=NOW)
    client = issue(CLIENTS, BACKUP, KEY.public_key(), now=NOW)
    said = " ".join(found_in(client))
    assert "no server CA" in said
    assert "good for client, not for a server alone" in said


def test_a_certificate_without_usage_or_that_signs_others_is_refused() -> None:
    """What a careless CA would send back: good for everything."""
    careless = (
        x509.CertificateBuilder()
        .subject_name(make_request(DB1, KEY).subject)
        .issuer_name(SERVERS.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(SERVERS.key, hashes.SHA256())
    )
    said = found_in(careless)
    assert any("may sign other certificates" in one for one in said)
    assert any("good for nothing in particular" in one for one in said)
    assert any("does not vouch for db1.example.org" in one for one in said)


def test_no_leaf_outlives_its_authority() -> None:
    """Half a lifetime before the end of the CA there is an error with a way out, not an outage."""
    late = NOW + AUTHORITY_LIFETIME - timedelta(days=30)
    with pytest.raises(SettingsError, match="the server CA ends on 2036-02-27"):
        issue(SERVERS, DB1, KEY.public_key(), now=late)


def test_a_request_asks_for_the_declared_names_and_usage() -> None:
    """So that a firm's CA can copy them."""
    request = make_request(DB1, KEY)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(str(name.value) for name in names) == DB1.names
    assert request.is_signature_valid


def test_files_round_trip_and_bad_ones_are_refused() -> None:
    """A message about a key file shows nothing of it."""
    certificate = db1()
    assert decode_certificates(encode_certificate(certificate), "it") == (certificate,)
    assert decode_key(encode_key(KEY), "it").private_numbers() == KEY.private_numbers()
    with pytest.raises(SettingsError, match=r"^x\.crt holds no PEM certificates"):
        decode_certificates(b"nothing", "x.crt")
    with pytest.raises(SettingsError) as refused:
        decode_key(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "x.key")
    assert "c2VjcmV0" not in str(refused.value)
    assert refused.value.__cause__ is None
