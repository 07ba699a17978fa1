"""What is defined in a database, each thing by a hash of PostgreSQL's own text for it.

Read in one pinned session: an empty search_path makes every name a qualified one, so that the text
of a database and of its restored copy is the same on one major version. Names of columns are
sorted: pg_dump writes those of inheriting tables in another order. What extensions bring is left
out, it comes back with them. One query for each catalogue, whatever the number of objects; hashes
are made by the server.
"""

# ruff: noqa: S608 - queries are made of constants only

from __future__ import annotations

import json
from sys import intern
from typing import Final

from backup.postgres.catalogues import CATALOGUES, USER
from backup.postgres.database import Row, Session
from backup.repository.catalog import (
    Collation,
    DefaultPrivileges,
    LargeObjectRights,
    ObjectGrant,
    SchemaObject,
)

_RIGHTS: Final = """(
  SELECT coalesce(
    json_agg(json_build_array(g.grantee, g.privileges) ORDER BY g.grantee), '[]')::text
  FROM (SELECT CASE WHEN x.grantee <> 0 THEN pg_get_userbyid(x.grantee)::text END AS grantee,
          array_agg(DISTINCT x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END)
            AS privileges
        FROM aclexplode({acl}) x GROUP BY 1) g)"""

_QUERY: Final = f"""
WITH found AS MATERIALIZED ({{objects}})
SELECT i.type AS kind, i.identity AS name,
  sha256(convert_to(concat_ws(E'\\n', o.definition, d.description), 'UTF8')) AS sha256,
  CASE WHEN o.owner IS NOT NULL THEN pg_get_userbyid(o.owner)::text END AS owner,
  CASE WHEN o.acl IS NOT NULL THEN nullif({_RIGHTS.format(acl="o.acl")},
    {_RIGHTS.format(acl='acldefault(o.acl_type::"char", o.owner)')}) END AS grants,
  CASE WHEN '{{catalogue}}' = 'pg_class' AND o.relation = 0 THEN (
    SELECT json_agg(json_build_array(a.attname, {_RIGHTS.format(acl="a.attacl")})
      ORDER BY a.attname COLLATE "C")::text
    FROM pg_attribute a WHERE a.attrelid = o.oid AND a.attacl <> '{{{{}}}}' AND NOT a.attisdropped)
    END AS column_grants,
  CASE WHEN o.relation <> 0 THEN (SELECT format('%I.%I', s.nspname, r.relname) FROM pg_class r
    JOIN pg_namespace s ON s.oid = r.relnamespace WHERE r.oid = o.relation) END AS relation,
  o.is_validated
FROM found o
CROSS JOIN LATERAL pg_identify_object('{{catalogue}}'::regclass, o.oid, 0) i
LEFT JOIN pg_description d ON d.classoid = '{{catalogue}}'::regclass AND d.objoid = o.oid
  AND d.objsubid = 0
WHERE i.identity IS NOT NULL AND o.oid NOT IN (SELECT e.objid FROM pg_depend e
  WHERE e.classid = '{{catalogue}}'::regclass AND e.deptype = 'e')
"""

_ROW_SECURITY: Final = f"""
SELECT format('%I.%I', n.nspname, c.relname) AS name,
  sha256(concat(c.relrowsecurity, c.relforcerowsecurity)::bytea) AS sha256
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relrowsecurity OR c.relforcerowsecurity) AND {USER} AND c.relpersistence <> 't'
"""

_USER_MAPPINGS: Final = """
SELECT format('%s on %I', usename, srvname) AS name FROM pg_user_mappings
"""

# What a superuser granted on what initdb made: pg_dump knows by pg_init_privs that it is new.
_SYSTEM: Final = f"""
SELECT 'rights on function' AS kind, f.oid::regprocedure::text AS name,
  {_RIGHTS.format(acl="f.proacl")} AS grants
FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
LEFT JOIN pg_init_privs p ON p.classoid = 'pg_proc'::regclass AND p.objoid = f.oid
WHERE n.nspname IN ('pg_catalog', 'information_schema') AND f.proacl IS DISTINCT FROM p.initprivs
  AND f.proacl IS NOT NULL
"""

# Rights are put into words once for each combination, not for each of millions of objects.
_LARGE_OBJECTS: Final = f"""
WITH found AS (
  SELECT m.oid, m.lomowner AS owner, coalesce(m.lomacl, acldefault('L', m.lomowner))::text AS acl
  FROM pg_largeobject_metadata m),
rights AS (
  SELECT owner, acl, {_RIGHTS.format(acl="acl::aclitem[]")} AS given,
    {_RIGHTS.format(acl="acldefault('L', owner)")} AS usual
  FROM (SELECT DISTINCT owner, acl FROM found) f)
SELECT pg_get_userbyid(r.owner)::text AS owner, nullif(r.given, r.usual) AS grants,
  count(*) AS count,
  encode(sha256(convert_to(string_agg(f.oid::text, ',' ORDER BY f.oid), 'UTF8')), 'hex') AS sha256
FROM rights r JOIN found f USING (owner, acl) GROUP BY 1, 2
"""

_DEFAULTS: Final = f"""
SELECT pg_get_userbyid(d.defaclrole)::text AS role, n.nspname::text AS schema,
  d.defaclobjtype::text AS objects, {_RIGHTS.format(acl="d.defaclacl")} AS grants
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
"""

_USED_COLLATIONS: Final = """
SELECT NULL::text AS name, pg_database_collation_actual_version(d.oid) AS version
FROM pg_database d WHERE d.datname = current_database()
UNION ALL
SELECT format('%I.%I', n.nspname, l.collname), pg_collation_actual_version(l.oid)
FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
WHERE l.collprovider IN ('c', 'i') AND l.oid IN (
  SELECT a.attcollation FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace m ON m.oid = c.relnamespace
  WHERE m.nspname !~ '^pg_' AND m.nspname <> 'information_schema' AND NOT a.attisdropped)
"""


async def read_objects(session: Session) -> tuple[SchemaObject, ...]:
    """Return everything that is defined in the database, ordered by kind and name."""
    objects = []
    for catalogue, query in CATALOGUES.items():
        rows = session.stream(_QUERY.format(catalogue=catalogue, objects=query))
        objects += [_object(row) async for row in rows]
    for row in await session.fetch(_ROW_SECURITY):
        objects.append(_plain("row security", row["name"], row["sha256"], table=row["name"]))
    for row in await session.fetch(_USER_MAPPINGS):
        # Its options may be a password, and are shown to few.
        objects.append(_plain("user mapping", row["name"], None))
    for row in await session.fetch(_SYSTEM):
        objects.append(
            SchemaObject(
                kind=row["kind"],
                name=row["name"],
                definition_sha256=None,
                owner=None,
                grants=grants_of(row["grants"]),
                table=None,
                is_validated=None,
            )
        )
    return tuple(sorted(objects, key=lambda one: (one.kind, one.name)))


async def read_large_object_rights(session: Session) -> tuple[LargeObjectRights, ...]:
    """Return whose the large objects are, and who may read and write them."""
    found = [
        LargeObjectRights(
            owner=row["owner"],
            grants=None if row["grants"] is None else grants_of(row["grants"]),
            count=row["count"],
            oids_sha256=row["sha256"],
        )
        for row in await session.fetch(_LARGE_OBJECTS)
    ]
    return tuple(sorted(found, key=lambda one: (one.owner, one.oids_sha256)))


async def read_default_privileges(session: Session) -> tuple[DefaultPrivileges, ...]:
    """Return what `ALTER DEFAULT PRIVILEGES` has said."""
    found = [
        DefaultPrivileges(
            role=row["role"],
            schema=row["schema"],
            objects=row["objects"],
            grants=grants_of(row["grants"]),
        )
        for row in await session.fetch(_DEFAULTS)
    ]
    return tuple(sorted(found, key=lambda one: (one.role, one.schema or "", one.objects)))


async def read_collations(session: Session) -> tuple[Collation, ...]:
    """Return the collations that columns and indexes are sorted by, the database's own first."""
    found = [
        Collation(name=row["name"], version=row["version"])
        for row in await session.fetch(_USED_COLLATIONS)
    ]
    return tuple(sorted(found, key=lambda one: one.name or ""))


def _object(row: Row) -> SchemaObject:
    grants = None if row["grants"] is None else grants_of(row["grants"])
    if row["column_grants"] is not None:
        columns = json.loads(row["column_grants"])
        grants = (grants or ()) + tuple(
            grant for column, text in columns for grant in grants_of(text, column)
        )
    # A table's name stands in all that hangs on it.
    return SchemaObject(
        kind=intern(row["kind"]),
        name=row["name"] if row["relation"] else intern(row["name"]),
        definition_sha256=row["sha256"],
        owner=row["owner"] and intern(row["owner"]),
        grants=grants,
        table=row["relation"] and intern(row["relation"]),
        is_validated=row["is_validated"],
    )


def _plain(kind: str, name: str, sha256: bytes | None, *, table: str | None = None) -> SchemaObject:
    return SchemaObject(
        kind=kind,
        name=name,
        definition_sha256=sha256,
        owner=None,
        grants=None,
        table=table,
        is_validated=None,
    )


def grants_of(text: str, column: str | None = None) -> tuple[ObjectGrant, ...]:
    """Return the grants that a query has put into words."""
    grants = [
        ObjectGrant(grantee=grantee, column=column, privileges=tuple(privileges))
        for grantee, privileges in json.loads(text)
    ]
    return tuple(sorted(grants, key=lambda one: one.grantee or ""))
