"""What was found on a server, as its facts tell it: parsed once, from their JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Observed(BaseModel):
    """A value that was read off a server: frozen, and nothing in it is unexpected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ObservedSetting(Observed):
    """A setting that runs: its value, whether it waits for a restart, and where it is from."""

    name: str
    value: str
    pending_restart: bool
    source_file: str | None


class ServerState(Observed):
    """A running server: its settings, when it read its files, and what it thinks of them."""

    version: int
    loaded_at: float
    has_checksums: bool
    settings: tuple[ObservedSetting, ...]
    overrides: tuple[str, ...]  # names in postgresql.auto.conf, which ALTER SYSTEM writes
    file_errors: tuple[str, ...]
    hba_errors: tuple[str, ...]

    @property
    def pending(self) -> tuple[str, ...]:
        """Return the settings that wait for a restart."""
        return tuple(setting.name for setting in self.settings if setting.pending_restart)

    def value(self, name: str) -> str | None:
        """Return a setting as it runs."""
        return next((one.value for one in self.settings if one.name == name), None)


class ObservedRole(Observed):
    """A role. `salted` is the beginning of its verifier, `fingerprint` the hash of all of it."""

    name: str
    can_login: bool
    is_superuser: bool
    can_create_databases: bool
    can_create_roles: bool
    can_replicate: bool
    bypasses_row_security: bool
    inherits: bool
    connection_limit: int
    valid_until: str | None
    has_password: bool
    salted: str | None
    fingerprint: str | None
    member_of: tuple[str, ...]
    settings: dict[str, str]

    @property
    def powers(self) -> tuple[str, ...]:
        """Return what it may do beyond logging in, as ALTER ROLE calls it."""
        has = {
            "SUPERUSER": self.is_superuser,
            "CREATEDB": self.can_create_databases,
            "CREATEROLE": self.can_create_roles,
            "REPLICATION": self.can_replicate,
            "BYPASSRLS": self.bypasses_row_security,
        }
        return tuple(name for name, is_set in has.items() if is_set)


class ObservedDatabase(Observed):
    """A database, as the server's catalogue has it."""

    name: str
    owner: str
    encoding: str
    locale: str
    connection_limit: int
    settings: dict[str, str]


class ObservedRight(Observed):
    """A right of a role (or PUBLIC) on `count` of `total` objects of one kind in a schema."""

    on: str
    schema_name: str | None
    grantee: str
    privilege: str
    count: int
    total: int


class ObservedDefault(Observed):
    """A default privilege: on what `maker` will make."""

    on: str
    schema_name: str | None
    maker: str
    grantee: str
    privilege: str


class DatabaseState(Observed):
    """What is in one database, as far as it is declared."""

    schemas: dict[str, str]  # to their owners
    extensions: tuple[str, ...]
    totals: dict[str, dict[str, int]]  # schema → kind → how many there are
    rights: tuple[ObservedRight, ...]
    defaults: tuple[ObservedDefault, ...]
    unreadable_large_objects: int
