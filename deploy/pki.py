"""The certificates of a site as files on the operator's machine (deploy/core/layout.py).

    ca/server-ca.key.age ca/client-ca.key.age   the authorities' keys, sealed with age
    issued/<serial>.crt                         every leaf that was ever issued, for the record

Whoever has a firm's own CA sign has no `ca/`: requests go out, certificates come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509

from backup.crypto.age import seal, unseal
from backup.crypto.recipients import Identity, Recipient
from backup.errors import KeyUnavailableError, SettingsError
from deploy.core.certificates import Described, describe, is_due, problems, serial_of
from deploy.core.layout import CLIENT_CA, SERVER_CA, KeyPair, client_pair, server_pair
from deploy.core.model import REPLICATION_ROLE, Estate
from deploy.core.pki import (
    Authority,
    Kind,
    Subject,
    decode_certificates,
    decode_key,
    encode_certificate,
    encode_key,
    encode_request,
    issue,
    make_authority,
    make_request,
    new_key,
)
from deploy.ownfiles import write_whole

KINDS: Final[tuple[Kind, ...]] = ("server", "client")
_TRUSTED: Final[dict[Kind, str]] = {"server": SERVER_CA, "client": CLIENT_CA}
Authorities: TypeAlias = dict[Kind, Authority]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A leaf that the hosts need: whom it vouches for, and where it lies."""

    subject: Subject
    files: KeyPair

    @property
    def label(self) -> str:
        """How people call it: `server db1`, `client strongroom_backup@backup1`."""
        if self.subject.kind == "server":
            return f"server {self.subject.common_name}"
        return f"client {self.subject.common_name}@{self.subject.names[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A leaf as it lies there. `certificate` is None if there is none that can be read."""

    label: str
    path: Path
    certificate: Described | None
    problems: tuple[str, ...]
    is_due: bool


def wanted(estate: Estate, further: Sequence[tuple[str, str]] = ()) -> tuple[Wanted, ...]:
    """Return the leaves that an estate needs: servers', backup roles', and replicas' as clients.

    `further` are roles and the hosts that hold their keys, for applications with certificates.
    """
    directory = estate.site.pki_directory
    found = [
        Wanted(
            subject=Subject.server(server.host.certificate_names()),
            files=server_pair(directory, server.host.name),
        )
        for server in estate.postgresql_hosts()
    ]
    clients = [
        (server.backup.role, backup_host.host.name)
        for backup_host in estate.backup_hosts
        for server in estate.servers
        if server.backup is not None
    ]
    clients += [(REPLICATION_ROLE.name, replica.host.name) for replica in estate.replicas]
    found += [
        Wanted(subject=Subject.client(role, host), files=client_pair(directory, role, host))
        for role, host in dict.fromkeys((*clients, *further))
    ]
    return tuple(found)


def initialize(
    directory: Path, site: str, recipients: Sequence[Recipient], *, now: datetime, is_next: bool
) -> Authorities:
    """Make both authorities; their keys are sealed to the recipients. Raises `SettingsError`.

    With `is_next` those that follow the ones in use: the files of what is trusted hold the old
    ones and the new ones until `retire`.
    """
    has_one = (directory / _TRUSTED[KINDS[-1]]).exists()  # written last: one that broke off is none
    if has_one and not is_next:
        raise SettingsError(
            f"{directory} holds authorities already and they were left as they are",
            hint="strongroom host pki init --next makes those that follow",
        )
    if is_next and not has_one:
        raise SettingsError(f"{directory} holds no authorities that others could follow")
    made: Authorities = {kind: make_authority(kind, site, now=now) for kind in KINDS}
    for kind, authority in made.items():
        sealed = seal(encode_key(authority.key), recipients)
        write_whole(directory / "ca" / f"{kind}-ca.key.age", bytes(sealed), mode=0o600)
    for kind, authority in made.items():
        trusted = trusted_authorities(directory, kind) if has_one else ()
        _write_trusted(directory, kind, (*trusted, authority.certificate))
    return made


def adopt(directory: Path, certificates: dict[Kind, bytes]) -> None:
    """Trust a firm's own authorities: no key of theirs is ever here. Raises `SettingsError`."""
    for kind, data in certificates.items():
        _write_trusted(directory, kind, decode_certificates(data, f"the {kind} CA"))


def retire(directory: Path) -> dict[Kind, tuple[str, ...]]:
    """Trust the newest authorities only; return the common names of those that are let go."""
    gone: dict[Kind, tuple[str, ...]] = {}
    for kind in KINDS:
        *old, newest = trusted_authorities(directory, kind)
        _write_trusted(directory, kind, (newest,))
        gone[kind] = tuple(describe(certificate).common_name for certificate in old)
    return gone


def trusted_authorities(directory: Path, kind: Kind) -> tuple[x509.Certificate, ...]:
    """Return the authorities that are trusted for one kind, the oldest first."""
    path = directory / _TRUSTED[kind]
    return decode_certificates(_read(path, "strongroom host pki init makes it"), str(path))


def open_authorities(directory: Path, identities: Sequence[Identity]) -> Authorities:
    """Return the authorities with their keys. Raises `KeyUnavailableError`."""
    found: Authorities = {}
    for kind in KINDS:
        path = directory / "ca" / f"{kind}-ca.key.age"
        sealed = _read(path, "a firm's own CA signs requests: strongroom host pki issue --csr")
        key = decode_key(bytes(unseal(sealed, identities)), str(path))
        certificate = trusted_authorities(directory, kind)[-1]
        if certificate.public_key() != key.public_key():
            raise KeyUnavailableError(
                f"{path} is not the key of the newest CA in {_TRUSTED[kind]}",
                hint="strongroom host pki init was broken off: run it again with --next",
            )
        found[kind] = Authority(kind=kind, certificate=certificate, key=key)
    return found


def look_at(directory: Path, leaf: Wanted, *, now: datetime) -> Shown:
    """Return what lies where a leaf should, and what is wrong with it."""
    path = leaf.files.certificate
    try:
        certificate = decode_certificates(path.read_bytes(), str(path))[0]
        key = decode_key(leaf.files.key.read_bytes(), str(leaf.files.key))
    except FileNotFoundError as error:
        missing = (f"{error.filename} is missing",)
        return Shown(label=leaf.label, path=path, certificate=None, problems=missing, is_due=True)
    except SettingsError as error:
        wrong = (error.message,)
        return Shown(label=leaf.label, path=path, certificate=None, problems=wrong, is_due=True)
    found = problems(
        certificate,
        subject=leaf.subject,
        authorities=trusted_authorities(directory, leaf.subject.kind),
        public_key=key.public_key(),
        now=now,
    )
    if leaf.files.key.stat().st_mode & 0o077:
        found = (*found, f"{leaf.files.key} can be read by others: chmod 600 {leaf.files.key}")
    return Shown(
        label=leaf.label,
        path=path,
        certificate=describe(certificate),
        problems=found,
        is_due=is_due(certificate, now),
    )


def due(
    directory: Path, leaves: Sequence[Wanted], *, now: datetime, has_all: bool
) -> tuple[Wanted, ...]:
    """Return the leaves to issue: missing, wrong, or with less than a third of their life left.

    One that an older authority signed is due as well: it ends with that authority's trust.
    """
    newest = {kind: trusted_authorities(directory, kind)[-1:] for kind in KINDS}

    def is_needed(leaf: Wanted) -> bool:
        shown = look_at(directory, leaf, now=now)
        if has_all or shown.is_due or shown.problems or shown.certificate is None:
            return True
        return shown.certificate.issuer != describe(newest[leaf.subject.kind][0]).common_name

    return tuple(leaf for leaf in leaves if is_needed(leaf))


def issue_leaf(
    directory: Path, leaf: Wanted, authorities: Authorities, *, now: datetime, lifetime: timedelta
) -> Described:
    """Make a new key and a certificate for it, in the place of what is there; durable on return.

    Killed between the two, key and certificate do not fit, which `pki show` and every deploy say;
    issued again they do.
    """
    key = new_key()
    authority = authorities[leaf.subject.kind]
    certificate = issue(authority, leaf.subject, key.public_key(), now=now, lifetime=lifetime)
    _record(directory, certificate)
    write_whole(leaf.files.key, encode_key(key), mode=0o600)
    write_whole(leaf.files.certificate, encode_certificate(certificate))
    return describe(certificate)


def request_leaf(leaf: Wanted) -> Path:
    """Make a new key and a request for it beside the pair in use; return the request's path."""
    key = new_key()
    write_whole(_pending_key(leaf), encode_key(key), mode=0o600)
    path = leaf.files.certificate.with_suffix(".csr")
    write_whole(path, encode_request(make_request(leaf.subject, key)))
    return path


def find_pending(leaves: Sequence[Wanted], signed: bytes) -> Wanted:
    """Return the leaf whose request a certificate answers, told by its key."""
    certificate = decode_certificates(signed, "what the CA sent back")[0]
    for leaf in leaves:
        pending = _pending_key(leaf)
        if pending.exists():
            key = decode_key(pending.read_bytes(), str(pending))
            if key.public_key() == certificate.public_key():
                return leaf
    raise SettingsError(
        f"no request is waiting for the certificate of {describe(certificate).common_name}",
        hint="strongroom host pki issue --csr writes requests",
    )


def accept_leaf(directory: Path, leaf: Wanted, signed: bytes, *, now: datetime) -> Described:
    """Put a certificate that a firm's CA signed into its place. Raises `SettingsError`.

    `signed` begins with the leaf; intermediate certificates may follow, and are kept.
    """
    certificate, *chain = decode_certificates(signed, "what the CA sent back")
    pending = _pending_key(leaf)
    key = decode_key(_read(pending, "strongroom host pki issue --csr makes it"), str(pending))
    found = problems(
        certificate,
        subject=leaf.subject,
        authorities=(*trusted_authorities(directory, leaf.subject.kind), *chain),
        public_key=key.public_key(),
        now=now,
    )
    if found:
        raise SettingsError(
            f"the certificate for {leaf.label} was not taken: {'; '.join(found)}",
            hint="have the request signed as it is: names and usages are what it says",
        )
    _record(directory, certificate)
    write_whole(leaf.files.key, encode_key(key), mode=0o600)
    write_whole(leaf.files.certificate, signed)
    pending.unlink()
    return describe(certificate)


def _pending_key(leaf: Wanted) -> Path:
    return leaf.files.key.with_suffix(".pending.key")


def _record(directory: Path, certificate: x509.Certificate) -> None:
    path = directory / "issued" / f"{serial_of(certificate)}.crt"
    write_whole(path, encode_certificate(certificate))


def _write_trusted(directory: Path, kind: Kind, certificates: Sequence[x509.Certificate]) -> None:
    write_whole(directory / _TRUSTED[kind], b"".join(map(encode_certificate, certificates)))


def _read(path: Path, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyUnavailableError(f"reading {path}: {error.strerror}", hint=hint) from error
