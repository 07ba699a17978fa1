"""Time from an authority, RFC 3161: a query over bytes, and the reply that says when they existed.

The query has no nonce: it is a function of the bytes, so nothing need be remembered while someone
carries it to the authority. An old reply over the same bytes is as good as a new one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from backup.errors import IntegrityError, SettingsError

Certificate: TypeAlias = x509.Certificate

_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_CERTIFICATES = 0xA0
_HINT = "ask the authority again: `strongroom log timestamp request -o query.tsq`"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampReply:
    """A granted reply, of which nothing is verified: the SHA-256 that it is over."""

    imprint: bytes
    response: TimeStampResponse


def timestamp_query(data: bytes) -> bytes:
    """Return the query (`.tsq`, DER) for the SHA-256 of `data`, asking for the certificate too."""
    builder = TimestampRequestBuilder(nonce=False, cert_req=True)
    return builder.data(data).hash_algorithm(HashAlgorithm.SHA256).build().as_bytes()


def parse_reply(data: bytes) -> TimestampReply:
    """Return a reply (`.tsr`, DER). Raises `IntegrityError` unless it is over a SHA-256."""
    try:
        response = decode_timestamp_response(_in_order(data))
        if response.status != PKIStatus.GRANTED:
            said = "".join(f" ({text})" for text in response.status_string)
            raise IntegrityError(f"the authority gave no time{said}", hint=_HINT)
        imprint = response.tst_info.message_imprint
    except (ValueError, IndexError) as error:
        raise IntegrityError("this is no reply of a time-stamp authority", hint=_HINT) from error
    if imprint.hash_algorithm != _SHA256:
        raise IntegrityError("the reply is not over a SHA-256", hint=_HINT)
    return TimestampReply(imprint=imprint.message, response=response)


def time_of(reply: TimestampReply) -> datetime:
    """Return the time that a reply tells, whoever made it."""
    return reply.response.tst_info.gen_time.astimezone(UTC)


def verify_reply(
    reply: TimestampReply, data: bytes, authorities: Sequence[x509.Certificate]
) -> datetime:
    """Return when `data` existed, if one of `authorities` stands behind the one that says so.

    Certificates count as of that time. Raises `IntegrityError`.
    """
    verifier = VerifierBuilder(roots=list(authorities)).build()
    try:
        with warnings.catch_warnings():
            # A certificate that the library will refuse one day is refused today.
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            verifier.verify_message(reply.response, data)
    except (
        VerificationError,
        ValueError,
        x509.InvalidVersion,
        CryptographyDeprecationWarning,
    ) as error:
        raise IntegrityError(
            f"the timestamp does not hold: {error}",
            hint="is --certificate that of the authority's root?",
        ) from error
    return time_of(reply)


def parse_authorities(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates in a PEM file. Raises `SettingsError` if there is none."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise SettingsError(
            "the file holds no certificate in PEM", hint="the authority publishes its root as PEM"
        ) from error


@dataclass(frozen=True, slots=True)
class _Element:
    """Where an element of DER lies: its tag, its beginning, its content and its end."""

    tag: int
    start: int
    content: int
    end: int


def _in_order(data: bytes) -> bytes:
    """Return a reply whose certificates are sorted, as DER wants a SET to be.

    `openssl ts` and authorities built on it leave them as they come, which our library refuses.
    They are outside of what is signed.
    """
    (response,) = _elements(data, 0, len(data))
    token = _elements(data, response.content, response.end)[1:]
    if not token:  # a refusal has none
        return data
    wrapped = _elements(data, token[0].content, token[0].end)[1]
    (signed,) = _elements(data, wrapped.content, wrapped.end)
    for part in _elements(data, signed.content, signed.end):
        if part.tag == _CERTIFICATES:
            certificates = _elements(data, part.content, part.end)
            ordered = b"".join(sorted(data[one.start : one.end] for one in certificates))
            return data[: part.content] + ordered + data[part.end :]
    return data


def _elements(data: bytes, start: int, end: int) -> list[_Element]:
    """Return the elements between two places. Raises `ValueError` or `IndexError`."""
    return list(_each_element(data, start, end))


def _each_element(data: bytes, start: int, end: int) -> Iterator[_Element]:
    while start < end:
        length, content = data[start + 1], start + 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[content : content + count])
            content += count
        if content + length > end:
            raise ValueError("an element reaches beyond what it is in")
        yield _Element(data[start], start, content, content + length)
        start = content + length
