"""What gives the roles of one database the rights that are declared, and takes the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from deploy.core.objects import BackupAccess, Database, Undeclared
from deploy.core.observed import DatabaseState
from deploy.core.sql import Change, Finding, ident

PUBLIC: Final = "PUBLIC"
# What GRANT … ON ALL … IN SCHEMA and ALTER DEFAULT PRIVILEGES call each kind.
_KINDS: Final = {"tables": "TABLES", "sequences": "SEQUENCES", "functions": "FUNCTIONS"}
# PUBLIC may use the schema `public`, where extensions put their functions, and run functions.
_LEFT_TO_PUBLIC: Final = frozenset({("schema", "USAGE"), ("functions", "EXECUTE")})


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Right:
    """One right of one role: on the database, a schema, or a kind of object in a schema."""

    on: str
    schema_name: str
    grantee: str
    privilege: str

    def target(self, database: str) -> str:
        """Return what GRANT and REVOKE call the thing."""
        if self.on == "database":
            return f"DATABASE {ident(database)}"
        if self.on == "schema":
            return f"SCHEMA {ident(self.schema_name)}"
        return f"ALL {_KINDS[self.on]} IN SCHEMA {ident(self.schema_name)}"

    def describe(self) -> str:
        """Return it for people."""
        place = "the database" if self.on == "database" else f"schema {self.schema_name}"
        what = f"{self.on} of {place}" if self.on in _KINDS else place
        return f"{self.privilege} on {what}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Default:
    """One right on what `maker` will make in a schema."""

    right: Right
    maker: str

    def statement(self, verb: str) -> str:
        """Return the statement that grants (`GRANT`) or revokes (`REVOKE`) it."""
        right = self.right
        place = f" IN SCHEMA {ident(right.schema_name)}" if right.schema_name else ""
        preposition = "TO" if verb == "GRANT" else "FROM"
        return (
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {ident(self.maker)}{place}"
            f" {verb} {right.privilege} ON {_KINDS[right.on]}"
            f" {preposition} {_grantee(right.grantee)}"
        )


def plan_rights(
    database: Database,
    observed: DatabaseState,
    backup: BackupAccess | None,
    undeclared: Undeclared,
) -> Iterator[Change | Finding]:
    """Yield what grants the declared rights, and what revokes or reports the others.

    What PUBLIC has is always revoked.
    """
    item = f"database {database.name}"
    wanted = declared_rights(database, backup)
    found = {
        Right(
            on=one.on,
            schema_name=one.schema_name or "",
            grantee=one.grantee,
            privilege=one.privilege,
        ): one
        for one in observed.rights
    }
    for right in sorted(wanted):
        total = _total(observed, right)
        has = found[right].count if right in found else 0
        if has < total:
            grant = f"GRANT {right.privilege} ON {right.target(database.name)}"
            yield Change(
                item=item,
                expected=f"{right.grantee} has {right.describe()}",
                observed=f"on {has} of {total}",
                statements=(f"{grant} TO {ident(right.grantee)}",),
            )
    for right, one in sorted(found.items(), key=lambda pair: pair[0]):
        if right in wanted or (right.grantee == PUBLIC and _is_left(right)):
            continue
        has_it = f"{right.grantee} has {right.describe()} ({one.count} of {one.total})"
        if right.grantee == PUBLIC or undeclared == "revoke":
            revoke = f"REVOKE {right.privilege} ON {right.target(database.name)}"
            yield Change(
                item=item,
                expected=f"{right.grantee} without {right.describe()}",
                observed=has_it,
                statements=(f"{revoke} FROM {_grantee(right.grantee)}",),
            )
        else:
            yield Finding(item=item, observed=f"not declared: {has_it}")


def plan_defaults(
    database: Database, observed: DatabaseState, undeclared: Undeclared
) -> Iterator[Change | Finding]:
    """Yield what makes the default privileges those that are declared."""
    wanted = {
        Default(right=right, maker=maker)
        for grant in database.grants
        for maker in grant.future_of
        for right in declared_rights(database.model_copy(update={"grants": (grant,)}), None)
    }
    found = {
        Default(
            right=Right(
                on=one.on,
                schema_name=one.schema_name or "",
                grantee=one.grantee,
                privilege=one.privilege,
            ),
            maker=one.maker,
        )
        for one in observed.defaults
    }
    for default in sorted(wanted - found):
        yield _default_change(database, default, "GRANT", "not granted")
    for default in sorted(found - wanted):
        if undeclared == "revoke":
            yield _default_change(database, default, "REVOKE", "granted, not declared")
        else:
            shown = f"{default.right.grantee} will have {default.right.describe()}"
            yield Finding(
                item=f"database {database.name}",
                observed=f"not declared: {shown} that {default.maker} makes",
            )


def declared_rights(database: Database, backup: BackupAccess | None) -> frozenset[Right]:
    """Return every right that is declared, one by one."""
    rights = {
        Right(
            on=grant.on,
            schema_name=grant.schema_name or "",
            grantee=grant.to,
            privilege=privilege,
        )
        for grant in database.grants
        for privilege in grant.privileges
    }
    if backup is not None:
        # pg_read_all_data holds no CONNECT.
        rights.add(Right(on="database", schema_name="", grantee=backup.role, privilege="CONNECT"))
    return frozenset(rights)


def _default_change(database: Database, default: Default, verb: str, observed: str) -> Change:
    right = default.right
    has = "will have" if verb == "GRANT" else "will not have"
    return Change(
        item=f"database {database.name}",
        expected=f"{right.grantee} {has} {right.describe()} that {default.maker} makes",
        observed=observed,
        statements=(default.statement(verb),),
    )


def _is_left(right: Right) -> bool:
    return (right.on, right.privilege) in _LEFT_TO_PUBLIC


def _total(observed: DatabaseState, right: Right) -> int:
    if right.on in {"database", "schema"}:
        return 1
    return observed.totals.get(right.schema_name, {}).get(right.on, 0)


def _grantee(name: str) -> str:
    return PUBLIC if name == PUBLIC else ident(name)
