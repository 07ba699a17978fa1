"""What a database and its cluster are like beside the rows: for the private catalogue.

Everything here works for a role that is not a superuser but a member of pg_read_all_data: roles
come from pg_roles, never from pg_authid.
"""

from __future__ import annotations

from sys import intern
from typing import Final

from backup.postgres.census import IN_USER_SCHEMA, joined_snapshot
from backup.postgres.database import Session, quote_identifier
from backup.repository import catalog

# So many sequences are read by one query: each is a relation to open and lock.
_BATCH_SEQUENCES: Final = 200

_SEQUENCES: Final = f"""
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relpersistence = 'u' AS is_unlogged,
       s.seqincrement < 0 AS is_descending, s.seqcycle AS is_cycling
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE c.relkind = 'S' AND {IN_USER_SCHEMA}
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""  # noqa: S608 - constants only

_ROLES: Final = """
SELECT r.rolname::text AS name, r.rolsuper, r.rolcanlogin, r.rolbypassrls,
       ARRAY(SELECT DISTINCT g.rolname::text FROM pg_auth_members m
             JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid ORDER BY 1) AS member_of,
       ARRAY(SELECT DISTINCT g.rolname::text FROM pg_auth_members m JOIN pg_roles g
             ON g.oid = m.roleid WHERE m.member = r.oid AND m.admin_option ORDER BY 1) AS admin_of,
       array_remove(ARRAY[CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
         CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolinherit THEN 'INHERIT' END,
         CASE WHEN r.rolreplication THEN 'REPLICATION' END, 'CONNECTION LIMIT ' || r.rolconnlimit,
         'VALID UNTIL ' || r.rolvaliduntil], NULL)
         || ARRAY(SELECT 'SET ' || c FROM unnest(r.rolconfig) c ORDER BY 1) AS attributes
FROM pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname COLLATE "C"
"""

_EXTENSIONS: Final = """
SELECT e.extname::text AS name, e.extversion AS version, n.nspname::text AS schema
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname COLLATE "C"
"""

_DATABASE: Final = """
SELECT d.oid::int8 AS oid, d.datname::text AS name, pg_get_userbyid(d.datdba)::text AS owner,
       pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate AS collate,
       d.datctype AS ctype, d.datlocprovider::text AS provider, {locale} AS locale,
       {icu_rules} AS icu_rules, d.datcollversion AS collation_version,
       d.datconnlimit AS connection_limit, t.spcname::text AS tablespace,
       shobj_description(d.oid, 'pg_database') AS comment, d.datacl IS NULL AS grants_are_default
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = current_database()
"""

_GRANTS: Final = """
SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END AS grantee,
       a.privilege_type AS privilege, a.is_grantable
FROM pg_database d, aclexplode(d.datacl) a
WHERE d.datname = current_database() ORDER BY 1 NULLS FIRST, 2, 3
"""

_SETTINGS: Final = """
SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole)::text END AS role, c.setting
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,
     unnest(s.setconfig) WITH ORDINALITY AS c(setting, position)
WHERE d.datname = current_database() ORDER BY 1 NULLS FIRST, c.position
"""

_SUBSCRIPTIONS: Final = """
SELECT s.subname::text AS name FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database() ORDER BY 1
"""

_SERVER_SETTINGS: Final = (
    "block_size",
    "data_checksums",
    "default_table_access_method",
    "default_text_search_config",
    "default_toast_compression",
    "lc_collate",
    "lc_ctype",
    "lc_messages",
    "lc_numeric",
    "lc_time",
    "max_connections",
    "max_locks_per_transaction",
    "password_encryption",
    "segment_size",
    "server_encoding",
    "server_version",
    "shared_preload_libraries",
    "wal_level",
    "wal_segment_size",
)


async def read_sequences(
    session: Session, snapshot_id: str, *, is_standby: bool
) -> tuple[catalog.Sequence, ...]:
    """Return the state of every sequence. It is not versioned: it is the state of this moment."""
    async with joined_snapshot(session, snapshot_id):
        listed = [
            row
            for row in await session.fetch(_SEQUENCES)
            if not (is_standby and row["is_unlogged"])
        ]
    states: list[catalog.Sequence] = []
    for start in range(0, len(listed), _BATCH_SEQUENCES):
        batch = listed[start : start + _BATCH_SEQUENCES]
        query = " UNION ALL ".join(
            f"SELECT {position}, last_value, is_called FROM "  # noqa: S608 - quoted names
            f"{quote_identifier(one['schema'])}.{quote_identifier(one['name'])}"
            for position, one in enumerate(batch)
        )
        for row in await session.fetch(query):
            one = batch[row[0]]
            states.append(
                catalog.Sequence(
                    schema=intern(one["schema"]),
                    name=one["name"],
                    last_value=row[1],
                    is_called=row[2],
                    is_descending=one["is_descending"],
                    is_cycling=one["is_cycling"],
                )
            )
    return tuple(states)


async def read_database(session: Session) -> catalog.DatabaseProperties:
    """Return what CREATE DATABASE and its ALTERs must say to get the same database again."""
    version = session.server_version
    query = _DATABASE.format(
        locale="d.datlocale" if version >= 170000 else "d.daticulocale",
        icu_rules="d.daticurules" if version >= 160000 else "NULL::text",
    )
    row = await session.fetch_row(query)
    grants = None
    if not row["grants_are_default"]:
        grants = tuple(
            catalog.Grant(
                grantee=grant["grantee"],
                privilege=grant["privilege"],
                is_grantable=grant["is_grantable"],
            )
            for grant in await session.fetch(_GRANTS)
        )
    settings = []
    for setting in await session.fetch(_SETTINGS):
        name, _, value = setting["setting"].partition("=")
        settings.append(catalog.DatabaseSetting(role=setting["role"], name=name, value=value))
    return catalog.DatabaseProperties(
        name=row["name"],
        owner=row["owner"],
        encoding=row["encoding"],
        collate=row["collate"],
        ctype=row["ctype"],
        locale_provider=row["provider"],
        locale=row["locale"],
        icu_rules=row["icu_rules"],
        collation_version=row["collation_version"],
        connection_limit=row["connection_limit"],
        tablespace=row["tablespace"],
        comment=row["comment"],
        grants=grants,
        settings=tuple(settings),
    )


async def read_roles(session: Session) -> tuple[catalog.Role, ...]:
    """Return the cluster's roles but the predefined ones."""
    return tuple(
        catalog.Role(
            name=row["name"],
            is_superuser=row["rolsuper"],
            can_login=row["rolcanlogin"],
            bypasses_row_security=row["rolbypassrls"],
            member_of=tuple(row["member_of"]),
            admin_of=tuple(row["admin_of"]),
            attributes=tuple(row["attributes"]),
        )
        for row in await session.fetch(_ROLES)
    )


async def read_extensions(session: Session) -> tuple[catalog.Extension, ...]:
    """Return the installed extensions."""
    return tuple(
        catalog.Extension(name=row["name"], version=row["version"], schema=row["schema"])
        for row in await session.fetch(_EXTENSIONS)
    )


async def read_subscriptions(session: Session) -> tuple[str, ...]:
    """Return the names of the database's subscriptions."""
    return tuple(row["name"] for row in await session.fetch(_SUBSCRIPTIONS))


async def read_server_settings(session: Session) -> tuple[tuple[str, str], ...]:
    """Return the server settings that decide how data is stored and read, as far as visible."""
    rows = await session.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY ($1) ORDER BY name",
        list(_SERVER_SETTINGS),
    )
    return tuple((row["name"], row["setting"]) for row in rows)
