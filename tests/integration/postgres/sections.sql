-- A small database with whatever falls between the sections of a dump.
CREATE SCHEMA "Odd.Schema";
COMMENT ON SCHEMA "Odd.Schema" IS 'with a dot';
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);

CREATE TABLE parent (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, feeling mood);
INSERT INTO parent (name, feeling) SELECT 'n' || i, 'glad' FROM generate_series(1, 500) i;
CREATE TABLE child (
    id serial PRIMARY KEY,
    parent integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED,
    amount positive,
    doubled integer GENERATED ALWAYS AS (amount * 2) STORED
);
INSERT INTO child (parent, amount) SELECT 1 + i % 500, i FROM generate_series(1, 2000) i;
ALTER TABLE parent ADD COLUMN favourite integer REFERENCES child;
UPDATE parent SET favourite = id;
ALTER TABLE child ADD CONSTRAINT below CHECK (amount < 1000) NOT VALID;
CREATE SEQUENCE lonely START 7 INCREMENT 3 CYCLE MAXVALUE 100;
SELECT nextval('lonely'), nextval('lonely');
CREATE SEQUENCE never_called START 5;
COMMENT ON COLUMN child.amount IS 'it''s an amount';

CREATE TABLE "Odd.Schema"."a ""quoted"".$name *?" ("select" text, "naïve 🗄" bytea);
INSERT INTO "Odd.Schema"."a ""quoted"".$name *?" VALUES (E'tab\tnewline\nback\\slash', '\x00ff'), (NULL, ''), ('', NULL);

CREATE TABLE measurement (at date NOT NULL, value numeric) PARTITION BY RANGE (at);
CREATE TABLE measurement_2024 PARTITION OF measurement FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE measurement_rest PARTITION OF measurement DEFAULT;
CREATE INDEX ON measurement (value);
INSERT INTO measurement SELECT date '2023-12-01' + i, i / 3.0 FROM generate_series(1, 600) i;
CREATE TABLE person (name text);
CREATE TABLE employee (pay integer) INHERITS (person);
INSERT INTO person VALUES ('p');
INSERT INTO employee VALUES ('e', 1);

CREATE MATERIALIZED VIEW totals AS SELECT parent, sum(amount) AS total FROM child GROUP BY parent;
CREATE UNIQUE INDEX ON totals (parent);
CREATE MATERIALIZED VIEW of_totals AS SELECT count(*) FROM totals;
CREATE MATERIALIZED VIEW unpopulated AS SELECT 1 AS one WITH NO DATA;
CREATE VIEW glad AS SELECT * FROM parent WHERE feeling = 'glad';
CREATE RULE quiet AS ON DELETE TO child WHERE old.amount = 1 DO INSTEAD NOTHING;
CREATE STATISTICS linked (dependencies) ON parent, amount FROM child;

CREATE ROLE :reader;
CREATE ROLE :owner;
GRANT USAGE ON SCHEMA "Odd.Schema" TO :reader;
GRANT SELECT (name) ON parent TO :reader;
GRANT UPDATE ON SEQUENCE lonely TO :reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO :reader;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER TABLE person OWNER TO :owner;
ALTER TABLE child ENABLE ROW LEVEL SECURITY;
ALTER TABLE child FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON child FOR SELECT TO :reader USING (amount < 10);

CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'triggers must not fire while restoring'; END $$;
CREATE TRIGGER touched AFTER INSERT ON child FOR EACH STATEMENT EXECUTE FUNCTION touched();
ALTER TABLE child ENABLE ALWAYS TRIGGER touched;
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'event triggers must not fire while restoring'; END $$;
CREATE PUBLICATION everything FOR TABLE parent, child WITH (publish = 'insert');

SELECT lo_from_bytea(100001, '\x0001ff');
SELECT lo_from_bytea(100002, decode(repeat('ab', 300000), 'hex'));
SELECT lo_from_bytea(100003, '');
COMMENT ON LARGE OBJECT 100001 IS 'a scan';
ALTER LARGE OBJECT 100002 OWNER TO :owner;
GRANT SELECT ON LARGE OBJECT 100001 TO :reader;

CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION watch();
