"""Who can do what on a server, against what is declared: what a reviewer signs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias

from pydantic import ConfigDict

from backup.repository.canonical import STRICT, UtcTime
from deploy.core.checks_access import Line
from deploy.core.model import DatabaseServer
from deploy.core.objects import Role
from deploy.core.observed import DatabaseState, ObservedDatabase, ObservedRole
from deploy.core.rightsplan import declared_rights
from deploy.core.types import ADMINISTRATOR, RESERVED_PREFIX

Standing: TypeAlias = Literal["declared", "administrator", "undeclared", "missing"]
Decision: TypeAlias = Literal["approved", "changes-needed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedRole:
    """One role.

    `reaches` are the lines of pg_hba.conf by which it gets in; `can` is what it may do, by itself
    and by every role that it is a member of; `questions` are for the reviewer.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    standing: Standing
    purpose: str
    can_login: bool
    powers: tuple[str, ...]
    member_of: tuple[str, ...]
    valid_until: str | None
    reaches: tuple[str, ...]
    can: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff:
    """Who looked, and what came of it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    reviewer: str
    decision: Decision
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReview:
    """The record of a review of one server. Without `sign_off` nobody has looked at it yet."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["access-review"] = "access-review"
    generated_by: str
    generated_on: str
    site: str
    host: str
    inventory_sha256: str
    taken: UtcTime
    roles: tuple[ReviewedRole, ...]
    public_can: tuple[str, ...]
    questions: int
    sign_off: SignOff | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a server says of itself; `states` by database."""

    roles: tuple[ObservedRole, ...]
    databases: tuple[ObservedDatabase, ...]
    states: Mapping[str, DatabaseState]
    lines: tuple[Line, ...]


def review(
    server: DatabaseServer, found: Found, *, now: datetime
) -> tuple[tuple[ReviewedRole, ...], tuple[str, ...]]:
    """Return every role of a server, those with questions first, and what PUBLIC can do."""
    declared = {role.name: role for role in server.all_roles()}
    observed = {role.name: role for role in found.roles}
    names = {name for name in observed if not name.startswith(RESERVED_PREFIX)} | set(declared)
    roles = [
        _role(server, found, declared.get(name), observed.get(name), name, now)
        for name in sorted(names)
    ]
    roles.sort(key=lambda role: not role.questions)
    return tuple(roles), tuple(_can(found, {"PUBLIC"}, observed))


def _role(  # noqa: PLR0917 - what is declared beside what is there
    server: DatabaseServer,
    found: Found,
    declared: Role | None,
    observed: ObservedRole | None,
    name: str,
    now: datetime,
) -> ReviewedRole:
    everything = {role.name: role for role in found.roles}
    groups = groups_of(name, everything)
    if name == ADMINISTRATOR:
        standing: Standing = "administrator"
    elif observed is None:
        standing = "missing"
    else:
        standing = "undeclared" if declared is None else "declared"
    questions = (
        ()
        if name == ADMINISTRATOR
        else tuple(_questions(server, found, declared, observed, groups, now))
    )
    return ReviewedRole(
        name=name,
        standing=standing,
        purpose="the server's own administrator" if name == ADMINISTRATOR else _purpose(declared),
        can_login=observed is not None and observed.can_login,
        powers=() if observed is None else observed.powers,
        member_of=tuple(sorted(groups)),
        valid_until=None if observed is None else observed.valid_until,
        reaches=tuple(_reaches(found.lines, name, groups)) if observed else (),
        can=tuple(_can(found, {name, *groups}, everything)),
        questions=questions,
    )


def groups_of(name: str, roles: Mapping[str, ObservedRole]) -> frozenset[str]:
    """Return every role that a role is a member of, directly or by way of others."""
    groups: set[str] = set()
    following = [name]
    while following:
        role = roles.get(following.pop())
        for group in () if role is None else role.member_of:
            if group not in groups:
                groups.add(group)
                following.append(group)
    return frozenset(groups)


def _purpose(declared: Role | None) -> str:
    return "" if declared is None else declared.purpose


def _questions(  # noqa: PLR0917 - what is declared beside what is there
    server: DatabaseServer,
    found: Found,
    declared: Role | None,
    observed: ObservedRole | None,
    groups: frozenset[str],
    now: datetime,
) -> Iterator[str]:
    if observed is None:
        yield "it is declared and not there"
        return
    if declared is None:
        yield "nobody declared it: who needs it?"
    elif not declared.purpose:
        yield "its purpose is not declared"
    if observed.valid_until is not None and datetime.fromisoformat(observed.valid_until) <= now:
        yield f"its time was over on {observed.valid_until[:10]}: is it still needed?"
    if declared is not None:
        yield from _differences(server, found, declared, observed)
    if observed.can_login and not any(_reaches(found.lines, observed.name, groups)):
        yield "it may log in, and no line of pg_hba.conf lets it: is it still needed?"


def _differences(
    server: DatabaseServer, found: Found, declared: Role, observed: ObservedRole
) -> Iterator[str]:
    attributes = ("can_login", "is_superuser", "can_create_databases", "can_create_roles")
    for name in (*attributes, "can_replicate", "bypasses_row_security"):
        if getattr(observed, name) and not getattr(declared, name):
            yield f"{name} is set and not declared"
    for group in sorted(set(observed.member_of) - set(declared.member_of)):
        yield f"it is a member of {group}, which is not declared"
    for database in server.databases:
        wanted = {
            (right.on, right.schema_name, right.privilege)
            for right in declared_rights(database, server.backup)
            if right.grantee == declared.name
        }
        state = found.states.get(database.name)
        for right in () if state is None else state.rights:
            said = (right.on, right.schema_name or "", right.privilege)
            if right.grantee == declared.name and said not in wanted:
                yield f"{_describe(database.name, *said, right.count)} is not declared"
    for other in found.databases:
        if other.owner == declared.name and other.name not in {d.name for d in server.databases}:
            yield f"it owns database {other.name}, which is not declared"


def _reaches(lines: Sequence[Line], name: str, groups: frozenset[str]) -> Iterator[str]:
    for line in lines:
        users = set(line.user_name or ())
        if line.names_role(name) or users & {f"+{group}" for group in groups}:
            if line.auth_method == "reject" and "all" in (line.database or ()):
                if line.address in {None, "all"} and line.type in {"local", "host"}:
                    return
            elif line.admits:
                yield line.label


def _can(found: Found, names: set[str], roles: Mapping[str, ObservedRole]) -> Iterator[str]:
    if any(role.is_superuser for name, role in roles.items() if name in names):
        yield "everything: it is a superuser, or a member of one"
        return
    for name in sorted(names):
        if name.startswith(RESERVED_PREFIX):
            yield f"what {name} can"
    for database in found.databases:
        if database.owner in names:
            yield f"{database.name}: everything in it that its owner can"
        state = found.states.get(database.name)
        if state is None:
            continue
        for schema, owner in sorted(state.schemas.items()):
            if owner in names:
                yield f"{database.name}: owns schema {schema}"
        rights = sorted(
            {
                (right.on, right.schema_name or "", right.privilege, right.count)
                for right in state.rights
                if right.grantee in names
            }
        )
        for on, schema, privilege, count in rights:
            yield _describe(database.name, on, schema, privilege, count)


def _describe(database: str, on: str, schema: str, privilege: str, count: int) -> str:
    if on == "database":
        return f"{database}: {privilege} on the database"
    if on == "schema":
        return f"{database}: {privilege} on schema {schema}"
    return f"{database}: {privilege} on {count} {on} of schema {schema}"


def as_text(record: AccessReview) -> str:
    """Return the review as a page of text, with the block that the reviewer signs."""
    lines = [
        f"ACCESS REVIEW of {record.host} ({record.site}), {record.taken:%Y-%m-%d %H:%M} UTC",
        f"{len(record.roles)} roles, {record.questions} questions",
        "",
    ]
    for role in record.roles:
        lines.append(f"{role.name} [{role.standing}]{' login' if role.can_login else ''}")
        for label, values in (
            ("purpose", (role.purpose,) if role.purpose else ()),
            ("powers", role.powers),
            ("member of", role.member_of),
            ("valid until", (role.valid_until,) if role.valid_until else ()),
            ("gets in by", role.reaches),
            ("can", role.can),
            ("QUESTION", role.questions),
        ):
            lines += [f"  {label:<12}{value}" for value in values]
        lines.append("")
    lines.append("PUBLIC, which is everybody")
    lines += [f"  {'can':<12}{value}" for value in record.public_can or ("nothing",)]
    signed = record.sign_off
    lines += [
        "",
        "SIGN-OFF",
        f"  reviewer    {'______________________' if signed is None else signed.reviewer}",
        f"  decision    {'approved / changes needed' if signed is None else signed.decision}",
        f"  note        {'' if signed is None else signed.note}".rstrip(),
    ]
    return "\n".join(_printable(line) for line in lines) + "\n"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
