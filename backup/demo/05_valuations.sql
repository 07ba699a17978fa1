-- Month ends from July 2021 to March 2026, then every business day to 16 June 2026.
INSERT INTO portal.valuations (portfolio_id, valued_on, value, cash, paid_in, growth)
SELECT p, d::date, base * growth / 10000, demo_seed.pick(p * 4096 + n, 92, 900000), base,
       (growth - 10000) / 100.0
FROM (SELECT d, row_number() OVER (ORDER BY d) AS n FROM (
          SELECT d + interval '1 month' - interval '1 day' AS d FROM generate_series(
              timestamp '2021-07-01', timestamp '2026-03-01', interval '1 month') AS d
          UNION ALL
          SELECT d FROM generate_series(
              timestamp '2026-04-01', timestamp '2026-06-16', interval '1 day') AS d
          WHERE extract(isodow FROM d) < 6) AS dates) AS days
CROSS JOIN generate_series(1, current_setting('portal_demo.clients')::bigint * 3 / 2) AS p
CROSS JOIN LATERAL (
    SELECT 500000 + demo_seed.pick(p, 73, 60000000) AS base,
           9000 + n * 15 + demo_seed.pick(p * 4096 + n, 91, 700) AS growth) AS worth
ORDER BY d, p;
