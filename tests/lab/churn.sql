-- What a busy application does while a backup runs. Balances always add up to the same.
CREATE TABLE control (is_over boolean);
CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL);
INSERT INTO account SELECT n, 1000 FROM generate_series(1, 200) n;
CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source int REFERENCES account, target int REFERENCES account, amount int NOT NULL);
-- Large enough to be dumped apart from the others.
CREATE TABLE bulk (id int PRIMARY KEY, touched int NOT NULL DEFAULT 0, filling text) WITH (fillfactor = 70);
ALTER TABLE bulk ALTER filling SET STORAGE PLAIN;
INSERT INTO bulk SELECT n, 0, repeat(md5(n::text), 150) FROM generate_series(1, 4500) n;
CREATE TABLE noise (id int, v text);
CREATE TABLE queue (id bigint GENERATED ALWAYS AS IDENTITY, v text);
SELECT format('ALTER DATABASE %I SET lock_timeout = %L', current_database(), '20ms') \gexec

CREATE PROCEDURE churn(seed int) LANGUAGE plpgsql AS $$
DECLARE
  a int; b int; amount int; n int := 0;
BEGIN
  PERFORM setseed(seed / 100.0);
  WHILE NOT EXISTS (SELECT FROM control) LOOP
    n := n + 1; a := 1 + floor(random() * 200); b := 1 + floor(random() * 200); amount := floor(random() * 50);
    BEGIN
      PERFORM FROM account WHERE id IN (a, b) ORDER BY id FOR UPDATE;
      UPDATE account SET balance = balance - amount WHERE id = a;
      UPDATE account SET balance = balance + amount WHERE id = b;
      INSERT INTO ledger (source, target, amount) VALUES (a, b, amount);
      UPDATE bulk SET touched = touched + amount WHERE id = a;
      INSERT INTO queue (v) VALUES (md5(random()::text));
      DELETE FROM queue WHERE id IN (SELECT id FROM queue ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) AND n % 2 = 0;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN NULL;
    END;
    COMMIT;
    PERFORM pg_sleep(0.005);
    BEGIN
      CASE n % 48
        WHEN 0 THEN TRUNCATE noise; INSERT INTO noise SELECT n, 'row ' || i FROM generate_series(1, n % 50) i;
        WHEN 8 THEN EXECUTE format('CREATE TABLE made_%s_%s AS SELECT i AS v FROM generate_series(1, %s) i', seed, n / 48 % 10, n % 40);
        WHEN 16 THEN EXECUTE format('DROP TABLE IF EXISTS made_%s_%s', seed, (n / 48 + 5) % 10);
        WHEN 24 THEN EXECUTE format('ALTER TABLE noise ADD COLUMN c_%s_%s int DEFAULT %s', seed, n, n);
        WHEN 32 THEN EXECUTE format('ALTER TABLE noise DROP COLUMN IF EXISTS c_%s_%s', seed, n - 8);
        WHEN 40 THEN EXECUTE format('ALTER TABLE IF EXISTS made_%s_%s RENAME TO renamed_%s_%s', seed, (n / 48 + 9) % 10, seed, n);
        ELSE NULL;
      END CASE;
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR duplicate_table OR too_many_columns OR undefined_table THEN NULL;
    END;
    COMMIT;
  END LOOP;
END $$;
