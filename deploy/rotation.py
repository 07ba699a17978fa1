"""Bringing new certificates and passwords to hosts: one host at a time, nothing else is touched.

A server reloads; sessions that are open stay open. A certificate counts as rotated only when the
server shows its serial number to a client: a reload that kept the old one also ends with 0.
"""

from __future__ import annotations

import base64
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from backup.errors import SettingsError, StrongroomError
from backup.files import move_over
from deploy.core.certificates import describe
from deploy.core.layout import (
    CLIENT_CA,
    SERVER_CA,
    KeyPair,
    client_pair,
    host_certificates,
    password_file,
    replica_certificates,
    server_pair,
)
from deploy.core.model import REPLICATION_ROLE, BackupHost, DatabaseServer, Estate, Replica
from deploy.core.pki import decode_certificates, decode_key
from deploy.core.scram import ITERATIONS, SALT_BYTES, Salted, verifier
from deploy.core.sql import QUIETLY, ident, literal
from deploy.ownfiles import write_whole
from deploy.remote import Remote
from deploy.secretfiles import SecretFile

# Where backup hosts keep the certificates of roles.
CLIENT_KEYS: Final = "/etc/strongroom/tls"
PASSWORD_BYTES: Final = 24
# `@…@` is filled in; certificates and keys are base64, so nothing of them is read by the shell.
_REPLACE: Final = r"""
set -eu
umask 077
cd /
new=$(mktemp -d @place@/.new.XXXXXX)
trap 'rm -rf "$new"' EXIT
echo @certificate@ | base64 -d >"$new/crt"
base64 -d >"$new/key" <<'KEY'
@key@
KEY
echo @authority@ | base64 -d >"$new/ca"
of_crt=$(openssl x509 -in "$new/crt" -noout -pubkey | sha256sum)
of_key=$(openssl pkey -in "$new/key" -pubout | sha256sum)
[ "$of_crt" = "$of_key" ] || { echo 'key and certificate do not fit' >&2; exit 1; }
chown @owner@ "$new"/*
chmod 644 "$new/crt" "$new/ca"
cp -p @crt@ "$new/old.crt"
cp -p @keyfile@ "$new/old.key"
mv "$new/ca" @ca@
mv "$new/key" @keyfile@
mv "$new/crt" @crt@
"""
_SHOWN: Final = r"""
reload() { runuser -u postgres -- psql -XAtqp @port@ -c 'SELECT pg_reload_conf()' >/dev/null; }
shown() {
  openssl s_client -starttls postgres -connect @address@:@port@ </dev/null 2>/dev/null |
    openssl x509 -noout -serial
}
reload
for i in $(seq 50); do
  [ "$(shown)" = serial=@serial@ ] && exit 0
  sleep 0.2
done
mv "$new/old.key" @keyfile@
mv "$new/old.crt" @crt@
reload
echo 'the server did not take the certificate; the old one is back' >&2
exit 1
"""
_NEW_VERIFIER: Final = """
cd /
exec runuser -u postgres -- psql -XAtqp @port@ -v ON_ERROR_STOP=1 -d postgres <<'SQL'
@quietly@;
ALTER ROLE @role@ PASSWORD @verifier@;
SQL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """What a host has now."""

    host: str
    what: str
    serial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A certificate that a host is to have: what it is for people, and how it is brought there."""

    host: str
    what: str
    bring: Callable[[Remote], Rotated]


def certificate_steps(estate: Estate) -> tuple[Step, ...]:
    """Return every certificate of a site, in the order in which they go: clients' first."""
    found = [
        Step(
            host=one.host.name,
            what=f"the certificate of {role}",
            bring=partial(rotate_client, estate, one, role),
        )
        for one in estate.backup_hosts
        for role in dict.fromkeys(s.backup.role for s in estate.servers if s.backup is not None)
    ]
    found += [
        Step(
            host=one.host.name,
            what=f"the certificate of {REPLICATION_ROLE.name}",
            bring=partial(rotate_replica, estate, one),
        )
        for one in estate.replicas
    ]
    found += [
        Step(host=one.host.name, what="its certificate", bring=partial(rotate_server, estate, one))
        for one in estate.postgresql_hosts()
    ]
    return tuple(found)


def rotate_server(estate: Estate, server: DatabaseServer, remote: Remote) -> Rotated:
    """Have a server show the newest certificate of its host; the old one is back on any failure.

    Raises `StrongroomError`; sessions go on in any case.
    """
    pair = server_pair(estate.site.pki_directory, server.host.name)
    places = host_certificates(server.configuration_directory)
    serial = _serial(pair)
    script = _filled(
        _REPLACE + _SHOWN,
        place=shlex.quote(places["ssl_key_file"].rpartition("/")[0]),
        crt=shlex.quote(places["ssl_cert_file"]),
        keyfile=shlex.quote(places["ssl_key_file"]),
        ca=shlex.quote(places["ssl_ca_file"]),
        owner="postgres:postgres",
        port=server.port,
        address=server.host.address,
        serial=serial,
        **_contents(pair, estate.site.pki_directory / CLIENT_CA),
    )
    remote.run(script)
    return Rotated(host=server.host.name, what="server certificate", serial=serial)


def rotate_client(estate: Estate, backup_host: BackupHost, role: str, remote: Remote) -> Rotated:
    """Put a role's newest client certificate on a backup host; its next session uses it."""
    pair = client_pair(estate.site.pki_directory, role, backup_host.host.name)
    script = _filled(
        _REPLACE,
        place=CLIENT_KEYS,
        crt=shlex.quote(f"{CLIENT_KEYS}/{role}.crt"),
        keyfile=shlex.quote(f"{CLIENT_KEYS}/{role}.key"),
        ca=f"{CLIENT_KEYS}/server-ca.crt",
        owner=f"{backup_host.user}:{backup_host.user}",
        **_contents(pair, estate.site.pki_directory / SERVER_CA),
    )
    remote.run(script)
    return Rotated(
        host=backup_host.host.name, what=f"client certificate of {role}", serial=_serial(pair)
    )


def rotate_replica(estate: Estate, replica: Replica, remote: Remote) -> Rotated:
    """Put a replica's newest client certificate on it; its next session uses it."""
    role = REPLICATION_ROLE.name
    pair = client_pair(estate.site.pki_directory, role, replica.host.name)
    places = replica_certificates(replica.server.configuration_directory)
    script = _filled(
        _REPLACE,
        place=shlex.quote(places["sslkey"].rpartition("/")[0]),
        crt=shlex.quote(places["sslcert"]),
        keyfile=shlex.quote(places["sslkey"]),
        ca=shlex.quote(places["sslrootcert"]),
        owner="postgres:postgres",
        **_contents(pair, estate.site.pki_directory / SERVER_CA),
    )
    remote.run(script)
    return Rotated(
        host=replica.host.name, what=f"client certificate of {role}", serial=_serial(pair)
    )


def rotate_password(
    estate: Estate,
    server: DatabaseServer,
    role: str,
    remote: Remote,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Rotated:
    """Give a role a new password; sessions go on. Only its verifier leaves this machine.

    The new password is noted beside the old one first (`ROLE.next`) and takes its place when the
    server has it: broken off in between, the next run goes on with the same one.
    """
    path = password_file(estate.site.secrets_directory, role)
    if not path.exists():
        raise SettingsError(f"role {role} has no password file ({path})")
    pending = path.with_name(f"{path.name}.next")
    if not pending.exists():
        text = base64.urlsafe_b64encode(random(PASSWORD_BYTES)).decode()
        write_whole(pending, f"{text}\n".encode("ascii"), mode=0o600)
    password = SecretFile(path=pending)()
    made = verifier(password, Salted(iterations=ITERATIONS, salt=random(SALT_BYTES)))
    script = _filled(
        _NEW_VERIFIER,
        port=server.port,
        quietly=";\n".join(QUIETLY),
        role=ident(role),
        verifier=literal(made.get_secret_value()),
    )
    try:
        remote.run(script)
    except StrongroomError as error:
        raise StrongroomError(
            f"the password of {role} was not changed: {remote.name} did not take it",
            hint="run it again: it goes on with the same new password",
        ) from error
    try:
        move_over(pending, path)
    except OSError as error:
        raise SettingsError(
            f"{remote.name} has a new password for {role}, and writing it to {path} failed:"
            f" {error.strerror}",
            hint="run it again: it goes on with the same new password",
        ) from error
    return Rotated(host=server.host.name, what=f"password of {role}")


def _contents(pair: KeyPair, authority: Path) -> dict[str, str]:
    certificate = pair.certificate.read_bytes()
    key = SecretFile(path=pair.key).read()
    fits = decode_certificates(certificate, str(pair.certificate))[0].public_key()
    if decode_key(key, str(pair.key)).public_key() != fits:
        raise SettingsError(
            f"{pair.key} is not the key of {pair.certificate}",
            hint="strongroom host pki issue makes a new pair",
        )
    return {
        "certificate": base64.b64encode(certificate).decode(),
        "key": base64.b64encode(key).decode(),
        "authority": base64.b64encode(authority.read_bytes()).decode(),
    }


def _serial(pair: KeyPair) -> str:
    data = pair.certificate.read_bytes()
    return describe(decode_certificates(data, str(pair.certificate))[0]).serial


def _filled(script: str, **values: object) -> str:
    for name, value in values.items():
        script = script.replace(f"@{name}@", str(value))
    return script
