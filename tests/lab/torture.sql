-- The hard database: what a backup has to bring back unchanged. For psql, as a superuser, in an
-- empty UTF-8 database of PostgreSQL 15 or newer. `torture.py` runs it.
\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
SET standard_conforming_strings = on;
SET check_function_bodies = on;
SET search_path = public;
SELECT :SERVER_VERSION_NUM >= 160000 AS is_16, :SERVER_VERSION_NUM >= 170000 AS is_17,
       :SERVER_VERSION_NUM >= 180000 AS is_18,
       NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'torture_owner') AS needs_roles \gset

-- ---------------------------------------------------------------- roles, once a cluster
\if :needs_roles
CREATE ROLE torture_owner NOLOGIN CREATEDB;
CREATE ROLE torture_group NOLOGIN;
CREATE ROLE torture_reader LOGIN PASSWORD 'semi;colon -- and ''quote''' CONNECTION LIMIT 7
  VALID UNTIL '2031-12-31 23:59:59+00' IN ROLE torture_group;
CREATE ROLE torture_writer LOGIN NOINHERIT PASSWORD E'back\\slash $$ dollar';
CREATE ROLE "Törture ""röle"" 😀; DROP -- 'x'" LOGIN PASSWORD 'ü😀';
CREATE ROLE "torture.dot $body$ %s \ tab	end" NOLOGIN BYPASSRLS;
CREATE ROLE "torture new
line" NOLOGIN;
CREATE ROLE "torture_63_bytes_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa😀" NOLOGIN;
GRANT torture_group TO torture_writer WITH ADMIN OPTION;
GRANT torture_owner TO "Törture ""röle"" 😀; DROP -- 'x'" ;
GRANT pg_read_all_data TO torture_reader;
GRANT pg_monitor TO "Törture ""röle"" 😀; DROP -- 'x'" WITH ADMIN OPTION;
ALTER ROLE torture_reader SET search_path = "$user", public, "odd schema";
ALTER ROLE torture_reader SET work_mem = '64MB';
ALTER ROLE torture_reader SET "torture.custom" = E'it''s; \\ -- $$ 😀';
ALTER ROLE "Törture ""röle"" 😀; DROP -- 'x'" SET statement_timeout = '5min';
COMMENT ON ROLE torture_reader IS E'a comment; with ''quotes''\nand -- lines /* and */ $$';
\if :is_16
GRANT torture_owner TO torture_group WITH INHERIT FALSE, SET TRUE;
\endif
\endif
SELECT format('ALTER DATABASE %I SET search_path = "$user", public, "odd schema"', current_database()) \gexec
SELECT format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Europe/London') \gexec
SELECT format('ALTER DATABASE %I SET "torture.custom" = %L', current_database(), E'it''s; \\ 😀') \gexec
SELECT format('ALTER ROLE torture_writer IN DATABASE %I SET datestyle = %L', current_database(), 'German, DMY') \gexec
SELECT format('COMMENT ON DATABASE %I IS %L', current_database(), E'hard; ''case''\n😀') \gexec
SELECT format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CREATE, CONNECT ON DATABASE %I TO torture_reader WITH GRANT OPTION', current_database()) \gexec
SELECT format('ALTER DATABASE %I OWNER TO torture_owner', current_database()) \gexec
SELECT format('ALTER DATABASE %I CONNECTION LIMIT 42', current_database()) \gexec
-- What the database's settings say holds for new sessions only; the dump must not depend on it.

-- ---------------------------------------------------------------- extensions on this machine
CREATE SCHEMA "odd schema";
SELECT format('CREATE EXTENSION %I SCHEMA %I', name, CASE name WHEN 'hstore' THEN 'odd schema' ELSE 'public' END)
FROM pg_available_extensions
WHERE name IN ('hstore', 'citext', 'ltree', 'pg_trgm', 'btree_gist', 'cube', 'seg', 'isn', 'lo', 'intarray',
               'postgres_fdw', 'file_fdw', 'unaccent', 'uuid-ossp', 'pgcrypto', 'tablefunc', 'bloom', 'vector',
               'fuzzystrmatch', 'amcheck')
ORDER BY name \gexec
SELECT count(*) FILTER (WHERE extname = 'hstore') = 1 AS has_hstore,
       count(*) FILTER (WHERE extname = 'citext') = 1 AS has_citext,
       count(*) FILTER (WHERE extname = 'ltree') = 1 AS has_ltree,
       count(*) FILTER (WHERE extname = 'btree_gist') = 1 AS has_btree_gist,
       count(*) FILTER (WHERE extname = 'pg_trgm') = 1 AS has_pg_trgm,
       count(*) FILTER (WHERE extname = 'postgres_fdw') = 1 AS has_postgres_fdw,
       count(*) FILTER (WHERE extname = 'vector') = 1 AS has_vector,
       count(*) FILTER (WHERE extname = 'isn') = 1 AS has_isn,
       count(*) FILTER (WHERE extname = 'cube') = 1 AS has_cube
FROM pg_extension \gset

-- ---------------------------------------------------------------- names
CREATE SCHEMA "Schéma ""q"" 'a' \ %s $1 . 😀";
CREATE SCHEMA "new
line	tab";
CREATE SCHEMA "63_bytes_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa😀";
CREATE SCHEMA torture AUTHORIZATION torture_owner;
CREATE SCHEMA empty_schema;
CREATE TABLE "Schéma ""q"" 'a' \ %s $1 . 😀"."ta.ble ""q"" 'a' \ %s $1 😀" (
  "id 😀" int PRIMARY KEY, "co.l ""q"" 'a' \ %s $1" text DEFAULT E'de''fault \\ " 😀\n', "SELECT" boolean
) PARTITION BY RANGE ("id 😀");
CREATE TABLE "new
line	tab"."part
1	of.2" PARTITION OF "Schéma ""q"" 'a' \ %s $1 . 😀"."ta.ble ""q"" 'a' \ %s $1 😀" FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE "63_bytes_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa😀"."t_63_bytes_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa😀"
  PARTITION OF "Schéma ""q"" 'a' \ %s $1 . 😀"."ta.ble ""q"" 'a' \ %s $1 😀" DEFAULT;
INSERT INTO "Schéma ""q"" 'a' \ %s $1 . 😀"."ta.ble ""q"" 'a' \ %s $1 😀"
SELECT n, E'row\n' || n || E'\t\\ \\. \\N 😀' || chr(1) || chr(127), n % 2 = 0 FROM generate_series(-50, 250) n;
CREATE INDEX "in.dex ""q"" 😀" ON "Schéma ""q"" 'a' \ %s $1 . 😀"."ta.ble ""q"" 'a' \ %s $1 😀" ("co.l ""q"" 'a' \ %s $1");
CREATE SEQUENCE "odd schema"."se.q ""q"" 😀
x" START -5 INCREMENT -3 MINVALUE -1000000 MAXVALUE -1 CYCLE CACHE 7;
SELECT nextval('"odd schema"."se.q ""q"" 😀
x"'), nextval('"odd schema"."se.q ""q"" 😀
x"');
COMMENT ON TABLE "Schéma ""q"" 'a' \ %s $1 . 😀"."ta.ble ""q"" 'a' \ %s $1 😀" IS E'com''ment; \\ $$ \n-- not a comment\n😀';
COMMENT ON COLUMN "Schéma ""q"" 'a' \ %s $1 . 😀"."ta.ble ""q"" 'a' \ %s $1 😀"."id 😀" IS E'on a\tcolumn';
CREATE TABLE "odd schema"."select" ("from" int, "where" text, " leading" int, "trailing " int, "UPPER" int, "a,b" int, "(p)" int, "{b}" int, "*" int);
INSERT INTO "odd schema"."select" VALUES (1, NULL, 2, 3, 4, 5, 6, 7, 8), (1, NULL, 2, 3, 4, 5, 6, 7, 8), (NULL, '', 0, 0, 0, 0, 0, 0, 0);
CREATE TABLE "odd schema"."ta*ble?[x]" AS SELECT 1 AS pattern_like;
CREATE TABLE "odd schema"."taXblez" AS SELECT 2 AS matched_by_the_pattern;
CREATE TABLE "odd schema"."Same" (a int); CREATE TABLE "odd schema"."same" (b int);
INSERT INTO "odd schema"."Same" VALUES (1); INSERT INTO "odd schema"."same" VALUES (2), (3);
CREATE TABLE public."odd schema.same" (c int);
INSERT INTO public."odd schema.same" VALUES (4), (5), (6);
CREATE TABLE public."$user" (a int); CREATE TABLE public."-t" (a int); CREATE TABLE public."..\..\x" (a int);
INSERT INTO public."-t" VALUES (1);

SET search_path = torture, public;
-- ---------------------------------------------------------------- types with extreme values
CREATE TABLE numbers (id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, n numeric, n5 numeric(5, 2), nneg numeric(3, -2),
  r float4, d float8, m money, o oid, x xid, x8 xid8, c cid, t tid, lsn pg_lsn, ch "char", nm name, b boolean);
INSERT INTO numbers VALUES
  (1, -32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', -99900, 'NaN', 'NaN', '-92233720368547758.08', 0, '0', '0', '0', '(0,0)', '0/0', '', '', false),
  (2, 32767, 2147483647, 9223372036854775807, 'Infinity', 999.99, 99900, 'Infinity', 'Infinity', '92233720368547758.07', 4294967295, '4294967295', '18446744073709551615', '4294967295', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', 'x', repeat('n', 63), true),
  (3, 0, 0, 0, '-Infinity', -999.99, 0, '-Infinity', '-Infinity', '0', 2147483648, '3', '3', '3', '(1,1)', '16/B374D848', E'\\377', 'na"me', NULL),
  (4, NULL, NULL, NULL, 1e-1000, 0.01, NULL, 1.17549435e-38, 2.2250738585072014e-308, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, 1, 1, 1, 123456789012345678901234567890.123456789012345678901234567890, 1, 100, 3.4028235e38, 1.7976931348623157e308, '0.01', 1, '1', '1', '1', '(1,1)', '0/1', '''', '''', true),
  (6, 1, 1, 1, 0.000, 1, 100, '-0', '-0', '-0.01', 1, '1', '1', '1', '(1,1)', '0/1', ' ', ' ', true),
  (7, 1, 1, 1, 0.1, 1, 100, 1e-45, 5e-324, '1', 1, '1', '1', '1', '(1,1)', '0/1', '\', '\', true),
  (8, 1, 1, 1, 1.0, 1, 100, 0.1, 0.30000000000000004, '1', 1, '1', '1', '1', '(1,1)', '0/1', E'\n', E'\n', true);
INSERT INTO numbers (id, n) SELECT 9, (repeat('9', 131072) || '.' || repeat('9', 16383))::numeric;
CREATE TABLE times (id int PRIMARY KEY, d date, t time, t0 time(0), tz timetz, ts timestamp, tstz timestamptz, i interval, iy interval year to month, is3 interval second(3));
INSERT INTO times VALUES
  (1, '-infinity', '00:00', '00:00', '00:00+15:59:59', '-infinity', '-infinity', '-178000000 years', '1 year', '1.234 s'),
  (2, 'infinity', '24:00:00', '24:00', '24:00-15:59:59', 'infinity', 'infinity', '178000000 years', '-1 mon', '0'),
  (3, '4713-01-01 BC', '23:59:59.999999', '23:59', '12:00:00.000001-00:30', '4713-01-01 00:00 BC', '4713-01-01 00:00+00 BC', '1 mon -1 day 00:00:00.000001', NULL, NULL),
  (4, '5874897-12-31', '12:00', '12:00', '12:00+05:45', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '-1 mon 1 day -25:00:00', NULL, NULL),
  (5, '1900-02-28', '12:00', '12:00', '12:00', '1883-11-18 12:03:58', '1883-11-18 12:03:58-07:52:58', '00:00:00', NULL, NULL),
  (6, '0001-01-01', NULL, NULL, NULL, '0001-12-31 23:59:59 BC', '2026-03-29 01:30:00+00', '1 year 2 mons 3 days 04:05:06.789', NULL, NULL);
\if :is_17
INSERT INTO times (id, i) VALUES (7, 'infinity'), (8, '-infinity');
\endif
CREATE TABLE texts (id int PRIMARY KEY, t text, v varchar(10), c char(5), b bytea, bi bit(5), vb bit varying, u uuid, col text COLLATE "C", rc refcursor);
INSERT INTO texts VALUES
  (1, '', '', '', '', B'00000', B'', '00000000-0000-0000-0000-000000000000', '', ''),
  (2, E'\\N', '\.', 'a  ', '\x00ff0a0d5c', B'11111', B'101', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'ä', 'cursor'),
  (3, E'line\nreturn\rtab\tback\bform\fvert\vslash\\quote''double"', E'\n', E'\t', decode(repeat('00', 1000), 'hex'), B'10101', repeat('10', 500)::bit varying, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'Z', '"'),
  (4, E'\u00e9 e\u0301 \u202E \uFEFF \uFFFD \U0010FFFF', '😀😀', '😀', '\x', NULL, NULL, NULL, NULL, NULL),
  (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, E'\\.', E'\\\\', 'NULL', 'NULL', NULL, NULL, NULL, 'NULL', NULL),
  (7, E'\\.\n\\.\nCOPY x FROM stdin;\n\\.\n', NULL, NULL, NULL, NULL, NULL, NULL, E'a\nb', NULL);
-- Some servers are built without libxml, ICU or lz4.
CREATE TABLE of_xml (id int PRIMARY KEY, x xml);
DO $do$ BEGIN
  INSERT INTO of_xml VALUES (1, ''), (2, '<a b="c">&amp; 😀</a>'), (3, '<?xml version="1.0"?><r/>'), (4, 'text <!-- c --> only'), (5, NULL);
EXCEPTION WHEN feature_not_supported THEN INSERT INTO of_xml VALUES (6, NULL); END $do$;
DO $do$ BEGIN
  CREATE COLLATION german_phone (PROVIDER = icu, LOCALE = 'de-u-co-phonebk');
  CREATE COLLATION no_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
  CREATE TABLE of_icu (t text COLLATE no_case PRIMARY KEY, g text COLLATE german_phone);
  INSERT INTO of_icu VALUES ('abc', 'ä'), ('ABD', 'ae'), ('É', 'z');
EXCEPTION WHEN feature_not_supported OR undefined_object THEN NULL; END $do$;
DO $do$ BEGIN
  CREATE TABLE of_lz4 (t text COMPRESSION lz4); INSERT INTO of_lz4 SELECT repeat('abc', 100000);
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN NULL; END $do$;
CREATE TABLE documents (id int PRIMARY KEY, j json, jb jsonb, jp jsonpath, tv tsvector, tq tsquery);
INSERT INTO documents VALUES
  (1, '{"a": 1, "a": 2, "b":   [1,  2]}', '{"a": 1, "a": 2}', '$.a[*] ? (@.x > 1)', '''a'':1A,2B ''it''''s'':16383', '''a'' & !''b'' | ''c'':*AB <-> ''d'''),
  (2, 'null', 'null', 'strict $', '', ''),
  (3, '"\u00e9\n\\"', '1e400', 'lax $."k e\"y"', '''\\'':1', '!!a'),
  (4, ' [ ] ', '[]', '$.**{2 to last}', to_tsvector('english', 'The quick brown foxes'), to_tsquery('english', 'quick <2> fox')),
  (5, '123456789012345678901234567890.000', '123456789012345678901234567890.000', NULL, NULL, NULL),
  (6, NULL, jsonb_build_object('deep', (SELECT jsonb_agg(n) FROM generate_series(1, 5000) n)), NULL, NULL, NULL);
CREATE TABLE shapes (id int PRIMARY KEY, p point, l line, s lseg, b box, pa path, po polygon, c circle, i inet, ci cidr, m macaddr, m8 macaddr8);
INSERT INTO shapes VALUES
  (1, '(Infinity,-Infinity)', '{1,-1,0}', '[(0,0),(1,1)]', '(2,2),(1,1)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(0,0),1>', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'),
  (2, '(NaN,0)', '{0,1,1e300}', '[(-0,0),(1e-300,1e300)]', '(Infinity,1),(0,0)', '((0,0),(1,1))', '((0,0))', '<(1,2),0>', '::ffff:1.2.3.4/128', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff'),
  (3, NULL, NULL, NULL, NULL, '((1,1))', NULL, '<(0,0),Infinity>', '0.0.0.0/0', '::/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00');
CREATE TABLE arrays (id int PRIMARY KEY, a int[], t text[], n numeric[][], d date[], b bytea[], bo boolean[], j jsonb[], iv int2vector, ov oidvector);
INSERT INTO arrays VALUES
  (1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '', ''),
  (2, '[-2:0]={1,NULL,3}', ARRAY['', 'NULL', NULL, 'a,b', '{x}', 'q"q', 'b\b', E'n\nl', ' sp '], '{{1,2},{NaN,NULL}}', '{infinity,-infinity}', ARRAY['\x00'::bytea, ''], '{t,f,NULL}', ARRAY['{"a":"b,c"}'::jsonb, 'null'], '1 2 3', '1 4294967295'),
  (3, '[2:3][-1:0]={{1,2},{3,4}}', '{{a,b},{c,d}}', '[0:0][5:6]={{1.10,2.00}}', NULL, NULL, NULL, NULL, NULL, NULL),
  (4, (SELECT array_agg(n) FROM generate_series(1, 20000) n), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TYPE text_range AS RANGE (subtype = text, collation = "C", multirange_type_name = text_ranges);
CREATE FUNCTION float_gap(a float8, b float8) RETURNS float8 LANGUAGE sql IMMUTABLE RETURN a - b;
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float_gap);
CREATE TABLE ranges (id int PRIMARY KEY, i int4range, b int8range, n numrange, d daterange, ts tsrange, tz tstzrange, im int4multirange, dm datemultirange, tr text_range, tm text_ranges, fr float_range, ra int4range[]);
INSERT INTO ranges VALUES
  (1, 'empty', '(,)', '[NaN,NaN]', '[-infinity,infinity]', '(,infinity)', '[2020-01-01 00:00+00,)', '{}', '{}', '["a,b","c""d"]', '{["a","b"),["x",]}', '[1.5,Infinity]', '{empty,"[1,2)"}'),
  (2, '[1,1]', '[-9223372036854775808,)', '(1.10,2.00]', '(,2020-01-01]', 'empty', 'empty', '{[1,3),[5,)}', '{(,2000-01-01),[2020-01-01,]}', '["",)', '{}', 'empty', '{}');
CREATE TABLE catalogs (id int PRIMARY KEY, rc regclass, rp regproc, rpr regprocedure, rt regtype, ro regoper, ror regoperator, rn regnamespace, rr regrole, rco regconfig, rd regdictionary, rcl regcollation, ac aclitem, ts txid_snapshot, ps pg_snapshot);
INSERT INTO catalogs VALUES
  (1, 'torture.numbers', 'torture.float_gap', 'torture.float_gap(float8,float8)', 'torture.text_range', 'pg_catalog.||/', 'pg_catalog.+(int4,int4)', 'torture', 'torture_owner', 'pg_catalog.english', 'pg_catalog.simple', '"C"', 'torture_reader=r*w/torture_owner', '10:20:10,14,15', '10:20:10,14,15'),
  (2, '"odd schema"."se.q ""q"" 😀
x"', '-', '-', 'numeric(5,2)', '0', '0', '-', '-', NULL, NULL, '-', '=r/torture_owner', '1:1:', '1:1:'),
  (3, 0, NULL, NULL, 'int4[]', NULL, NULL, '"Schéma ""q"" ''a'' \ %s $1 . 😀"', '"Törture ""röle"" 😀; DROP -- ''x''"', NULL, NULL, NULL, NULL, NULL, NULL);

-- ---------------------------------------------------------------- own types
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', '', 'hap"py', '😀', 'with
newline');
ALTER TYPE mood ADD VALUE 'before' BEFORE 'sad';
CREATE DOMAIN positive AS int CHECK (VALUE > 0) DEFAULT 7;
CREATE DOMAIN positive_list AS positive[] CONSTRAINT "short; 'list'" CHECK (cardinality(VALUE) < 5) NOT NULL;
CREATE DOMAIN email AS text COLLATE "C" CHECK (VALUE ~ '^[^@\s]+@[^@\s]+$');
CREATE TYPE inner_pair AS (a int, "b c" text COLLATE "C");
CREATE TYPE outer_pair AS (x inner_pair, y inner_pair[], m mood, e email);
CREATE DOMAIN outer_checked AS outer_pair CHECK ((VALUE).m IS DISTINCT FROM 'sad');
CREATE TABLE own_types (id int PRIMARY KEY, m mood, ms mood[], p positive, pl positive_list DEFAULT '{1}', o outer_pair, oc outer_checked, os outer_pair[]);
INSERT INTO own_types VALUES
  (1, '', '{"",NULL,"hap\"py"}', 1, '{1,2}', ROW(ROW(1, 'a,b'), ARRAY[ROW(2, '"')::inner_pair, NULL], '😀', 'a@b'), ROW(NULL, NULL, NULL, NULL), NULL),
  (2, 'before', '{}', NULL, '{}', ROW(ROW(NULL, ''), '{}', NULL, NULL), NULL, ARRAY[ROW(ROW(1, E'\n'), NULL, 'it''s ok', NULL)::outer_pair]),
  (3, 'with
newline', NULL, 7, '{7}', NULL, NULL, '{}');
CREATE TABLE of_type OF inner_pair (PRIMARY KEY (a));
INSERT INTO of_type VALUES (1, 'typed'), (2, NULL);
CREATE TYPE shell_only;

-- ---------------------------------------------------------------- columns that the server fills
CREATE TABLE filled (
  id bigint GENERATED ALWAYS AS IDENTITY (START 1000 INCREMENT 7) PRIMARY KEY,
  other int GENERATED BY DEFAULT AS IDENTITY, ser smallserial, net numeric NOT NULL,
  gross numeric GENERATED ALWAYS AS (net * 1.2) STORED, made timestamptz DEFAULT now(), gone int, u uuid DEFAULT gen_random_uuid());
INSERT INTO filled (net) SELECT n / 3.0 FROM generate_series(1, 100) n;
ALTER TABLE filled DROP COLUMN gone;
ALTER TABLE filled ADD COLUMN late text DEFAULT 'fast default';
SELECT setval('filled_other_seq', 5000, false);
\if :is_18
CREATE TABLE virtual (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL, thrice int GENERATED ALWAYS AS (a * 3) STORED);
INSERT INTO virtual (id, a) SELECT n, n FROM generate_series(1, 50) n;
CREATE TABLE temporal (id int, valid daterange, CONSTRAINT temporal_unique UNIQUE (id, valid));
CREATE TABLE not_null_18 (a int CONSTRAINT "named not null" NOT NULL, b int);
INSERT INTO not_null_18 VALUES (1, NULL);
ALTER TABLE not_null_18 ADD CONSTRAINT b_later NOT NULL b NOT VALID;
CREATE TABLE unenforced (a int REFERENCES virtual NOT ENFORCED, b int CHECK (b > 0) NOT ENFORCED);
INSERT INTO unenforced VALUES (999, -1);
\endif
CREATE SEQUENCE never_called; CREATE SEQUENCE called_once AS smallint; SELECT nextval('called_once');
CREATE SEQUENCE at_end AS int MAXVALUE 3; SELECT setval('at_end', 3);
CREATE UNLOGGED SEQUENCE unlogged_seq; SELECT nextval('unlogged_seq');
SELECT setval('never_called', 1, false);

-- ---------------------------------------------------------------- sizes
CREATE TABLE no_columns (); INSERT INTO no_columns SELECT FROM generate_series(1, 5);
CREATE TABLE no_rows (a int PRIMARY KEY, b text);
CREATE TABLE no_rows_no_columns ();
CREATE TABLE dropped_all (a int); INSERT INTO dropped_all VALUES (1), (2); ALTER TABLE dropped_all DROP COLUMN a;
CREATE TABLE duplicates (a int, b json, c point); INSERT INTO duplicates SELECT 1, '{"x": 1}', '(1,1)' FROM generate_series(1, 3);
INSERT INTO duplicates VALUES (1, '{"x":1}', '(1,1)'), (NULL, NULL, NULL), (NULL, NULL, NULL);
SELECT format('CREATE TABLE wide (%s)', string_agg(format('c%s int', n), ', ' ORDER BY n)) FROM generate_series(1, 1600) n \gexec
INSERT INTO wide (c1, c2, c1600) VALUES (1, 2, 1600), (NULL, NULL, NULL);
CREATE TABLE toasted (id int PRIMARY KEY, plain text, ext text, packed text, raw bytea);
ALTER TABLE toasted ALTER plain SET STORAGE EXTENDED, ALTER ext SET STORAGE EXTERNAL, ALTER packed SET STORAGE MAIN;
INSERT INTO toasted SELECT n, repeat('abc', n * 10000), repeat(md5(n::text), 3000), repeat('x', 500000),
  (SELECT string_agg(sha256((n || ':' || m)::text::bytea), ''::bytea ORDER BY m) FROM generate_series(1, 5000) m) FROM generate_series(1, 5) n;
CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY); INSERT INTO unlogged SELECT generate_series(1, 10);
CREATE TABLE stored_with (a int, b text) WITH (fillfactor = 50, autovacuum_enabled = false, toast.autovacuum_enabled = false);
INSERT INTO stored_with SELECT n, n::text FROM generate_series(1, 500) n;
ALTER TABLE stored_with ALTER a SET STATISTICS 500; ALTER TABLE stored_with ALTER b SET (n_distinct = -0.5);
ALTER TABLE stored_with REPLICA IDENTITY FULL;

-- ---------------------------------------------------------------- partitions, inheritance
CREATE TABLE by_list (kind text, at date, n int, PRIMARY KEY (kind, at, n)) PARTITION BY LIST (kind);
CREATE TABLE by_list_a PARTITION OF by_list FOR VALUES IN ('a', 'A', '') PARTITION BY RANGE (at);
CREATE TABLE by_list_a_old PARTITION OF by_list_a FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE by_list_a_new PARTITION OF by_list_a FOR VALUES FROM ('2020-01-01') TO (MAXVALUE) PARTITION BY HASH (n);
CREATE TABLE by_list_a_new_0 PARTITION OF by_list_a_new FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE by_list_a_new_1 PARTITION OF by_list_a_new FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE by_list_a_new_2 (n int NOT NULL, junk int, at date NOT NULL, kind text NOT NULL);
ALTER TABLE by_list_a_new_2 DROP COLUMN junk;
ALTER TABLE by_list_a_new ATTACH PARTITION by_list_a_new_2 FOR VALUES WITH (MODULUS 3, REMAINDER 2);
CREATE TABLE by_list_rest PARTITION OF by_list DEFAULT;
INSERT INTO by_list SELECT (ARRAY['a', 'A', '', 'b', '😀'])[1 + n % 5], date '2019-12-01' + n % 60, n FROM generate_series(1, 2000) n;
CREATE INDEX by_list_n ON by_list (n); CREATE INDEX by_list_only ON ONLY by_list (at);
CREATE TABLE by_enum_hash (m mood, v int) PARTITION BY HASH (m);
CREATE TABLE by_enum_hash_0 PARTITION OF by_enum_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_enum_hash_1 PARTITION OF by_enum_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_enum_hash SELECT m, 1 FROM unnest(enum_range(NULL::mood)) m;
CREATE TABLE no_partitions (a int) PARTITION BY RANGE (a);
CREATE TABLE parent (id int, note text DEFAULT 'p', CONSTRAINT note_short CHECK (length(note) < 100));
CREATE TABLE second_parent (id int, extra int, CONSTRAINT local_only CHECK (extra > 0) NO INHERIT);
CREATE TABLE child (own int) INHERITS (parent, second_parent);
CREATE TABLE grandchild (note text DEFAULT 'g') INHERITS (child);
INSERT INTO parent VALUES (1, 'parent'); INSERT INTO second_parent VALUES (2, 20);
INSERT INTO child VALUES (3, 'child', -30, 300); INSERT INTO grandchild VALUES (4, 'grandchild', 40, 400);

-- ---------------------------------------------------------------- constraints
CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL); CREATE TABLE hen (id int PRIMARY KEY, egg int NOT NULL REFERENCES egg DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE egg ADD CONSTRAINT "egg; needs hen" FOREIGN KEY (hen) REFERENCES hen ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED;
BEGIN; INSERT INTO egg VALUES (1, 1), (2, 2); INSERT INTO hen VALUES (1, 2), (2, 1); COMMIT;
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree); INSERT INTO tree VALUES (1, 2), (2, 1), (3, 3), (4, NULL);
CREATE TABLE not_valid (a int, b int); INSERT INTO not_valid VALUES (-1, 99);
ALTER TABLE not_valid ADD CONSTRAINT positive_later CHECK (a > 0) NOT VALID;
ALTER TABLE not_valid ADD CONSTRAINT tree_later FOREIGN KEY (b) REFERENCES tree NOT VALID;
CREATE TABLE excluded (during tsrange, EXCLUDE USING gist (during WITH &&) DEFERRABLE);
INSERT INTO excluded VALUES ('[2020-01-01,2020-02-01)'), ('[2020-02-01,)');
CREATE TABLE uniques (a int NOT NULL, b int, c text, UNIQUE NULLS NOT DISTINCT (a), UNIQUE (b) INCLUDE (c) DEFERRABLE INITIALLY IMMEDIATE);
CREATE UNIQUE INDEX uniques_partial ON uniques (lower(c)) WHERE b > 10;
ALTER TABLE uniques REPLICA IDENTITY USING INDEX uniques_a_key;

-- ---------------------------------------------------------------- views and materialised views
CREATE VIEW plain_view AS SELECT id, t FROM texts WHERE t <> E'quo''te\\';
CREATE VIEW checked_view WITH (security_barrier, security_invoker) AS SELECT * FROM numbers WHERE i4 > 0 WITH LOCAL CHECK OPTION;
CREATE VIEW by_key AS SELECT n.id, n.b, count(*) AS c FROM numbers n JOIN times USING (id) GROUP BY n.id;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 10;
CREATE VIEW circle_a AS SELECT 1 AS x; CREATE VIEW circle_b AS SELECT x FROM circle_a;
CREATE OR REPLACE VIEW circle_a AS SELECT x FROM circle_b;
CREATE VIEW rowtype_view AS SELECT 1 AS a, 'x'::text AS b;
CREATE FUNCTION takes_view(v rowtype_view) RETURNS int LANGUAGE sql IMMUTABLE RETURN (v).a;
CREATE OR REPLACE VIEW rowtype_view AS SELECT 1 AS a, 'x'::text AS b WHERE takes_view(ROW(1, 'x')::rowtype_view) = 1;
CREATE TABLE has_default_from_itself (a int);
CREATE FUNCTION counts_itself() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) FROM has_default_from_itself; END;
ALTER TABLE has_default_from_itself ADD COLUMN b bigint DEFAULT counts_itself();
INSERT INTO has_default_from_itself (a) VALUES (1);
CREATE MATERIALIZED VIEW sums AS SELECT kind, count(*) AS c, sum(n) AS s FROM by_list GROUP BY kind WITH DATA;
CREATE UNIQUE INDEX ON sums (kind);
CREATE MATERIALIZED VIEW sums_of_sums AS SELECT sum(c) AS c FROM sums;
CREATE MATERIALIZED VIEW unpopulated AS SELECT * FROM sums WITH NO DATA;
CREATE VIEW on_matview AS SELECT * FROM sums_of_sums;
CREATE MATERIALIZED VIEW a_first_by_name AS SELECT * FROM on_matview;
ALTER VIEW plain_view ALTER COLUMN t SET DEFAULT 'view default';
COMMENT ON MATERIALIZED VIEW sums IS 'a ''matview''';

-- ---------------------------------------------------------------- code
CREATE FUNCTION body_tags(a text DEFAULT E'\\', VARIADIC r int[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql STRICT COST 7 AS $body$
BEGIN
  -- ; $$ ' " /* not a comment
  RETURN $_$it's; $x$ $_$ || a;
END;
$body$;
CREATE FUNCTION as_owner() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '8MB' PARALLEL SAFE LEAKPROOF AS 'SELECT current_user::text';
ALTER FUNCTION as_owner() OWNER TO torture_owner;
CREATE FUNCTION many(OUT a int, OUT b text) RETURNS SETOF record LANGUAGE sql ROWS 5 AS 'SELECT 1, ''x''';
CREATE FUNCTION as_table() RETURNS TABLE ("odd; col" int) LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE "pro;c"(INOUT a int) LANGUAGE plpgsql AS $$BEGIN a := a + 1; COMMIT; END$$;
CREATE FUNCTION missing_table() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN (SELECT 1 FROM does_not_exist); END$$;
CREATE AGGREGATE joined (text) (SFUNC = textcat, STYPE = text, INITCOND = '');
CREATE FUNCTION same_pair(inner_pair, inner_pair) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN ($1).a = ($2).a;
CREATE OPERATOR === (LEFTARG = inner_pair, RIGHTARG = inner_pair, FUNCTION = same_pair, COMMUTATOR = ===);
CREATE OPERATOR <=#> (RIGHTARG = int, FUNCTION = int4um);
CREATE FUNCTION mood_of(int) RETURNS mood LANGUAGE sql IMMUTABLE AS $$SELECT CASE WHEN $1 > 0 THEN '😀' ELSE 'sad' END::torture.mood$$;
CREATE CAST (int AS mood) WITH FUNCTION mood_of(int) AS ASSIGNMENT;
CREATE CAST (inner_pair AS text) WITH INOUT;
CREATE FUNCTION backwards_cmp(int, int) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT btint4cmp($2, $1)';
CREATE OPERATOR CLASS backwards FOR TYPE int USING btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 backwards_cmp(int, int);
CREATE OPERATOR FAMILY lonely USING hash;
CREATE INDEX numbers_backwards ON numbers (id backwards);
CREATE COLLATION "my C" FROM "C"; CREATE COLLATION plain_posix (PROVIDER = libc, LOCALE = 'POSIX');
CREATE CONVERSION utf8_to_latin1_again FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
CREATE TEXT SEARCH DICTIONARY stop_free (TEMPLATE = simple, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION odd_config (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION odd_config ALTER MAPPING FOR word WITH stop_free, english_stem;
CREATE ACCESS METHOD heap_again TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE on_heap_again (a int) USING heap_again; INSERT INTO on_heap_again VALUES (1);
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));
CREATE STATISTICS numbers_stats (dependencies, ndistinct, mcv) ON i4, i8 FROM numbers;
CREATE STATISTICS expression_stats ON (lower(t)) FROM texts; ALTER STATISTICS numbers_stats SET STATISTICS 50;

-- ---------------------------------------------------------------- triggers, rules, policies
CREATE TABLE audit (at int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO torture.audit (what) VALUES (TG_NAME); RETURN NEW; END$$;
CREATE TABLE triggered (a int PRIMARY KEY, b text);
CREATE TRIGGER normal BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION note_change();
CREATE TRIGGER disabled AFTER INSERT ON triggered FOR EACH STATEMENT EXECUTE FUNCTION note_change();
CREATE TRIGGER always AFTER UPDATE OF b ON triggered FOR EACH ROW WHEN (OLD.b IS DISTINCT FROM NEW.b) EXECUTE FUNCTION note_change('arg; ''q''', E'\\');
CREATE TRIGGER replica AFTER DELETE ON triggered REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_change();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON triggered DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_change();
ALTER TABLE triggered DISABLE TRIGGER disabled, ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica;
CREATE TRIGGER on_partitions AFTER INSERT ON by_list FOR EACH ROW EXECUTE FUNCTION note_change();
ALTER TABLE by_list_rest DISABLE TRIGGER on_partitions;
INSERT INTO triggered VALUES (1, 'x'), (2, 'y'); UPDATE triggered SET b = 'z' WHERE a = 1;
CREATE RULE plain_view_insert AS ON INSERT TO plain_view DO INSTEAD INSERT INTO texts (id, t) VALUES (NEW.id, NEW.t);
CREATE RULE also AS ON DELETE TO triggered DO ALSO NOTIFY "odd;channel";
ALTER TABLE triggered DISABLE RULE also;
CREATE TABLE guarded (id int PRIMARY KEY, owner text, secret text);
INSERT INTO guarded SELECT n, CASE WHEN n % 2 = 0 THEN 'torture_reader' ELSE 'nobody' END, 'secret ' || n FROM generate_series(1, 40) n;
ALTER TABLE guarded OWNER TO torture_owner; ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY "own rows; only" ON guarded FOR SELECT TO torture_reader, torture_writer USING (owner = current_user);
CREATE POLICY never_big ON guarded AS RESTRICTIVE FOR ALL USING (id < 1000) WITH CHECK (secret <> 'it''s');
ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RETURN; END$$;
CREATE EVENT TRIGGER "odd; event" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION on_ddl();
CREATE EVENT TRIGGER never_fires ON sql_drop EXECUTE FUNCTION on_ddl(); ALTER EVENT TRIGGER never_fires DISABLE;
COMMENT ON EVENT TRIGGER never_fires IS 'disabled';

-- ---------------------------------------------------------------- rights
GRANT USAGE ON SCHEMA torture TO torture_reader, PUBLIC; GRANT ALL ON SCHEMA "odd schema" TO "Törture ""röle"" 😀; DROP -- 'x'" WITH GRANT OPTION;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT SELECT, INSERT ON numbers TO torture_group WITH GRANT OPTION;
SET ROLE torture_group; GRANT SELECT ON torture.numbers TO torture_reader; RESET ROLE;
GRANT SELECT (id, t), UPDATE (t) ON texts TO torture_reader; GRANT REFERENCES (id) ON texts TO PUBLIC;
GRANT ALL ON guarded TO torture_writer; REVOKE ALL ON duplicates FROM CURRENT_USER;
GRANT USAGE ON SEQUENCE at_end TO torture_reader; GRANT USAGE ON TYPE mood TO torture_reader; REVOKE USAGE ON TYPE email FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION as_owner() FROM PUBLIC; GRANT EXECUTE ON FUNCTION as_owner() TO "Törture ""röle"" 😀; DROP -- 'x'";
GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_reset() TO torture_reader;
GRANT USAGE ON LANGUAGE plpgsql TO torture_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner IN SCHEMA torture GRANT SELECT ON TABLES TO torture_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner GRANT USAGE ON SEQUENCES TO torture_group WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner GRANT ALL ON SCHEMAS TO torture_writer;
SET ROLE torture_owner; CREATE TABLE torture.by_owner (a int); CREATE SEQUENCE torture.seq_by_owner; RESET ROLE;
ALTER TYPE mood OWNER TO torture_owner; ALTER VIEW checked_view OWNER TO "Törture ""röle"" 😀; DROP -- 'x'";
ALTER TABLE by_list_rest OWNER TO torture_owner; ALTER SCHEMA "odd schema" OWNER TO torture_owner;

-- ---------------------------------------------------------------- large objects
SELECT lo_create(4200001); SELECT lo_from_bytea(4200002, ''); SELECT lo_from_bytea(4200003, 'one\000two'::bytea);
SELECT lo_from_bytea(4200004, (SELECT string_agg(sha256(n::text::bytea), ''::bytea ORDER BY n) FROM generate_series(1, 100000) n));
SELECT lo_create(4200005); SELECT lo_put(4200005, 1000000, '\xff');
SELECT lo_from_bytea(4294967295, 'the last oid');
ALTER LARGE OBJECT 4200003 OWNER TO torture_owner; GRANT SELECT ON LARGE OBJECT 4200003 TO torture_reader WITH GRANT OPTION;
GRANT SELECT, UPDATE ON LARGE OBJECT 4200004 TO PUBLIC; COMMENT ON LARGE OBJECT 4200004 IS 'large; ''object''';

-- ---------------------------------------------------------------- the rest of the catalogues
CREATE FOREIGN DATA WRAPPER "fdw; odd" OPTIONS (debug 'tr''ue');
CREATE SERVER "server ""q""" TYPE 'ty''pe' VERSION '1.0' FOREIGN DATA WRAPPER "fdw; odd" OPTIONS (host 'h; --', "odd option" E'\\');
CREATE USER MAPPING FOR torture_reader SERVER "server ""q""" OPTIONS (password 'p''w; $$');
CREATE USER MAPPING FOR PUBLIC SERVER "server ""q""";
CREATE FOREIGN TABLE far_away (a int OPTIONS (name 'x;y') NOT NULL, b text COLLATE "C" DEFAULT 'd') SERVER "server ""q""" OPTIONS (tab 'le');
GRANT USAGE ON FOREIGN SERVER "server ""q""" TO torture_reader; GRANT SELECT ON far_away TO torture_reader;
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert');
CREATE PUBLICATION "some; odd" FOR TABLE texts (id, t) WHERE (id > 3), TABLE egg WITH (publish_via_partition_root);
CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA "odd schema", TABLE torture.hen;
CREATE PUBLICATION nothing;
CREATE SUBSCRIPTION "sub; odd" CONNECTION 'host=nowhere.invalid password=x' PUBLICATION everything WITH (connect = false, slot_name = NONE);
CREATE TABLE clustered (a int CONSTRAINT clustered_key PRIMARY KEY, b int); INSERT INTO clustered VALUES (2, 1), (1, 2);
ALTER TABLE clustered CLUSTER ON clustered_key;
CREATE INDEX "expr; index" ON texts ((lower(t) || ';'), (id % 2)) INCLUDE (v) WHERE t IS NOT NULL;
CREATE INDEX texts_brin ON texts USING brin (id) WITH (pages_per_range = 8); CREATE INDEX arrays_gin ON arrays USING gin (a);
CREATE INDEX texts_hash ON texts USING hash (id); CREATE INDEX shapes_gist ON shapes USING gist (b); CREATE INDEX shapes_spgist ON shapes USING spgist (b);
CREATE INDEX texts_desc ON texts (id DESC NULLS LAST, t COLLATE "C" text_pattern_ops);
COMMENT ON SCHEMA torture IS 'schema'; COMMENT ON TYPE mood IS 'type; '' 😀'; COMMENT ON DOMAIN email IS 'domain'; COMMENT ON FUNCTION as_owner() IS 'function';
COMMENT ON INDEX "expr; index" IS 'index'; COMMENT ON CONSTRAINT "egg; needs hen" ON egg IS 'constraint'; COMMENT ON TRIGGER normal ON triggered IS 'trigger';
COMMENT ON RULE also ON triggered IS 'rule'; COMMENT ON POLICY never_big ON guarded IS 'policy'; COMMENT ON SEQUENCE at_end IS 'sequence'; COMMENT ON VIEW plain_view IS 'view';
COMMENT ON COLUMN plain_view.t IS 'view column'; COMMENT ON COLUMN inner_pair."b c" IS 'composite column'; COMMENT ON AGGREGATE joined (text) IS 'aggregate';
COMMENT ON OPERATOR === (inner_pair, inner_pair) IS 'operator'; COMMENT ON CAST (int AS mood) IS 'cast'; COMMENT ON COLLATION "my C" IS 'collation';
COMMENT ON CONVERSION utf8_to_latin1_again IS 'conversion'; COMMENT ON TEXT SEARCH CONFIGURATION odd_config IS 'config'; COMMENT ON TEXT SEARCH DICTIONARY stop_free IS 'dictionary';
COMMENT ON STATISTICS numbers_stats IS 'statistics'; COMMENT ON PUBLICATION everything IS 'publication'; COMMENT ON SUBSCRIPTION "sub; odd" IS 'subscription';
COMMENT ON FOREIGN TABLE far_away IS 'foreign table'; COMMENT ON SERVER "server ""q""" IS 'server'; COMMENT ON FOREIGN DATA WRAPPER "fdw; odd" IS 'wrapper';
COMMENT ON OPERATOR CLASS backwards USING btree IS 'class'; COMMENT ON OPERATOR FAMILY lonely USING hash IS 'family'; COMMENT ON PROCEDURE "pro;c" IS 'procedure';
COMMENT ON ACCESS METHOD heap_again IS 'method'; COMMENT ON CONSTRAINT "short; 'list'" ON DOMAIN positive_list IS 'domain constraint';
COMMENT ON EXTENSION plpgsql IS 'a comment of our own';

-- ---------------------------------------------------------------- what depends on an extension
\if :has_hstore
CREATE TABLE of_hstore (id int PRIMARY KEY, h "odd schema".hstore, hs "odd schema".hstore[]);
INSERT INTO of_hstore VALUES (1, '"a"=>"1", "b c"=>NULL, "q\"" => "\\"', ARRAY['"x"=>"y"'::"odd schema".hstore, NULL]), (2, '', '{}'), (3, NULL, NULL);
CREATE INDEX ON of_hstore USING gin (h);
\endif
\if :has_citext
CREATE TABLE of_citext (c citext PRIMARY KEY, n int); INSERT INTO of_citext VALUES ('Abc', 1), ('abd', 2), ('ÄB', 3);
\endif
\if :has_ltree
CREATE TABLE of_ltree (p ltree PRIMARY KEY, q lquery, t ltxtquery); INSERT INTO of_ltree VALUES ('Top.Science', '*.Sci*{1,2}', 'a & b'), ('', NULL, NULL);
\endif
\if :has_btree_gist
CREATE TABLE of_btree_gist (room int, during tstzrange, EXCLUDE USING gist (room WITH =, during WITH &&)); INSERT INTO of_btree_gist VALUES (1, '[2020-01-01,2020-01-02)');
\if :is_18
CREATE TABLE without_overlaps (room int, during daterange, PRIMARY KEY (room, during WITHOUT OVERLAPS)); INSERT INTO without_overlaps VALUES (1, '[2020-01-01,2020-01-02)');
\endif
\endif
\if :has_pg_trgm
CREATE INDEX texts_trgm ON texts USING gin (t gin_trgm_ops);
\endif
\if :has_vector
CREATE TABLE of_vector (id int PRIMARY KEY, v vector(3), h halfvec(2), s sparsevec(5)); INSERT INTO of_vector VALUES (1, '[1,-2.5,1e-38]', '[1,65504]', '{1:1,5:-2}/5'), (2, NULL, NULL, NULL);
CREATE INDEX ON of_vector USING hnsw (v vector_l2_ops);
\endif
\if :has_isn
CREATE TABLE of_isn (i isbn13 PRIMARY KEY, e ean13); INSERT INTO of_isn VALUES ('978-0-393-04002-9', '9780393040029');
\endif
\if :has_cube
CREATE TABLE of_cube (c cube); INSERT INTO of_cube VALUES ('(1,2),(3,4)'), ('(0)');
\endif
\if :has_postgres_fdw
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1', dbname 'x'); CREATE FOREIGN TABLE not_dumped (a int) SERVER elsewhere;
\endif
