"""SSHSIG signatures with Ed25519, as `ssh-keygen -Y` makes and checks them (PROTOCOL.sshsig)."""

from __future__ import annotations

import binascii
import hashlib
import struct
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature

from backup.crypto.allowed_signers import AllowedSigner, AllowedSigners
from backup.crypto.canonical import decode_padded
from backup.crypto.sshkey import KEY_TYPE, PublicKey, SigningKey, pack_string, take_string
from backup.errors import IntegrityError, SettingsError

__all__ = [
    "AllowedSigner",
    "AllowedSigners",
    "PublicKey",
    "Signer",
    "SigningKey",
    "sign",
    "verify",
]

_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_VERSION = 1
_COLUMNS = 70
_HASH = "sha512"
_HASHES = frozenset({"sha256", "sha512"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Whose signature it is; `principal` is None when nothing said whose key may sign."""

    principal: str | None
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    public_key: PublicKey
    namespace: bytes
    hash_name: str
    signature: bytes


def sign(message: bytes, key: SigningKey, namespace: str) -> str:
    """The armored signature of `message` for one purpose; the same input gives the same text."""
    if not namespace:
        raise SettingsError("signature namespace is empty")
    signature = key.sign(_signed_data(message, namespace.encode(), _HASH))
    blob = b"".join(
        (
            _MAGIC,
            struct.pack(">I", _VERSION),
            pack_string(key.public_key.blob),
            pack_string(namespace.encode()),
            pack_string(b""),
            pack_string(_HASH.encode()),
            pack_string(pack_string(KEY_TYPE) + pack_string(signature)),
        )
    )
    return _armor(blob)


def is_as_written(signature: str) -> bool:
    """Whether a signature that `verify` took is, byte for byte, in the form that `sign` writes.

    ssh-keygen passes over line ends and their absence; where each byte counts, ask this too.
    """
    return _armor(_dearmor(signature)) == signature


def verify(
    message: bytes,
    signature: str,
    namespace: str,
    allowed: AllowedSigners | None,
    *,
    now: datetime | None = None,
) -> Signer:
    """Who signed exactly these bytes for this namespace.

    Without `allowed` the signature is checked, but anyone's key may have made it. `now` is needed
    only where a line of `allowed` limits the time. Raises `IntegrityError`.
    """
    parsed = _parse(signature)
    if parsed.namespace != namespace.encode():
        raise IntegrityError(f"signature is not for the namespace {namespace}")
    data = _signed_data(message, parsed.namespace, parsed.hash_name)
    try:
        parsed.public_key.verify(parsed.signature, data)
    except InvalidSignature as error:
        raise IntegrityError("signature does not fit the bytes it came with") from error
    if allowed is None:
        return Signer(principal=None, public_key=parsed.public_key)
    principal = allowed.principal_of(parsed.public_key, namespace=namespace, now=now)
    if principal is None:
        raise IntegrityError(
            f"signature was made by {parsed.public_key.fingerprint}, which is not among the allowed"
            f" signers for {namespace}",
            hint="ssh-keygen -Y find-principals -f allowed_signers -s FILE.sig",
        )
    return Signer(principal=principal, public_key=parsed.public_key)


def _signed_data(message: bytes, namespace: bytes, hash_name: str) -> bytes:
    digest = hashlib.new(hash_name, message).digest()
    fields = (namespace, b"", hash_name.encode(), digest)
    return _MAGIC + b"".join(map(pack_string, fields))


def _parse(text: str) -> _Signature:
    try:
        return _parse_blob(_dearmor(text))
    except ValueError as error:
        raise IntegrityError(f"signature is malformed: {error}") from error


def _armor(blob: bytes) -> str:
    text = binascii.b2a_base64(blob, newline=False).decode()
    lines = (text[start : start + _COLUMNS] for start in range(0, len(text), _COLUMNS))
    return "\n".join((_BEGIN, *lines, _END)) + "\n"


def _dearmor(text: str) -> bytes:
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError("it is not between the BEGIN and END lines")
    return decode_padded("".join(lines[1:-1]).encode())


def _parse_blob(blob: bytes) -> _Signature:
    if not blob.startswith(_MAGIC + struct.pack(">I", _VERSION)):
        raise ValueError("it is not an SSH signature of version 1")
    key_blob, rest = take_string(blob[len(_MAGIC) + 4 :])
    namespace, rest = take_string(rest)
    reserved, rest = take_string(rest)
    hash_name, rest = take_string(rest)
    signature, rest = take_string(rest)
    key_type, signature = take_string(signature)
    raw_signature, rest_of_signature = take_string(signature)
    if rest or rest_of_signature:
        raise ValueError("something follows it")
    if reserved:
        raise ValueError("its reserved field is not empty")
    if key_type != KEY_TYPE:
        raise ValueError("it is not of type ssh-ed25519")
    if hash_name.decode("ascii", "replace") not in _HASHES:
        raise ValueError("its hash is neither sha512 nor sha256")
    return _Signature(
        public_key=PublicKey.from_blob(key_blob),
        namespace=namespace,
        hash_name=hash_name.decode("ascii"),
        signature=raw_signature,
    )
