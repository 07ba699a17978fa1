"""Whether the same roles own and may do the same: roles, owners, grants. Pure.

What was left out because a role is not there is no finding: that it is not there is one.
"""

from __future__ import annotations

from collections.abc import Iterator

from backup.evidence.sides import Sides, is_rights_only
from backup.evidence.verdict import Check, Code, Finding, ran
from backup.repository.catalog import Catalog, ObjectGrant, Role

_LARGE_OBJECTS = "large objects"


def roles(sides: Sides) -> Check:
    """Return whether every role is there, with the attributes and settings that it had."""
    found = {one.name: one for one in sides.observed.roles}
    findings = []
    for role in sides.expected.roles:
        expected, other = _attributes(role), found.get(role.name)
        observed = "absent" if other is None else _attributes(other)
        if expected != observed:
            findings.append(
                Finding(
                    code=Code.ROLE_ABSENT if other is None else Code.ROLE_DIFF,
                    what=f"role {role.name}",
                    expected="there" if other is None else expected,
                    observed=observed,
                )
            )
    return ran("roles", 4, compared=len(sides.expected.roles), findings=findings)


def _attributes(role: Role) -> str:
    words = {
        "SUPERUSER": role.is_superuser,
        "LOGIN": role.can_login,
        "BYPASSRLS": role.bypasses_row_security,
    }
    return ", ".join((*(word for word, has in words.items() if has), *role.attributes))


def owners(sides: Sides) -> Check:
    """Return whether everything belongs to whom it belonged to."""
    owners = [
        ("database", sides.expected.database.owner, sides.observed.database.owner),
        *((f"{one.kind} {one.name}", one.owner, other.owner) for one, other in sides.both()),
    ]
    if _are_large_objects_told(sides):
        owners.append((_LARGE_OBJECTS, _of_owners(sides.expected), _of_owners(sides.observed)))
    compared_ = [item for item in owners if item[1] is not None]
    findings = [
        Finding(code=Code.OWNER_DIFF, what=what, expected=before, observed=after)
        for what, before, after in compared_
        if before != after and before not in sides.absent_roles
    ]
    return ran("owners", 4, compared=len(compared_), findings=findings)


def grants(sides: Sides) -> Check:
    """Return whether rights, default privileges and memberships are as they were."""
    items = list(_granted(sides))
    findings = [
        Finding(code=Code.ACL_DIFF, what=what, expected=before, observed=after)
        for what, before, after in items
        if before != after
    ]
    return ran("grants", 4, compared=len(items), findings=findings)


def _granted(sides: Sides) -> Iterator[tuple[str, str, str]]:
    """Yield each thing that rights are given on, with the rights on both sides as text."""
    for one, other in sides.both():
        # Who owns it has rights because of that; a wrong owner is one finding, and not of rights.
        aside = set(sides.absent_roles)
        if one.owner != other.owner:
            aside |= {owner for owner in (one.owner, other.owner) if owner is not None}
        is_default = None in (one.grants, other.grants)
        if is_default and (one.owner != other.owner or _mentions(one.grants, aside)):
            continue
        yield f"{one.kind} {one.name}", _rights(one.grants, aside), _rights(other.grants, aside)
    yield (
        "database",
        _database_rights(sides, sides.expected),
        _database_rights(sides, sides.observed),
    )
    is_told = _are_large_objects_told(sides)
    if is_told and _of_owners(sides.expected) == _of_owners(sides.observed):
        yield _LARGE_OBJECTS, _of_rights(sides.expected), _of_rights(sides.observed)
    elsewhere = [_granted_elsewhere(side) for side in (sides.expected, sides.observed)]
    for what in sorted(elsewhere[0].keys() | elsewhere[1].keys()):
        (role, given), (_, found) = (side.get(what, ("", None)) for side in elsewhere)
        if role in sides.absent_roles or (found is None and _mentions(given, sides.absent_roles)):
            continue
        yield what, _rights(given, sides.absent_roles), _rights(found, sides.absent_roles)
    roles = {role.name: role for role in sides.observed.roles}
    for one_role in sides.expected.roles:
        if one_role.name in roles:
            before, after = (
                _memberships(role, sides.absent_roles) for role in (one_role, roles[one_role.name])
            )
            yield f"memberships of {one_role.name}", before, after


def _granted_elsewhere(catalog: Catalog) -> dict[str, tuple[str, tuple[ObjectGrant, ...] | None]]:
    """Return rights that go with no object of this database, and for whose objects they are."""
    defaults = {
        f"default privileges of {one.role} in {one.schema or 'every schema'} for {one.objects}": (
            one.role,
            one.grants,
        )
        for one in catalog.default_privileges
    }
    return defaults | {
        f"{one.kind} {one.name}": ("", one.grants)
        for one in catalog.objects
        if is_rights_only(one.kind)
    }


def _are_large_objects_told(sides: Sides) -> bool:
    """Return whether owners and rights can be held side by side: no object or role is missing."""
    before, after = sides.expected.large_object_rights, sides.observed.large_object_rights
    total = sum(one.count for one in before)
    return total == sum(one.count for one in after) > 0 and not any(
        one.owner in sides.absent_roles or _mentions(one.grants, sides.absent_roles)
        for one in before
    )


def _of_owners(catalog: Catalog) -> str:
    counts: dict[str, int] = {}
    for one in catalog.large_object_rights:
        counts[one.owner] = counts.get(one.owner, 0) + one.count
    return ", ".join(f"{counts[owner]} of {owner}" for owner in sorted(counts))


def _of_rights(catalog: Catalog) -> str:
    """Return the rights in words, with the hash of which objects they are on."""
    return "; ".join(
        sorted(
            f"{one.count} of {one.owner} ({_rights(one.grants, set())}), SHA-256 {one.oids_sha256}"
            for one in catalog.large_object_rights
        )
    )


def _mentions(grants: tuple[ObjectGrant, ...] | None, roles: set[str] | frozenset[str]) -> bool:
    return any(one.grantee in roles for one in grants or ())


def _rights(grants: tuple[ObjectGrant, ...] | None, aside: set[str] | frozenset[str]) -> str:
    if grants is None:
        return "default"
    return "; ".join(
        sorted(
            f"{one.grantee or 'PUBLIC'}{f' on {one.column}' if one.column else ''}:"
            f" {', '.join(one.privileges)}"
            for one in grants
            if one.grantee not in aside
        )
    )


def _database_rights(sides: Sides, catalog: Catalog) -> str:
    if catalog.database.grants is None:
        return "default"
    return "; ".join(
        sorted(
            f"{one.grantee or 'PUBLIC'}: {one.privilege}{'*' * one.is_grantable}"
            for one in catalog.database.grants
            if one.grantee not in sides.absent_roles
        )
    )


def _memberships(role: Role, aside: frozenset[str]) -> str:
    return ", ".join(
        f"{name}{'*' * (name in role.admin_of)}" for name in role.member_of if name not in aside
    )
