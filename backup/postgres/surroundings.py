"""What belongs to a database beside its own definitions, each as an object of the catalogue.

Rights that somebody gave on what extensions or initdb made: `pg_init_privs` has those that it came
with, and pg_dump writes down the difference. Subscriptions, of which the connection may be read by
few, and is not read here. Security labels. The pinned session of `definitions.py` reads them.
"""

# ruff: noqa: S608 - queries are made of constants only

from __future__ import annotations

from typing import Final

from backup.postgres.database import Session
from backup.postgres.definitions import grants_of
from backup.repository.catalog import RIGHTS, SECURITY_LABELS, SUBSCRIPTIONS, SchemaObject

# The rights of everybody but who gave them: owners have theirs anyway, and extensions get another
# owner where they are restored.
_OTHERS: Final = """(
  SELECT coalesce(
    json_agg(json_build_array(g.grantee, g.privileges) ORDER BY g.grantee), '[]')::text
  FROM (SELECT CASE WHEN x.grantee <> 0 THEN pg_get_userbyid(x.grantee)::text END AS grantee,
          array_agg(DISTINCT x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END)
            AS privileges
        FROM aclexplode({acl}) x WHERE x.grantee <> x.grantor GROUP BY 1) g)"""

_SYSTEM: Final = "n.nspname IN ('pg_catalog', 'information_schema')"
# Functions in the system's own schemas are in `definitions.py`.
_RIGHTS: Final = f"""
WITH members AS MATERIALIZED (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
relations AS MATERIALIZED (
  SELECT c.oid, c.relowner AS owner, c.relacl AS acl, c.relkind, m.objid IS NOT NULL AS is_member
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND (m.objid IS NOT NULL OR {_SYSTEM})),
found AS (
  SELECT 'pg_class'::regclass AS class, oid, 0 AS part, owner, acl,
    CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS acl_type, is_member FROM relations
  UNION ALL
  SELECT 'pg_class'::regclass, r.oid, a.attnum, r.owner, a.attacl, 'c', r.is_member
  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
  WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
  UNION ALL
  SELECT m.classid, o.oid, 0, o.owner, o.acl, o.acl_type, true
  FROM (
    SELECT 'pg_proc'::regclass AS class, f.oid, f.proowner AS owner, f.proacl AS acl,
      'f' AS acl_type
    FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE NOT {_SYSTEM} UNION ALL
    SELECT 'pg_type'::regclass, oid, typowner, typacl, 'T' FROM pg_type UNION ALL
    SELECT 'pg_namespace'::regclass, oid, nspowner, nspacl, 'n' FROM pg_namespace UNION ALL
    SELECT 'pg_language'::regclass, oid, lanowner, lanacl, 'l' FROM pg_language UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, oid, fdwowner, fdwacl, 'F'
    FROM pg_foreign_data_wrapper UNION ALL
    SELECT 'pg_foreign_server'::regclass, oid, srvowner, srvacl, 'S' FROM pg_foreign_server) o
  JOIN members m ON m.classid = o.class AND m.objid = o.oid),
told AS (
  SELECT f.*, {_OTHERS.format(acl="f.acl")} AS given,
    {_OTHERS.format(acl='''coalesce(p.initprivs, acldefault(f.acl_type::"char", f.owner))''')}
      AS usual
  FROM found f LEFT JOIN pg_init_privs p
    ON p.classoid = f.class AND p.objoid = f.oid AND p.objsubid = f.part
  WHERE f.acl IS NOT NULL AND f.acl IS DISTINCT FROM p.initprivs)
SELECT format('rights on %s %s', CASE WHEN t.is_member THEN 'extension' ELSE 'system' END, i.type)
    AS kind, i.identity AS name, t.given AS grants
FROM told t CROSS JOIN LATERAL pg_identify_object(t.class, t.oid, t.part) i
WHERE t.given <> t.usual
"""

# Restored it is disabled and at no position: neither is a property of its definition.
_SUBSCRIPTIONS: Final = """
SELECT quote_ident(s.subname) AS name, pg_get_userbyid(s.subowner)::text AS owner,
  sha256(convert_to(concat_ws(E'\\n', s.subbinary, s.substream, s.subtwophasestate <> 'd',
    s.subdisableonerr, s.subslotname, s.subsynccommit,
    (SELECT string_agg(p, ',' ORDER BY p) FROM unnest(s.subpublications) p), {newer},
    obj_description(s.oid, 'pg_subscription')), 'UTF8')) AS sha256
FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database()
"""
_NEWER: Final = (
    (160000, "s.subpasswordrequired, s.subrunasowner, s.suborigin"),
    (170000, "s.subfailover"),
)

_SECURITY_LABELS: Final = """
SELECT format('%s on %s %s', l.provider, i.type, i.identity) AS name,
  sha256(convert_to(l.label, 'UTF8')) AS sha256,
  CASE WHEN l.classoid = 'pg_class'::regclass THEN (
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = l.objoid) END AS relation
FROM pg_seclabel l CROSS JOIN LATERAL pg_identify_object(l.classoid, l.objoid, l.objsubid) i
WHERE i.identity IS NOT NULL
"""


async def read_surroundings(session: Session) -> tuple[tuple[SchemaObject, ...], tuple[str, ...]]:
    """Return what there is, ordered by kind and name, and which of it was looked at.

    Subscriptions are looked at by superusers only: pg_dump leaves them out for anybody else.
    """
    covers = [RIGHTS, SECURITY_LABELS]
    found = [
        _object(row["kind"], row["name"], grants=row["grants"])
        for row in await session.fetch(_RIGHTS)
    ]
    found += [
        _object("security label", row["name"], sha256=row["sha256"], table=row["relation"])
        for row in await session.fetch(_SECURITY_LABELS)
    ]
    if await session.fetch_value("SELECT current_setting('is_superuser')") == "on":
        covers.append(SUBSCRIPTIONS)
        version = session.server_version
        newer = ", ".join(columns for since, columns in _NEWER if version >= since) or "NULL"
        found += [
            _object("subscription", row["name"], sha256=row["sha256"], owner=row["owner"])
            for row in await session.fetch(_SUBSCRIPTIONS.format(newer=newer))
        ]
    return tuple(sorted(found, key=lambda one: (one.kind, one.name))), tuple(sorted(covers))


def _object(
    kind: str,
    name: str,
    *,
    sha256: bytes | None = None,
    owner: str | None = None,
    grants: str | None = None,
    table: str | None = None,
) -> SchemaObject:
    return SchemaObject(
        kind=kind,
        name=name,
        definition_sha256=sha256,
        owner=owner,
        grants=None if grants is None else grants_of(grants),
        table=table,
        is_validated=None,
    )
