"""The questions that facts ask a server, each answered with one line of JSON.

They hold no secret and bring none back: of a verifier, only its salt and a hash of it.
"""

from __future__ import annotations

from typing import Final

from deploy.core.sql import literal

SERVER: Final = """\
SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'loaded_at', extract(epoch FROM pg_conf_load_time()),
  'has_checksums', current_setting('data_checksums') = 'on',
  'settings', (SELECT json_agg(json_build_object('name', name, 'value', current_setting(name),
      'pending_restart', pending_restart, 'source_file', sourcefile) ORDER BY name)
    FROM pg_settings WHERE sourcefile IS NOT NULL OR pending_restart),
  'overrides', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_file_settings
    WHERE sourcefile LIKE '%/postgresql.auto.conf'),
  'file_errors', (SELECT coalesce(json_agg(coalesce(name || ': ', '') || error), '[]')
    FROM pg_file_settings WHERE error IS NOT NULL AND NOT applied
      AND error <> 'setting could not be applied'),
  'hba_errors', (SELECT coalesce(json_agg('line ' || line_number || ': ' || error), '[]')
    FROM pg_hba_file_rules WHERE error IS NOT NULL))"""

# Relations that somebody made and that hold rows: in an empty database there are none.
TABLES: Final = (
    "SELECT json_agg(c.oid::regclass::text) FROM pg_class c JOIN pg_namespace n ON n.oid ="
    " relnamespace WHERE relkind IN ('r', 'p', 'm') AND nspname NOT LIKE 'pg\\_%' AND nspname <>"
    " 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND"
    " deptype = 'e')"
)

ROLES: Final = r"""\
SELECT json_agg(json_build_object(
  'name', rolname, 'can_login', rolcanlogin, 'is_superuser', rolsuper,
  'can_create_databases', rolcreatedb, 'can_create_roles', rolcreaterole,
  'can_replicate', rolreplication, 'bypasses_row_security', rolbypassrls, 'inherits', rolinherit,
  'connection_limit', rolconnlimit,
  'valid_until', CASE WHEN rolvaliduntil = 'infinity' THEN NULL ELSE
    to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') END,
  'has_password', rolpassword IS NOT NULL,
  'salted', substring(rolpassword FROM '^SCRAM-SHA-256\$[0-9]+:[^$]+\$'),
  'fingerprint', encode(sha256(convert_to(rolpassword, 'UTF8')), 'hex'),
  'member_of', (SELECT coalesce(json_agg(DISTINCT g.rolname), '[]') FROM pg_auth_members m
    JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = a.oid),
  'settings', (SELECT coalesce(json_object_agg(split_part(s, '=', 1),
      substr(s, strpos(s, '=') + 1)), '{}') FROM pg_db_role_setting d, unnest(d.setconfig) s
    WHERE d.setrole = a.oid AND d.setdatabase = 0)) ORDER BY rolname)
FROM pg_authid a""".removeprefix("\\\n")

DATABASES: Final = """\
SELECT coalesce(json_agg(json_build_object(
  'name', datname, 'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
  'locale', datcollate, 'connection_limit', datconnlimit,
  'settings', (SELECT coalesce(json_object_agg(split_part(s, '=', 1),
      substr(s, strpos(s, '=') + 1)), '{}') FROM pg_db_role_setting r, unnest(r.setconfig) s
    WHERE r.setdatabase = d.oid AND r.setrole = 0)) ORDER BY datname), '[]')
FROM pg_database d WHERE NOT datistemplate"""

_DATABASE: Final = """\
WITH schemas AS (
  SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
  WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
), things AS (
  SELECT CASE WHEN relkind = 'S' THEN 'sequences' ELSE 'tables' END AS kind, relnamespace AS place,
    c.oid, relowner AS owner, relacl AS acl,
    CASE WHEN relkind = 'S' THEN 's' ELSE 'r' END::"char" AS letter
  FROM pg_class c WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
  UNION ALL
  SELECT 'functions', pronamespace, p.oid, proowner, proacl, 'f'::"char"
  FROM pg_proc p WHERE NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
), totals AS (
  SELECT s.nspname, t.kind, count(*) AS n FROM things t JOIN schemas s ON s.oid = t.place
  GROUP BY 1, 2
), rights AS (
  SELECT 'database' AS "on", NULL::name AS schema_name, a.grantee, a.privilege_type AS privilege,
    1 AS count, 1 AS total
  FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
  WHERE datname = current_database() AND a.grantee <> datdba
  UNION ALL
  SELECT 'schema', nspname, a.grantee, a.privilege_type, 1, 1
  FROM schemas, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
  WHERE a.grantee <> nspowner
  UNION ALL
  SELECT t.kind, s.nspname, a.grantee, a.privilege_type, count(DISTINCT t.oid),
    (SELECT n FROM totals WHERE totals.nspname = s.nspname AND totals.kind = t.kind)
  FROM things t JOIN schemas s ON s.oid = t.place,
    aclexplode(coalesce(t.acl, acldefault(t.letter, t.owner))) a
  WHERE a.grantee <> t.owner GROUP BY 1, 2, 3, 4
)
SELECT json_build_object(
  'schemas', (SELECT coalesce(json_object_agg(nspname, pg_get_userbyid(nspowner)), '{}')
    FROM schemas),
  'extensions', (SELECT json_agg(extname ORDER BY extname) FROM pg_extension),
  'totals', (SELECT coalesce(json_object_agg(nspname, kinds), '{}') FROM (
    SELECT nspname, json_object_agg(kind, n) AS kinds FROM totals GROUP BY 1) x),
  'rights', (SELECT coalesce(json_agg(json_build_object('on', "on", 'schema_name', schema_name,
      'grantee', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END,
      'privilege', privilege, 'count', count, 'total', total)), '[]') FROM rights
    WHERE grantee <> 10),
  'defaults', (SELECT coalesce(json_agg(json_build_object(
      'on', CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences'
        ELSE 'functions' END,
      'schema_name', nspname, 'maker', pg_get_userbyid(defaclrole),
      'grantee', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
      'privilege', a.privilege_type)), '[]')
    FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace,
      aclexplode(defaclacl) a
    WHERE defaclobjtype IN ('r', 'S', 'f') AND a.grantee <> defaclrole
      AND NOT (defaclobjtype = 'f' AND a.grantee = 0)),
  'unreadable_large_objects', (SELECT count(*) FROM pg_largeobject_metadata l WHERE NOT EXISTS (
    SELECT FROM aclexplode(coalesce(lomacl, acldefault('L', lomowner))) a
    WHERE pg_get_userbyid(a.grantee) = {backup_role} AND a.privilege_type = 'SELECT')))"""


def database(backup_role: str | None) -> str:
    """Return the question what is in a database; asked in it."""
    return _DATABASE.replace("{backup_role}", literal(backup_role or ""))
