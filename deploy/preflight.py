"""What is checked on the operator's machine before any host is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from backup.errors import SettingsError
from deploy import pki
from deploy.core import hba, layout
from deploy.core.model import DatabaseServer, Estate
from deploy.secretfiles import SecretFile


def check(estate: Estate, *, now: datetime) -> None:
    """Raise one `SettingsError` that names every secret, key and certificate that is wrong."""
    problems = [*_passwords(estate), *_keys(estate, now), *_credentials(estate), *_content(estate)]
    if problems:
        raise SettingsError(
            "; ".join(problems),
            hint="`strongroom host pki issue INVENTORY` makes keys; docs/provisioning.md says"
            " where passwords lie",
        )


def superusers(server: DatabaseServer) -> frozenset[str]:
    """Return the declared superusers."""
    return frozenset(role.name for role in server.all_roles() if role.is_superuser)


def access_rules(estate: Estate, server: DatabaseServer) -> hba.Rules:
    """Return the effective rules of a server. Raises `SettingsError` if the linter says no."""
    rules = hba.effective_rules(estate, server)
    if problems := hba.lint(rules, superusers(server)):
        raise SettingsError(
            f"access rules of {server.host.name}: {'; '.join(problems)}",
            hint="docs/provisioning.md explains each; nothing was changed",
        )
    return rules


def password_files(estate: Estate, server: DatabaseServer) -> dict[str, SecretFile]:
    """Return where the password of each role is that has one."""
    return {
        role.name: SecretFile(path=layout.password_file(estate.site.secrets_directory, role.name))
        for role in server.all_roles()
        if role.has_password
    }


def _passwords(estate: Estate) -> Iterator[str]:
    for server in estate.servers:
        for file in password_files(estate, server).values():
            if problem := file.problem():
                yield problem


def _keys(estate: Estate, now: datetime) -> Iterator[str]:
    directory = estate.site.pki_directory
    for leaf in pki.wanted(estate):
        shown = pki.look_at(directory, leaf, now=now)
        yield from (f"certificate {leaf.label}: {problem}" for problem in shown.problems)
        if shown.certificate is not None and (problem := SecretFile(path=leaf.files.key).problem()):
            yield problem


def _credentials(estate: Estate) -> Iterator[str]:
    for backup_host in estate.backup_hosts:
        for name in backup_host.credentials:
            file = SecretFile(path=layout.credential_file(estate.site.secrets_directory, name))
            if problem := file.problem():
                yield problem


def _content(estate: Estate) -> Iterator[str]:
    for server in estate.servers:
        key = server.package.signing_key
        if key is not None and not key.is_file():
            yield f"signing_key {key} of {server.host.name}'s packages is not there"
        for database in server.databases:
            source = database.initial_sql
            if source is not None and not source.is_file():
                yield f"database {database.name}: initial_sql {source} is not there"
