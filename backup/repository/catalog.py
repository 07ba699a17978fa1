"""The private half of a backup: what the database was like in the dump's own snapshot.

It names tables, roles and people's settings, so it is stored encrypted; the manifest holds only
its SHA-256. `docs/format.md`, "catalog.json".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from backup.repository.canonical import STRICT, IntegerAsText

RelationKind = Literal["table", "partitioned", "matview", "foreign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relation that can hold rows. `rows` is exact, in the dump's snapshot; None: not counted.

    Partitioned parents hold no rows of their own (`rows` is None), foreign tables are not dumped
    (`rows` is None). A materialised view that is not populated has `rows` None and
    `is_populated` False. `size_bytes` is the heap with TOAST, without indexes, when it was read.
    `part` is the part that holds the rows, if it holds nothing else; None: they are in `rest`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    schema: str
    name: str
    kind: RelationKind
    size_bytes: int
    rows: int | None
    is_populated: bool = True
    extension: str | None = None
    part: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A sequence and its state in the snapshot."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    schema: str
    name: str
    last_value: IntegerAsText
    is_called: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of the cluster by name, with the attributes that matter to a restore; no password."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    is_superuser: bool
    can_login: bool
    bypasses_row_security: bool
    member_of: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """An installed extension."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One privilege on the database itself; `grantee` None is PUBLIC."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    grantee: str | None
    privilege: str
    is_grantable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSetting:
    """An `ALTER DATABASE … SET` or `ALTER ROLE … IN DATABASE … SET`; `role` None is every role."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    role: str | None
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseProperties:
    """What `CREATE DATABASE` and its `ALTER`s must say to get the same database again.

    `locale_provider` is `pg_database.datlocprovider`: `c` libc, `i` ICU, `b` built in (17 on).
    `grants` None: the default privileges were never changed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    owner: str
    encoding: str
    collate: str
    ctype: str
    locale_provider: str
    locale: str | None
    icu_rules: str | None
    collation_version: str | None
    connection_limit: int
    tablespace: str
    comment: str | None
    grants: tuple[Grant, ...] | None
    settings: tuple[DatabaseSetting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything about one database that a restore needs to know or can be checked against."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    database: DatabaseProperties
    bootstrap_superuser: str
    relations: tuple[Relation, ...]
    sequences: tuple[Sequence, ...]
    roles: tuple[Role, ...]
    extensions: tuple[Extension, ...]
    large_objects: int
    subscriptions: tuple[str, ...]
    server_settings: tuple[tuple[str, str], ...]
