"""What makes the roles of a server those that are declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from pydantic import SecretStr

from deploy.core.objects import Role, Undeclared
from deploy.core.observed import ObservedRole
from deploy.core.scram import ITERATIONS, Salted, fingerprint, read_salted, verifier
from deploy.core.sql import Change, Finding, assignment, ident, is_same_setting, literal
from deploy.core.types import ADMINISTRATOR, RESERVED_PREFIX

# ALTER ROLE's words for each attribute, on and off.
_WORDS: Final = {
    "can_login": ("LOGIN", "NOLOGIN"),
    "is_superuser": ("SUPERUSER", "NOSUPERUSER"),
    "can_create_databases": ("CREATEDB", "NOCREATEDB"),
    "can_create_roles": ("CREATEROLE", "NOCREATEROLE"),
    "can_replicate": ("REPLICATION", "NOREPLICATION"),
    "bypasses_row_security": ("BYPASSRLS", "NOBYPASSRLS"),
    "inherits": ("INHERIT", "NOINHERIT"),
}
_POWERLESS: Final = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


def plan_roles(
    declared: tuple[Role, ...],
    observed: tuple[ObservedRole, ...],
    passwords: Mapping[str, SecretStr],
    undeclared: Undeclared,
    new_salt: Callable[[], bytes],
) -> tuple[tuple[Change, ...], tuple[Finding, ...]]:
    """Return the changes, in an order that works, and what was found beside them."""
    there = {role.name: role for role in observed}
    changes = [_create(role) for role in declared if role.name not in there]
    findings: list[Finding] = []
    for role in declared:
        found = there.get(role.name)
        if found is not None:
            changes += _attributes(role, found)
        changes += _password(role, found, passwords.get(role.name), new_salt)
        changes += _settings(role, {} if found is None else found.settings)
    for role in declared:
        found = there.get(role.name)
        changes += _memberships(role, () if found is None else found.member_of)
    names = {role.name for role in declared} | {ADMINISTRATOR}
    for found in observed:
        if found.name not in names and not found.name.startswith(RESERVED_PREFIX):
            if undeclared == "revoke":
                changes += _lock(found)
            elif found.can_login or found.powers or found.member_of:
                findings.append(Finding(item=f"role {found.name}", observed=_describe(found)))
    return tuple(changes), tuple(findings)


def _create(role: Role) -> Change:
    words = [on if getattr(role, name) else off for name, (on, off) in _WORDS.items()]
    words.append(f"CONNECTION LIMIT {role.connection_limit}")
    if role.valid_until is not None:
        words.append(f"VALID UNTIL {literal(_moment(role.valid_until))}")
    return Change(
        item=f"role {role.name}",
        expected=" ".join(words),
        observed="not there",
        statements=(f"CREATE ROLE {ident(role.name)} WITH {' '.join(words)}",),
    )


def _attributes(role: Role, found: ObservedRole) -> Iterator[Change]:
    for name, (on, off) in _WORDS.items():
        wanted, has = getattr(role, name), getattr(found, name)
        if wanted != has:
            yield _alter(role, on if wanted else off, on if has else off)
    if role.connection_limit != found.connection_limit:
        wanted_limit = f"CONNECTION LIMIT {role.connection_limit}"
        yield _alter(role, wanted_limit, f"CONNECTION LIMIT {found.connection_limit}")
    until = "infinity" if role.valid_until is None else _moment(role.valid_until)
    if until != _moment_found(found.valid_until):
        shown = found.valid_until or "infinity"
        yield _alter(role, f"VALID UNTIL {literal(until)}", f"VALID UNTIL '{shown}'")


def _alter(role: Role, wanted: str, has: str) -> Change:
    return Change(
        item=f"role {role.name}",
        expected=wanted,
        observed=has,
        statements=(f"ALTER ROLE {ident(role.name)} WITH {wanted}",),
    )


def _password(
    role: Role,
    found: ObservedRole | None,
    password: SecretStr | None,
    new_salt: Callable[[], bytes],
) -> Iterator[Change]:
    if password is None:
        if found is not None and found.has_password:
            yield _set_password(role, "none", "one is set", "NULL")
        return
    salted = None if found is None else read_salted(found.salted or "")
    if salted is not None and found is not None and salted.iterations >= ITERATIONS:
        if fingerprint(verifier(password, salted)) == found.fingerprint:
            return
        observed = "another"
    else:
        observed = "none" if found is None or not found.has_password else "not SCRAM-SHA-256"
    made = verifier(password, Salted(iterations=ITERATIONS, salt=new_salt()))
    yield _set_password(role, "as in the secrets", observed, literal(made.get_secret_value()))


def _set_password(role: Role, wanted: str, has: str, value: str) -> Change:
    return Change(
        item=f"password of role {role.name}",
        expected=wanted,
        observed=has,
        statements=(f"ALTER ROLE {ident(role.name)} PASSWORD {value}",),
    )


def _settings(role: Role, found: Mapping[str, str]) -> Iterator[Change]:
    for name, value in role.settings.items():
        if not is_same_setting(name, found.get(name), value):
            yield Change(
                item=f"setting {name} of role {role.name}",
                expected=value,
                observed=found.get(name, "not set"),
                statements=(f"ALTER ROLE {ident(role.name)} SET {assignment(name, value)}",),
            )
    for name in sorted(set(found) - set(role.settings)):
        yield Change(
            item=f"setting {name} of role {role.name}",
            expected="not set",
            observed=found[name],
            statements=(f"ALTER ROLE {ident(role.name)} RESET {ident(name)}",),
        )


def _memberships(role: Role, found: tuple[str, ...]) -> Iterator[Change]:
    for group in role.member_of:
        if group not in found:
            yield Change(
                item=f"role {role.name}",
                expected=f"member of {group}",
                observed="not a member",
                statements=(f"GRANT {ident(group)} TO {ident(role.name)}",),
            )
    for group in found:
        if group not in role.member_of:
            yield _leave(role.name, group)


def _leave(name: str, group: str) -> Change:
    return Change(
        item=f"role {name}",
        expected=f"not a member of {group}",
        observed="a member",
        statements=(f"REVOKE {ident(group)} FROM {ident(name)}",),
    )


def _lock(found: ObservedRole) -> Iterator[Change]:
    if found.can_login or found.powers:
        yield Change(
            item=f"role {found.name}",
            expected="not declared: locked, without powers",
            observed=_describe(found),
            statements=(f"ALTER ROLE {ident(found.name)} WITH NOLOGIN {_POWERLESS}",),
        )
    for group in found.member_of:
        yield _leave(found.name, group)


def _describe(found: ObservedRole) -> str:
    parts = ["LOGIN"] if found.can_login else []
    parts += found.powers
    parts += [f"member of {group}" for group in found.member_of]
    return f"not declared: {', '.join(parts)}" if parts else "not declared"


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _moment_found(text: str | None) -> str:
    if text is None or text == "infinity":
        return "infinity"
    return _moment(datetime.fromisoformat(text))
