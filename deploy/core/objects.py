"""Roles, databases and rights, declared as code."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AwareDatetime, Field, model_validator

from deploy.core.types import (
    ADMINISTRATOR,
    AnyName,
    Declared,
    Name,
    OperatorPath,
    SettingName,
    SettingValue,
)

# What becomes of what nobody declared. `revoke` locks roles (NOLOGIN) and never drops anything.
Undeclared: TypeAlias = Literal["report", "revoke"]
# How the backup role gets at large objects, which pg_read_all_data does not cover: not at all
# (then a backup of a database that has any fails, loudly); object by object, at each apply; or by
# lo_compat_privileges, which lets every role of the server read *and write* all of them.
LargeObjects: TypeAlias = Literal["refuse", "grant", "compat"]

Privilege: TypeAlias = Literal[
    "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN",
    "USAGE", "CREATE", "CONNECT", "TEMPORARY", "EXECUTE",
]  # fmt: skip
Kind: TypeAlias = Literal["database", "schema", "tables", "sequences", "functions"]
_ALLOWED: dict[str, frozenset[str]] = {
    "database": frozenset({"CONNECT", "CREATE", "TEMPORARY"}),
    "schema": frozenset({"USAGE", "CREATE"}),
    "tables": frozenset(
        {
            *("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"),
            *("REFERENCES", "TRIGGER", "MAINTAIN"),
        }
    ),
    "sequences": frozenset({"USAGE", "SELECT", "UPDATE"}),
    "functions": frozenset({"EXECUTE"}),
}


class Role(Declared):
    """A role. With `has_password` the secret file `passwords/<name>` must be there.

    Without it a role that may log in does so by certificate, or by peer through the socket.
    """

    name: Name
    can_login: bool = False
    has_password: bool = False
    is_superuser: bool = False
    can_create_databases: bool = False
    can_create_roles: bool = False
    can_replicate: bool = False
    bypasses_row_security: bool = False
    inherits: bool = True
    connection_limit: Annotated[int, Field(ge=-1)] = -1
    valid_until: AwareDatetime | None = None
    member_of: tuple[AnyName, ...] = ()
    settings: Annotated[dict[SettingName, SettingValue], Field(default_factory=dict)]
    purpose: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{0,200}$")] = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.name == ADMINISTRATOR:
            raise ValueError(f"{ADMINISTRATOR} is the server's own administrator, never declared")
        if self.has_password and not self.can_login:
            raise ValueError(f"role {self.name} has a password, but can_login is not set")
        if self.name in self.member_of:
            raise ValueError(f"role {self.name} cannot be a member of itself")
        return self

    def is_stale(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.valid_until is not None and self.valid_until <= now


class Schema(Declared):
    """A schema of a database."""

    name: Name | Literal["public"]
    owner: AnyName | None = None  # the database's, if it is not said


class Grant(Declared):
    """Rights of one role: on the database, on a schema, or on all that a schema holds.

    On `tables`, `sequences` and `functions` it is kept for all there are, and for those that
    `future_of`, the role that makes them, will make (default privileges).
    """

    on: Kind
    to: AnyName
    privileges: Annotated[tuple[Privilege, ...], Field(min_length=1)]
    schema_name: AnyName | None = None
    future_of: tuple[AnyName, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        wrong = sorted(set(self.privileges) - _ALLOWED[self.on])
        if wrong:
            raise ValueError(f"{', '.join(wrong)} is no privilege on a {self.on}")
        if (self.schema_name is None) != (self.on == "database"):
            raise ValueError("schema_name goes with all grants but those on the database")
        if self.future_of and self.on in {"database", "schema"}:
            raise ValueError("future_of goes with tables, sequences and functions")
        return self


class Database(Declared):
    """A database: who owns it, and who may do what in it. PUBLIC may do nothing.

    `initial_sql` is a file on the operator's machine that fills it while it has no table.
    """

    name: Name
    owner: Name
    encoding: Literal["UTF8"] = "UTF8"
    locale: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]+$")] = "C.UTF-8"
    connection_limit: Annotated[int, Field(ge=-1)] = -1
    extensions: tuple[AnyName, ...] = ()
    schemas: tuple[Schema, ...] = ()
    grants: tuple[Grant, ...] = ()
    settings: Annotated[dict[SettingName, SettingValue], Field(default_factory=dict)]
    initial_sql: OperatorPath | None = None


class BackupAccess(Declared):
    """How backups read this server: one role, over TLS, by its client certificate."""

    role: Name = "strongroom_backup"
    bypasses_row_security: bool = True
    large_objects: LargeObjects = "refuse"
    connection_limit: Annotated[int, Field(ge=-1)] = 16

    def as_role(self) -> Role:
        """Return the role that follows: it reads everything, writes nothing."""
        return Role(
            name=self.role,
            can_login=True,
            bypasses_row_security=self.bypasses_row_security,
            connection_limit=self.connection_limit,
            member_of=("pg_read_all_data",),
            settings={"default_transaction_read_only": "on"},
            purpose="reads for backups; made by strongroom host apply",
        )
