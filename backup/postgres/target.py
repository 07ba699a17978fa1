"""The database that a restore goes into: made new, like the one that was backed up.

Nothing is ever dropped here but what the same run made. Limits, grants and settings come after the
data (`complete_database`): a setting like default_transaction_read_only would stop the restore.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from backup.errors import PostgresError, SettingsError, StalledError
from backup.postgres.database import (
    MissingDatabaseError,
    Session,
    connect,
    quote_identifier,
    quote_literal,
)
from backup.postgres.dsn import Dsn
from backup.postgres.globals import GlobalsPlan
from backup.repository.catalog import DatabaseProperties, DatabaseSetting

# Where to stand while making another database: one of these is on every server.
_MAINTENANCE: Final = ("postgres", "template1")
# What `\l+` shows of a database whose restore was killed: it must not be taken for a good one.
UNFINISHED: Final = "strongroom: this restore is not finished; drop the database and restore again"
_DEFAULT_TABLESPACE: Final = "pg_default"

# GUC_LIST_QUOTE in the server's guc_tables.c: stored as a list of identifiers, to be set as a list
# of strings. pg_dump has the same list (variable_is_guc_list_quote).
_LISTS: Final = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedDatabase:
    """A database that this run made. `notes` say, one sentence each, what is not as it was."""

    name: str
    oid: int
    server_version: int
    collation_version: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the target cluster has that a database can refer to."""

    server_version: int
    roles: frozenset[str]
    tablespaces: frozenset[str]


async def create_database(
    target: Dsn,
    properties: DatabaseProperties,
    *,
    application_name: str,
    has_owner: bool = True,
) -> CreatedDatabase:
    """Create `target.database`, empty, with encoding, locale, tablespace and owner as they were.

    Raises SettingsError if it exists. A role or tablespace that the cluster lacks is left out and
    noted; so is another version of the collation's library.
    """
    async with maintenance(target, application_name) as session:
        await require_absent(session, target)
        around = await read_surroundings(session)
        sql, notes = create_sql(target.database, properties, around, has_owner=has_owner)
        try:
            await session.execute(sql)
        except (PostgresError, StalledError) as error:
            if session.is_lost or isinstance(error, StalledError):
                raise type(error)(
                    f"making the database {target.database}, which may be there now and is empty:"
                    f" {error.message}",
                    hint=f"look for {target.database}, drop it, and restore again",
                ) from error
            raise PostgresError(
                error.message,
                hint=error.hint
                or f"the server needs the locale {properties.locale or properties.collate}"
                f" (LC_COLLATE {properties.collate}, LC_CTYPE {properties.ctype})",
            ) from error
        try:
            return await _created(session, target, properties, notes)
        except (PostgresError, StalledError) as error:
            raise type(error)(
                f"the database {target.database} is made and empty, and then: {error.message}",
                hint=f"drop the database {target.database} yourself, and restore again",
            ) from error


async def _created(
    session: Session, target: Dsn, properties: DatabaseProperties, notes: tuple[str, ...]
) -> CreatedDatabase:
    """Say of the new database that it is not finished, and return what it is."""
    # A role that made the database for another owner may not be allowed to say so.
    with suppress(PostgresError):
        await session.execute(
            f"COMMENT ON DATABASE {quote_identifier(target.database)}"
            f" IS {quote_literal(UNFINISHED)}"
        )
    row = await session.fetch_row(
        "SELECT oid::int8 AS oid, datcollversion FROM pg_database WHERE datname = $1",
        target.database,
    )
    found, expected = row["datcollversion"], properties.collation_version
    if found != expected:
        notes = (
            *notes,
            f"the collation's version was {expected or 'unknown'} and is {found or 'unknown'}:"
            " text may sort in another order",
        )
    return CreatedDatabase(
        name=target.database,
        oid=row["oid"],
        server_version=session.server_version,
        collation_version=found,
        notes=notes,
    )


async def require_absent(session: Session, target: Dsn) -> None:
    """Raise SettingsError if the target's database exists."""
    if await _oid(session, target.database) is not None:
        raise SettingsError(
            f"the database {target.database} exists on {target}: a restore goes into a new one",
            hint="name another database in --to, or drop this one yourself",
        )


async def complete_database(
    target: Dsn, properties: DatabaseProperties, *, application_name: str
) -> tuple[str, ...]:
    """Set comment, grants, settings and connection limit after the data; return what could not be.

    Each sentence names one thing that is not as it was. Raises `PostgresError` if the connection
    was lost: then nobody knows.
    """
    async with maintenance(target, application_name) as session:
        around = await read_surroundings(session)
        notes: list[str] = []
        for statement in completion_sql(target.database, properties):
            missing = statement.roles - around.roles
            if missing:
                notes.append(f"{statement.what} is not set: no role {', '.join(sorted(missing))}")
                continue
            try:
                await session.execute(statement.sql)
            except PostgresError as error:
                if session.is_lost:
                    raise
                notes.append(f"{statement.what} is not set: {error.message}")
        return tuple(notes)


async def drop_created(target: Dsn, created: CreatedDatabase, *, application_name: str) -> None:
    """Drop the half-restored database that `create_database` returned, and whoever is in it.

    Told by its oid: one of the same name that somebody else made meanwhile stays, with an error.
    Its subscriptions are cut loose first, without a word to the publisher.
    """
    async with maintenance(target, application_name) as session:
        found = await _oid(session, created.name)
        if found is None:
            return
        if found != created.oid:
            raise PostgresError(f"the database {created.name} is not the one this run made: kept")
        await _forget_subscriptions(target.with_database(created.name), application_name)
        await session.execute(f"DROP DATABASE {quote_identifier(created.name)} WITH (FORCE)")


async def create_roles(target: Dsn, plan: GlobalsPlan, *, application_name: str) -> None:
    """Run the plan's statements: all of them, or on any error none."""
    async with maintenance(target, application_name) as session:
        await session.execute("BEGIN")
        for statement in plan.statements:
            await session.execute(statement)
        await session.execute("COMMIT")


async def is_superuser(session: Session) -> bool:
    """Whether the session's role is a superuser."""
    return bool(
        await session.fetch_value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    )


async def read_surroundings(session: Session) -> Surroundings:
    """Return the roles and tablespaces of the cluster."""
    roles = await session.fetch("SELECT rolname::text FROM pg_roles")
    tablespaces = await session.fetch("SELECT spcname::text FROM pg_tablespace")
    return Surroundings(
        server_version=session.server_version,
        roles=frozenset(row[0] for row in roles),
        tablespaces=frozenset(row[0] for row in tablespaces),
    )


def create_sql(
    name: str, properties: DatabaseProperties, around: Surroundings, *, has_owner: bool
) -> tuple[str, tuple[str, ...]]:
    """Return the CREATE DATABASE statement, and a sentence for each thing it leaves out. Pure."""
    notes: list[str] = []
    options = [
        "TEMPLATE template0",
        f"ENCODING {quote_literal(properties.encoding)}",
        *_locale_options(properties, around.server_version),
    ]
    if has_owner:
        if properties.owner in around.roles:
            options.append(f"OWNER {quote_identifier(properties.owner)}")
        else:
            notes.append(f"the owner {properties.owner} is not a role of this cluster")
    if properties.tablespace != _DEFAULT_TABLESPACE:
        if properties.tablespace in around.tablespaces:
            options.append(f"TABLESPACE {quote_identifier(properties.tablespace)}")
        else:
            notes.append(f"the tablespace {properties.tablespace} is not there: the default's used")
    return f"CREATE DATABASE {quote_identifier(name)} {' '.join(options)}", tuple(notes)


def _locale_options(properties: DatabaseProperties, server_version: int) -> Iterator[str]:
    yield f"LC_COLLATE {quote_literal(properties.collate)}"
    yield f"LC_CTYPE {quote_literal(properties.ctype)}"
    locale = quote_literal(properties.locale or "")
    match properties.locale_provider:
        case "i":
            yield f"LOCALE_PROVIDER icu ICU_LOCALE {locale}"
            if properties.icu_rules is not None:
                if server_version < 160000:
                    raise SettingsError("the database has ICU rules: it needs PostgreSQL 16")
                yield f"ICU_RULES {quote_literal(properties.icu_rules)}"
        case "b":
            if server_version < 170000:
                raise SettingsError("the database has the builtin locale: it needs PostgreSQL 17")
            yield f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"
        case _:
            yield "LOCALE_PROVIDER libc"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletingStatement:
    """A statement, what it is about, and the roles that have to exist for it."""

    what: str
    sql: str
    roles: frozenset[str] = frozenset()


def completion_sql(name: str, properties: DatabaseProperties) -> tuple[CompletingStatement, ...]:
    """Return grants, settings, connection limit and last the comment as statements. Pure."""
    database = quote_identifier(name)
    statements: list[CompletingStatement] = []
    statements += _grants(database, properties)
    statements += [_setting(database, setting) for setting in properties.settings]
    if properties.connection_limit != -1:
        sql = f"ALTER DATABASE {database} CONNECTION LIMIT {properties.connection_limit}"
        statements.append(CompletingStatement(what="the connection limit", sql=sql))
    # Last: it takes the place of UNFINISHED, and its commit makes all before it durable.
    comment = "NULL" if properties.comment is None else quote_literal(properties.comment)
    sql = f"COMMENT ON DATABASE {database} IS {comment}"
    statements.append(CompletingStatement(what="the comment", sql=sql))
    return tuple(statements)


def _grants(database: str, properties: DatabaseProperties) -> Iterator[CompletingStatement]:
    if properties.grants is None:
        return
    owner = properties.owner
    yield CompletingStatement(
        what="the loss of PUBLIC's default privileges",
        sql=f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
    )
    yield CompletingStatement(
        what="the loss of the owner's default privileges",
        sql=f"REVOKE ALL ON DATABASE {database} FROM {quote_identifier(owner)}",
        roles=frozenset({owner}),
    )
    for grant in properties.grants:
        grantee = "PUBLIC" if grant.grantee is None else quote_identifier(grant.grantee)
        option = " WITH GRANT OPTION" if grant.is_grantable else ""
        yield CompletingStatement(
            what=f"the grant of {grant.privilege} to {grant.grantee or 'PUBLIC'}",
            sql=f"GRANT {grant.privilege} ON DATABASE {database} TO {grantee}{option}",
            roles=frozenset() if grant.grantee is None else frozenset({grant.grantee}),
        )


def _setting(database: str, setting: DatabaseSetting) -> CompletingStatement:
    value = quote_literal(setting.value)
    if setting.name.lower() in _LISTS:
        value = ", ".join(map(quote_literal, split_identifiers(setting.value))) or "''"
    whose = f"ALTER DATABASE {database}"
    if setting.role is not None:
        whose = f"ALTER ROLE {quote_identifier(setting.role)} IN DATABASE {database}"
    return CompletingStatement(
        what=f"the setting {setting.name} of {setting.role or 'the database'}",
        sql=f"{whose} SET {quote_identifier(setting.name)} TO {value}",
        roles=frozenset() if setting.role is None else frozenset({setting.role}),
    )


def split_identifiers(text: str) -> tuple[str, ...]:
    """Return the names in a list such as `"$user", public`, as SplitGUCList() of pg_dump does."""
    names: list[str] = []
    rest = text.strip()
    while rest:
        if rest.startswith('"'):
            name, position = "", 1
            while (end := rest.find('"', position)) >= 0:
                name += rest[position:end]
                if rest[end + 1 : end + 2] != '"':
                    break
                name, position = name + '"', end + 2
            names.append(name)
            rest = rest[end + 1 :].lstrip().removeprefix(",").lstrip()
        else:
            name, _, rest = rest.partition(",")
            names.append(name.strip())
            rest = rest.lstrip()
    return tuple(names)


@asynccontextmanager
async def maintenance(target: Dsn, application_name: str) -> AsyncIterator[Session]:
    """Yield a session on the target's server, in a database that is there and is not the target."""
    *names, last = (name for name in _MAINTENANCE if name != target.database)
    async with AsyncExitStack() as stack:
        for name in names:
            dsn = target.with_database(name)
            try:
                session = await stack.enter_async_context(
                    connect(dsn, application_name=application_name)
                )
            except MissingDatabaseError:
                continue
            yield session
            return
        dsn = target.with_database(last)
        yield await stack.enter_async_context(connect(dsn, application_name=application_name))


async def _oid(session: Session, name: str) -> int | None:
    found: int | None = await session.fetch_value(
        "SELECT oid::int8 FROM pg_database WHERE datname = $1", name
    )
    return found


async def _forget_subscriptions(dsn: Dsn, application_name: str) -> None:
    async with connect(dsn, application_name=application_name) as session:
        rows = await session.fetch(
            "SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
            " WHERE d.datname = current_database()"
        )
        for row in rows:
            name = quote_identifier(row[0])
            await session.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
            await session.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
            await session.execute(f"DROP SUBSCRIPTION {name}")
