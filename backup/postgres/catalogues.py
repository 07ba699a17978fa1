"""What each of PostgreSQL's system catalogues says of an object: the queries of `definitions`.

Each yields: oid, definition, owner, acl, acl_type (as `acldefault` wants it), relation (the table
that it hangs on, or 0), is_validated.
"""

# ruff: noqa: S608 - queries are made of constants only

from __future__ import annotations

from typing import Final

USER: Final = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_SORTED: Final = "(SELECT string_agg(u, ',' ORDER BY u) FROM unnest({}) u)"
# Newer minor versions note something of their own there, which is no property and is not dumped.
_OPTIONS: Final = """(SELECT string_agg(u, ',' ORDER BY u) FROM unnest(a.attoptions) u
  WHERE u NOT LIKE 'pg\\_attver=%')"""
_EMPTY: Final = "NULL::oid AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type"
_NO_TABLE: Final = "0::oid AS relation, NULL::bool AS is_validated"

_RELATIONS: Final = f"""
SELECT c.oid, concat_ws(E'\\n', c.relkind, c.relpersistence, {_SORTED.format("c.reloptions")},
    {_SORTED.format("w.reloptions")}, m.amname,
    CASE WHEN c.relkind IN ('r', 'p') THEN c.relreplident END,
    pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
    CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
    (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno) FROM pg_inherits i
     WHERE i.inhrelid = c.oid),
    (SELECT concat_ws(' ', s.srvname,
       {_SORTED.format("ft.ftoptions")}) FROM pg_foreign_table ft
     JOIN pg_foreign_server s ON s.oid = ft.ftserver WHERE ft.ftrelid = c.oid),
    (SELECT spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace),
    to_jsonb(q) - '{{seqrelid,seqtypid}}'::text[], format_type(q.seqtypid, NULL),
    (SELECT concat_ws(' ', d.refobjid::regclass, a.attname, d.deptype) FROM pg_depend d
     JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
       AND d.refclassid = 'pg_class'::regclass AND c.relkind = 'S' LIMIT 1),
    k.columns) AS definition,
  c.relowner AS owner, c.relacl AS acl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END AS acl_type,
  coalesce((SELECT d.refobjid FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
      AND d.refclassid = 'pg_class'::regclass AND c.relkind = 'S' LIMIT 1), 0) AS relation,
  NULL::bool AS is_validated
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_am m ON m.oid = c.relam LEFT JOIN pg_sequence q ON q.seqrelid = c.oid
LEFT JOIN pg_class w ON w.oid = c.reltoastrelid
CROSS JOIN LATERAL (
  SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
      a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attcompression,
      coalesce(a.attstattarget, -1),
      {_OPTIONS},
      {_SORTED.format("a.attfdwoptions")},
      CASE WHEN a.attcollation <> y.typcollation THEN a.attcollation::regcollation END,
      pg_get_expr(b.adbin, b.adrelid), col_description(c.oid, a.attnum)),
    E'\\n' ORDER BY a.attname COLLATE "C") AS columns
  FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
  LEFT JOIN pg_attrdef b ON b.adrelid = a.attrelid AND b.adnum = a.attnum
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'S') k
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {USER} AND c.relpersistence <> 't'
"""

_INDEXES: Final = f"""
SELECT c.oid, concat_ws(E'\\n', pg_get_indexdef(c.oid), i.indisclustered, i.indisreplident,
    (SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = c.oid),
    (SELECT spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace),
    (SELECT string_agg(a.attnum || '=' || a.attstattarget, ',' ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0)) AS definition,
  {_EMPTY}, i.indrelid AS relation, NULL::bool AS is_validated
FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {USER} AND c.relpersistence <> 't'
"""

# Those of partitions that a foreign key brings by itself have made-up names.
_CONSTRAINTS: Final = f"""
SELECT c.oid, regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '') AS definition,
  {_EMPTY}, c.conrelid AS relation, c.convalidated AS is_validated
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
LEFT JOIN pg_class t ON t.oid = c.conrelid
WHERE {USER} AND c.contype <> 't' AND (c.contype <> 'f' OR c.conparentid = 0)
  AND t.relpersistence IS DISTINCT FROM 't'
"""

_TRIGGERS: Final = f"""
SELECT g.oid, concat_ws(' ', pg_get_triggerdef(g.oid), g.tgenabled) AS definition,
  {_EMPTY}, g.tgrelid AS relation, NULL::bool AS is_validated
FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND {USER} AND c.relpersistence <> 't'
"""

_RULES: Final = f"""
SELECT r.oid, concat_ws(' ', pg_get_ruledef(r.oid), r.ev_enabled) AS definition,
  {_EMPTY}, r.ev_class AS relation, NULL::bool AS is_validated
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN' AND {USER} AND c.relpersistence <> 't'
"""

_POLICIES: Final = f"""
SELECT p.oid, concat_ws(E'\\n', p.polcmd, p.polpermissive,
    (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END, ','
       ORDER BY pg_get_userbyid(r) COLLATE "C") FROM unnest(p.polroles) r),
    pg_get_expr(p.polqual, p.polrelid), 'CHECK', pg_get_expr(p.polwithcheck, p.polrelid))
    AS definition,
  {_EMPTY}, p.polrelid AS relation, NULL::bool AS is_validated
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {USER}
"""

_FUNCTIONS: Final = f"""
SELECT f.oid, CASE WHEN f.prokind <> 'a' THEN pg_get_functiondef(f.oid) ELSE concat_ws(E'\\n',
    pg_get_function_arguments(f.oid), format_type(f.prorettype, NULL), f.proparallel,
    (SELECT (SELECT string_agg(concat_ws('=', e.key, CASE
          WHEN e.key ~ 'fn$|fnoid$' THEN e.value::oid::regproc::text
          WHEN e.key ~ 'type$' THEN format_type(e.value::oid, NULL)
          WHEN e.key = 'aggsortop' THEN e.value::oid::regoperator::text ELSE e.value END), ','
        ORDER BY e.key) FROM (
          SELECT key, CASE WHEN key ~ 'fn$|fnoid$'
            THEN (value::regproc::oid)::text ELSE value END AS value
          FROM jsonb_each_text(to_jsonb(a) - 'aggfnoid')) e)
     FROM pg_aggregate a WHERE a.aggfnoid = f.oid)) END AS definition,
  f.proowner AS owner, f.proacl AS acl, 'f' AS acl_type, {_NO_TABLE}
FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE {USER}
"""

_TYPES: Final = f"""
SELECT y.oid, concat_ws(E'\\n', y.typtype, y.typnotnull, y.typdefault, y.typcategory,
    CASE WHEN y.typtype = 'd' THEN format_type(y.typbasetype, y.typtypmod) END,
    CASE WHEN y.typtype = 'b' THEN concat_ws(' ', y.typinput, y.typoutput, y.typlen, y.typbyval,
      y.typalign, y.typstorage, y.typdelim) END,
    CASE WHEN y.typtype = 'd' AND y.typcollation <> 0 THEN y.typcollation::regcollation END,
    (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e
     WHERE e.enumtypid = y.oid),
    (SELECT concat_ws(' ', format_type(r.rngsubtype, NULL), format_type(r.rngmultitypid, NULL),
       r.rngcollation::regcollation, r.rngcanonical, r.rngsubdiff,
       (SELECT opcname FROM pg_opclass o WHERE o.oid = r.rngsubopc))
     FROM pg_range r WHERE r.rngtypid = y.oid),
    (SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.attcollation <> 0 THEN a.attcollation::regcollation END,
       col_description(a.attrelid, a.attnum)), ',' ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = y.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
    AS definition,
  y.typowner AS owner, y.typacl AS acl, 'T' AS acl_type, {_NO_TABLE}
FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace
LEFT JOIN pg_class c ON c.oid = y.typrelid
WHERE {USER} AND y.typtype <> 'm' AND (y.typrelid = 0 OR c.relkind = 'c')
  AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = y.oid)
"""

_SCHEMAS: Final = f"""
SELECT n.oid, '' AS definition, n.nspowner AS owner, n.nspacl AS acl, 'n' AS acl_type, {_NO_TABLE}
FROM pg_namespace n WHERE {USER}
"""

_EVENT_TRIGGERS: Final = f"""
SELECT e.oid, concat_ws(' ', e.evtevent, e.evtenabled, e.evttags, e.evtfoid::regprocedure)
  AS definition, e.evtowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_event_trigger e
"""

_PUBLICATIONS: Final = f"""
SELECT p.oid, concat_ws(E'\\n', to_jsonb(p) - '{{oid,pubname,pubowner}}'::text[],
    (SELECT string_agg(concat_ws(' ', r.prrelid::regclass, pg_get_expr(r.prqual, r.prrelid),
        (SELECT string_agg(quote_ident(a.attname), ',' ORDER BY a.attname) FROM pg_attribute a
         WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs))), ','
       ORDER BY r.prrelid::regclass::text COLLATE "C")
     FROM pg_publication_rel r WHERE r.prpubid = p.oid),
    (SELECT string_agg(s.pnnspid::regnamespace::text, ',' ORDER BY s.pnnspid::regnamespace::text)
     FROM pg_publication_namespace s WHERE s.pnpubid = p.oid)) AS definition,
  p.pubowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_publication p
"""

_WRAPPERS: Final = f"""
SELECT w.oid, concat_ws(' ', w.fdwhandler::regproc, w.fdwvalidator::regproc,
    {_SORTED.format("w.fdwoptions")})
  AS definition, w.fdwowner AS owner, w.fdwacl AS acl, 'F' AS acl_type, {_NO_TABLE}
FROM pg_foreign_data_wrapper w
"""

_SERVERS: Final = f"""
SELECT s.oid, concat_ws(' ', w.fdwname, s.srvtype, s.srvversion,
    {_SORTED.format("s.srvoptions")}) AS definition,
  s.srvowner AS owner, s.srvacl AS acl, 'S' AS acl_type, {_NO_TABLE}
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
"""

_OPERATORS: Final = f"""
SELECT o.oid, concat_ws(' ', o.oprcode, o.oprcom::regoperator, o.oprnegate::regoperator, o.oprrest,
    o.oprjoin, o.oprcanmerge, o.oprcanhash) AS definition,
  o.oprowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE {USER} AND o.oprcode <> 0
"""

_OPERATOR_CLASSES: Final = f"""
SELECT o.oid, concat_ws(' ', format_type(o.opcintype, NULL), o.opcdefault,
    CASE WHEN o.opckeytype <> 0 THEN format_type(o.opckeytype, NULL) END,
    (SELECT string_agg(concat_ws(' ', a.amopstrategy, a.amopopr::regoperator), ','
       ORDER BY a.amopstrategy,
       a.amopopr::regoperator::text) FROM pg_amop a WHERE a.amopfamily = o.opcfamily),
    (SELECT string_agg(concat_ws(' ', p.amprocnum, p.amproc::regprocedure), ','
       ORDER BY p.amprocnum,
       p.amproc::regprocedure::text) FROM pg_amproc p WHERE p.amprocfamily = o.opcfamily))
    AS definition,
  o.opcowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace WHERE {USER}
"""

_CASTS: Final = f"""
SELECT c.oid, concat_ws(' ', c.castfunc::regprocedure, c.castcontext, c.castmethod) AS definition,
  {_EMPTY}, {_NO_TABLE} FROM pg_cast c WHERE c.oid >= 16384
"""

_COLLATIONS: Final = f"""
SELECT c.oid, (to_jsonb(c)
    - '{{oid,collname,collnamespace,collowner,collversion,collencoding}}'::text[])::text
  AS definition, c.collowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE {USER}
"""

_CONVERSIONS: Final = f"""
SELECT c.oid, concat_ws(' ', c.conforencoding, c.contoencoding, c.conproc, c.condefault)
  AS definition, c.conowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace WHERE {USER}
"""

_DICTIONARIES: Final = f"""
SELECT d.oid, concat_ws(' ', (SELECT tmplname FROM pg_ts_template t WHERE t.oid = d.dicttemplate),
    d.dictinitoption) AS definition,
  d.dictowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace WHERE {USER}
"""

_CONFIGURATIONS: Final = f"""
SELECT f.oid, concat_ws(' ', (SELECT prsname FROM pg_ts_parser p WHERE p.oid = f.cfgparser),
    (SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapdict::regdictionary), ','
       ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = f.oid))
    AS definition,
  f.cfgowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_ts_config f JOIN pg_namespace n ON n.oid = f.cfgnamespace WHERE {USER}
"""

_LANGUAGES: Final = f"""
SELECT l.oid, concat_ws(' ', l.lanplcallfoid::regproc, l.lanpltrusted) AS definition,
  l.lanowner AS owner, l.lanacl AS acl, 'l' AS acl_type, {_NO_TABLE}
FROM pg_language l WHERE l.lanispl
"""

_STATISTICS: Final = f"""
SELECT s.oid, concat_ws(' ', pg_get_statisticsobjdef(s.oid), coalesce(s.stxstattarget, -1))
  AS definition, s.stxowner AS owner, NULL::aclitem[] AS acl, 'r' AS acl_type, {_NO_TABLE}
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {USER}
"""

_ACCESS_METHODS: Final = f"""
SELECT m.oid, concat_ws(' ', m.amhandler, m.amtype) AS definition, {_EMPTY}, {_NO_TABLE}
FROM pg_am m WHERE m.oid >= 16384
"""

CATALOGUES: Final = {
    "pg_class": f"{_RELATIONS} UNION ALL {_INDEXES}",
    "pg_constraint": _CONSTRAINTS,
    "pg_trigger": _TRIGGERS,
    "pg_rewrite": _RULES,
    "pg_policy": _POLICIES,
    "pg_proc": _FUNCTIONS,
    "pg_type": _TYPES,
    "pg_namespace": _SCHEMAS,
    "pg_event_trigger": _EVENT_TRIGGERS,
    "pg_publication": _PUBLICATIONS,
    "pg_foreign_data_wrapper": _WRAPPERS,
    "pg_foreign_server": _SERVERS,
    "pg_operator": _OPERATORS,
    "pg_opclass": _OPERATOR_CLASSES,
    "pg_cast": _CASTS,
    "pg_collation": _COLLATIONS,
    "pg_conversion": _CONVERSIONS,
    "pg_ts_dict": _DICTIONARIES,
    "pg_ts_config": _CONFIGURATIONS,
    "pg_language": _LANGUAGES,
    "pg_statistic_ext": _STATISTICS,
    "pg_am": _ACCESS_METHODS,
}
