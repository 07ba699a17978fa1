"""The private half of a backup: what the database was like in the dump's own snapshot.

It names tables, roles and people's settings, so it is stored encrypted; the manifest holds only
its SHA-256. `docs/format.md`, "catalog.json".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from pydantic import ConfigDict

from backup.repository.canonical import STRICT, IntegerAsText, Sha256

# What `Catalog.covers` may name: kinds of objects that not every reference tells of.
RIGHTS: Final = "rights on extension and system objects"
SECURITY_LABELS: Final = "security labels"
SUBSCRIPTIONS: Final = "subscriptions"

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

    @property
    def is_dumped(self) -> bool:
        """Whether its rows are in a dump: those of a materialised view are computed anew.

        So they may be others than the source had, whose view may not have been refreshed for long.
        """
        return self.kind not in {"matview", "foreign"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A sequence and its state, read after the snapshot was taken and before anything was dumped.

    PostgreSQL does not version sequences: what is restored may be further on, never behind.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    schema: str
    name: str
    last_value: IntegerAsText
    is_called: bool
    is_descending: bool = False
    is_cycling: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of the cluster by name, with the attributes that matter to a restore; no password.

    `admin_of` are roles whose membership it may give on. `attributes` are the other words of
    `CREATE ROLE`, and the role's settings, as text.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    is_superuser: bool
    can_login: bool
    bypasses_row_security: bool
    member_of: tuple[str, ...]
    admin_of: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


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
class ObjectGrant:
    """What one role may do with an object or with one of its columns; `grantee` None is PUBLIC.

    `privileges` are in alphabetical order, those that may be given on with an asterisk.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    grantee: str | None
    column: str | None
    privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaObject:
    """One thing that is defined in the database, by the kind and identity PostgreSQL gives it.

    `definition_sha256` is over the server's own deparsed text: comparable within a major version
    only. None: the role may not read it. `owner` None: it has its relation's. `grants` None: the
    default ones of its owner, whether they are written down or not. `table` is the identity of the
    relation that it belongs to. `is_validated` None: it is no constraint.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: str
    name: str
    definition_sha256: Sha256 | None
    owner: str | None
    grants: tuple[ObjectGrant, ...] | None
    table: str | None
    is_validated: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjectRights:
    """How many large objects have this owner and these rights, and a hash of which they are.

    There may be millions. `grants` None: the default ones of their owner.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    owner: str
    grants: tuple[ObjectGrant, ...] | None
    count: int
    oids_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultPrivileges:
    """`ALTER DEFAULT PRIVILEGES FOR ROLE role`; `schema` None is everywhere.

    `objects` is `pg_default_acl.defaclobjtype`: `r`, `S`, `f`, `T`, `n`, `L`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    role: str
    schema: str | None
    objects: str
    grants: tuple[ObjectGrant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collation:
    """A collation that is in use, and the version that the server's library has of it now.

    `name` None is the database's own. `version` None: this collation has no versions.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str | None
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDigest:
    """One table's content. For a table hash-partitioned by an enum it is the whole tree's."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    schema: str
    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjectDigest:
    """One large object's content; holes are the zeros that they read as."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    oid: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """What every table and large object holds. `salt` (hex) keeps small tables from being guessed.

    The salt goes into the tables' digests alone: large objects are hashed as they are.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    salt: str
    tables: tuple[TableDigest, ...]
    large_objects: tuple[LargeObjectDigest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything about one database that a restore needs to know or can be checked against.

    `digests` None: the content was not digested for this backup. `covers` are kinds among the
    objects that were looked for; of one that is not there, nothing is known. `filed_as` is the
    place of the backup that this is the private half of; None: an earlier version wrote it.
    """

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
    objects: tuple[SchemaObject, ...]
    large_object_rights: tuple[LargeObjectRights, ...]
    default_privileges: tuple[DefaultPrivileges, ...]
    collations: tuple[Collation, ...]
    digests: Digests | None
    covers: tuple[str, ...] = ()
    filed_as: str | None = None

    @property
    def has_partitions(self) -> bool:
        """Whether a table is partitioned: several sessions must not define what is in its tree."""
        return any(one.kind == "partitioned" for one in self.relations)
