"""What makes the databases of a server those that are declared: owners, schemas, rights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from deploy.core.objects import BackupAccess, Database, Undeclared
from deploy.core.observed import DatabaseState, ObservedDatabase
from deploy.core.rightsplan import plan_defaults, plan_rights
from deploy.core.sql import Change, Finding, assignment, ident, is_same_setting, literal

_GRANT_LARGE_OBJECTS: Final = """\
DO $$ DECLARE one oid; BEGIN FOR one IN SELECT oid FROM pg_largeobject_metadata LOOP
EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', one, {role}); END LOOP; END $$"""


def plan_databases(
    declared: tuple[Database, ...], observed: tuple[ObservedDatabase, ...]
) -> tuple[Change, ...]:
    """Return what makes the databases exist, with their owners, limits and settings.

    Raises nothing for an encoding or locale that differs: see `unalterable`.
    """
    there = {database.name: database for database in observed}
    changes: list[Change] = []
    for database in declared:
        found = there.get(database.name)
        if found is None:
            changes.append(_create(database))
        elif found.owner != database.owner:
            changes.append(
                Change(
                    item=f"database {database.name}",
                    expected=f"owned by {database.owner}",
                    observed=f"owned by {found.owner}",
                    statements=(
                        f"ALTER DATABASE {ident(database.name)} OWNER TO {ident(database.owner)}",
                    ),
                )
            )
        if found is not None and found.connection_limit != database.connection_limit:
            changes.append(
                Change(
                    item=f"database {database.name}",
                    expected=f"CONNECTION LIMIT {database.connection_limit}",
                    observed=f"CONNECTION LIMIT {found.connection_limit}",
                    statements=(
                        f"ALTER DATABASE {ident(database.name)}"
                        f" CONNECTION LIMIT {database.connection_limit}",
                    ),
                )
            )
        changes += _settings(database, {} if found is None else found.settings)
    return tuple(changes)


def unalterable(
    declared: tuple[Database, ...], observed: tuple[ObservedDatabase, ...]
) -> tuple[Finding, ...]:
    """Return what a database was made with that no statement changes: encoding and locale."""
    there = {database.name: database for database in observed}
    return tuple(
        Finding(
            item=f"database {database.name}",
            observed=f"encoding {found.encoding}, locale {found.locale};"
            f" declared {database.encoding}, {database.locale}: dump, drop and restore it",
        )
        for database in declared
        if (found := there.get(database.name)) is not None
        and (found.encoding, found.locale) != (database.encoding, database.locale)
    )


def plan_database(
    database: Database,
    observed: DatabaseState,
    backup: BackupAccess | None,
    undeclared: Undeclared,
) -> tuple[tuple[Change, ...], tuple[Finding, ...]]:
    """Return what makes the inside of one database as declared, and what was found beside it."""
    changes = [
        Change(
            item=f"database {database.name}",
            expected=f"extension {extension}",
            observed="not there",
            statements=(f"CREATE EXTENSION {ident(extension)}",),
        )
        for extension in database.extensions
        if extension not in observed.extensions
    ]
    findings = [
        Finding(item=f"database {database.name}", observed=f"extension {name} is not declared")
        for name in observed.extensions
        if name not in {*database.extensions, "plpgsql"}
    ]
    changes += _schemas(database, observed)
    for one in (
        *plan_rights(database, observed, backup, undeclared),
        *plan_defaults(database, observed, undeclared),
    ):
        if isinstance(one, Change):
            changes.append(one)
        else:
            findings.append(one)
    if backup is not None and backup.large_objects == "grant":
        changes += _large_objects(database, observed, backup)
    return tuple(changes), tuple(findings)


def _create(database: Database) -> Change:
    limit = database.connection_limit
    options = (
        f"OWNER {ident(database.owner)} ENCODING {literal(database.encoding)}"
        f" LOCALE {literal(database.locale)} TEMPLATE template0 CONNECTION LIMIT {limit}"
    )
    name = ident(database.name)
    return Change(
        item=f"database {database.name}",
        expected=f"owned by {database.owner}",
        observed="not there",
        statements=(
            f"CREATE DATABASE {name} {options}",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        ),
    )


def _settings(database: Database, found: Mapping[str, str]) -> Iterator[Change]:
    name = ident(database.name)
    for setting, value in database.settings.items():
        if not is_same_setting(setting, found.get(setting), value):
            yield Change(
                item=f"setting {setting} of database {database.name}",
                expected=value,
                observed=found.get(setting, "not set"),
                statements=(f"ALTER DATABASE {name} SET {assignment(setting, value)}",),
            )
    for setting in sorted(set(found) - set(database.settings)):
        yield Change(
            item=f"setting {setting} of database {database.name}",
            expected="not set",
            observed=found[setting],
            statements=(f"ALTER DATABASE {name} RESET {ident(setting)}",),
        )


def _schemas(database: Database, observed: DatabaseState) -> Iterator[Change]:
    for schema in database.schemas:
        owner = schema.owner or database.owner
        found = observed.schemas.get(schema.name)
        if found is None:
            statement = f"CREATE SCHEMA {ident(schema.name)} AUTHORIZATION {ident(owner)}"
        elif found != owner and (schema.owner is not None or schema.name != "public"):
            statement = f"ALTER SCHEMA {ident(schema.name)} OWNER TO {ident(owner)}"
        else:
            continue
        yield Change(
            item=f"schema {schema.name} of database {database.name}",
            expected=f"owned by {owner}",
            observed="not there" if found is None else f"owned by {found}",
            statements=(statement,),
        )


def _large_objects(
    database: Database, observed: DatabaseState, backup: BackupAccess
) -> Iterator[Change]:
    if observed.unreadable_large_objects:
        yield Change(
            item=f"database {database.name}",
            expected=f"{backup.role} reads every large object",
            observed=f"{observed.unreadable_large_objects} that it does not",
            statements=(_GRANT_LARGE_OBJECTS.replace("{role}", literal(backup.role)),),
        )
