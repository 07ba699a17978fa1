"""The measured database: three thirds, made from a seed, and what a business day does to it.

A third like pgbench's (its accounts in eight partitions), a third the sample portal, a third one
table, several times as large as the next. Sizes are those of an uncompressed dump.
"""

from __future__ import annotations

import concurrent.futures
from datetime import timedelta

from backup.demo.portal import as_script, change_sql, create_sql
from backup.postgres.dsn import Dsn
from backup.postgres.process import Command, run
from backup.postgres.tools import Tools

_PORTAL_BYTES = 179_000_000
_ACCOUNT_BYTES = 104
_READING_BYTES = 193
_LIMIT = timedelta(hours=1)

_PGBENCH = """
CREATE TABLE pgbench_branches (bid integer NOT NULL, bbalance integer, filler character(88));
CREATE TABLE pgbench_tellers (tid integer NOT NULL, bid integer, tbalance integer,
    filler character(84));
CREATE TABLE pgbench_accounts (aid integer NOT NULL, bid integer, abalance integer,
    filler character(84)) PARTITION BY RANGE (aid);
CREATE TABLE pgbench_history (tid integer, bid integer, aid integer, delta integer,
    mtime timestamp, filler character(22));
SELECT format('CREATE TABLE pgbench_accounts_%s PARTITION OF pgbench_accounts '
              'FOR VALUES FROM (%s) TO (%s)', part, part * {accounts} / 8 + 1,
              (part + 1) * {accounts} / 8 + 1)
FROM generate_series(0::bigint, 7) AS part \\gexec
INSERT INTO pgbench_branches SELECT b, 0, NULL FROM generate_series(1, {branches}) AS b;
INSERT INTO pgbench_tellers
    SELECT t, 1 + (t - 1) / 10, 0, NULL FROM generate_series(1, {branches} * 10) AS t;
INSERT INTO pgbench_accounts
    SELECT a, 1 + (a - 1) / 100000, hashint8extended(a, 1) % 100000, ''
    FROM generate_series(1, {accounts}) AS a;
ALTER TABLE pgbench_branches ADD PRIMARY KEY (bid);
ALTER TABLE pgbench_tellers ADD PRIMARY KEY (tid);
ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid);
"""

_READINGS = """
CREATE SCHEMA telemetry;
CREATE TABLE telemetry.readings (reading_id bigint NOT NULL, taken_at timestamptz NOT NULL,
    device integer NOT NULL, kind text NOT NULL, value numeric(12, 4) NOT NULL, session uuid,
    note text);
CREATE FUNCTION pg_temp.readings(first bigint, last bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO telemetry.readings
    SELECT n, timestamptz '2024-01-01 00:00+00' + n * interval '37 seconds',
           1 + (hashint8extended(n, 2) & 65535) % 4000,
           (ARRAY['temperature', 'pressure', 'flow', 'level'])[1 + (hashint8extended(n, 3) & 3)],
           (hashint8extended(n, 4) & 1073741823) / 10000.0, md5('session' || n / 9)::uuid,
           'checked by shift ' || n % 3 || ', ticket ' || (hashint8extended(n, 5) & 1048575)
           || ', calibrated against reference ' || md5((n / 50)::text)
    FROM generate_series(first, last) AS n
$$;
SELECT pg_temp.readings(1, {readings});
ALTER TABLE telemetry.readings ADD PRIMARY KEY (reading_id);
CREATE INDEX ON telemetry.readings (device, taken_at);
"""

# One account in a thousand, among the newest twentieth or anywhere. The large table only grows, by
# half a percent.
_DAY = """
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid IN (
    SELECT {accounts} - (hashint8extended(n, 6) & 9223372036854775807) % ({accounts} / {part})
    FROM generate_series(1, {accounts} / 1000) AS n);
INSERT INTO pgbench_history
    SELECT 1, 1, n, 1, timestamp '2026-06-17 09:00' + n * interval '1 second', NULL
    FROM generate_series(1, {accounts} / 1000) AS n;
INSERT INTO telemetry.readings
SELECT reading_id + {readings}, taken_at + interval '600 days', device, kind, value + 1,
       md5('later' || reading_id / 9)::uuid, note
FROM telemetry.readings WHERE reading_id <= {readings} / 200 ORDER BY reading_id;
"""


def build(dsn: Dsn, tools: Tools, *, size_bytes: int) -> None:
    """Fill an empty database, two sessions at a time, then vacuum it so that it is at rest."""
    third = size_bytes // 3
    texts = (
        as_script(create_sql(third / _PORTAL_BYTES)),
        _READINGS.format(**_sizes(third)),
        _PGBENCH.format(**_sizes(third)),
    )
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(psql, dsn, tools, text) for text in texts]:
            done.result()
    psql(dsn, tools, "VACUUM ANALYZE; CHECKPOINT;")


def live_a_day(dsn: Dsn, tools: Tools, *, size_bytes: int, is_scattered: bool) -> None:
    """Change what a business day changes; with `is_scattered` accounts of any age, not the newest.

    The latter is the worst there is for deduplication: it touches nearly every chunk of a third.
    """
    third = size_bytes // 3
    psql(dsn, tools, as_script(change_sql(1, third / _PORTAL_BYTES)))
    psql(dsn, tools, _DAY.format(**_sizes(third), part=1 if is_scattered else 20))
    psql(dsn, tools, "VACUUM ANALYZE; CHECKPOINT;")


def psql(dsn: Dsn, tools: Tools, text: str) -> str:
    """Run SQL, stop at the first error, and return its output as unaligned rows."""
    command = Command(
        label="psql",
        argv=(
            tools.program("psql"),
            *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"),
            *("--file=-", f"--dbname={dsn.conninfo()}"),
        ),
    )
    return run(command, stdin=text.encode(), timeout=_LIMIT).stdout.decode().strip()


def _sizes(third: int) -> dict[str, int]:
    accounts = max(8_000, third // _ACCOUNT_BYTES)
    return {
        "accounts": accounts,
        "branches": max(1, accounts // 100_000),
        "readings": max(1_000, third // _READING_BYTES),
    }
