INSERT INTO portal.funds (isin, name, ongoing_charge)
SELECT 'XX' || lpad(demo_seed.pick(f, 61, 10000000000)::text, 10, '0'),
       initcap(split_part(s.sentence, ' ', 5) || ' ' || split_part(s.sentence, ' ', 9)) || ' Fund '
           || chr(65 + (f % 26)), demo_seed.pick(f, 62, 15000) / 10000.0
FROM generate_series(1, 400) AS f
JOIN demo_seed.sentences AS s ON s.id = demo_seed.pick(f, 63, 20000)
ORDER BY f;

-- Two years of prices, in the order in which they arrived.
INSERT INTO portal.fund_prices (fund_id, priced_on, price)
SELECT f, d::date, ((50000 + demo_seed.pick(f, 64, 4000000))
                    * (10000 + n * 2 + demo_seed.pick(f * 1000 + n, 65, 400)) / 10000) / 10000.0
FROM (SELECT d, row_number() OVER (ORDER BY d) AS n FROM generate_series(
          timestamp '2024-06-18', timestamp '2026-06-16', interval '1 day') AS d
      WHERE extract(isodow FROM d) < 6) AS days
CROSS JOIN generate_series(1, 400) AS f
ORDER BY d, f;

INSERT INTO portal.portfolios (portfolio_id, client_id, wrapper, name, opened_on, cash, value,
    valued_on)
SELECT p, 1 + p * 2 / 3 % current_setting('portal_demo.clients')::bigint, w.wrapper,
       upper(w.wrapper::text) || ' ' || 500000 + p,
       date '2012-03-01' + demo_seed.pick(p, 71, 3300)::integer, demo_seed.pick(p, 72, 900000),
       500000 + demo_seed.pick(p, 73, 60000000), date '2026-06-16'
FROM generate_series(1, current_setting('portal_demo.clients')::bigint * 3 / 2) AS p
CROSS JOIN LATERAL (
    SELECT (enum_range(NULL::portal.wrapper))[1 + demo_seed.pick(p, 74, 5)] AS wrapper) AS w
ORDER BY p;

INSERT INTO portal.holdings (portfolio_id, fund_id, units, book_cost, updated_at)
SELECT p, 1 + (demo_seed.pick(p, 75, 400) + n * 37) % 400, demo_seed.pick(p * 10 + n, 76, 90000000) / 10000.0,
       demo_seed.pick(p * 10 + n, 77, 5000000),
       timestamptz '2026-06-16 17:00+00' - demo_seed.pick(p * 10 + n, 78, 40000000) * interval '1 second'
FROM generate_series(1, current_setting('portal_demo.clients')::bigint * 3 / 2) AS p
CROSS JOIN generate_series(1, 8) AS n
ORDER BY p, n;

-- Five years of trading in the order of time; the last two days are not settled yet.
INSERT INTO portal.transactions (transaction_id, portfolio_id, fund_id, kind, status, units, amount,
    traded_at, settles_on, contract_note, note)
SELECT t, p, 1 + (demo_seed.pick(p, 75, 400) + (1 + demo_seed.pick(t, 82, 8)) * 37) % 400,
       (enum_range(NULL::portal.transaction_kind))[1 + least(demo_seed.pick(t, 83, 9), 6)],
       CASE WHEN traded_at > timestamptz '2026-06-14 23:00+00' THEN 'pending'
            WHEN demo_seed.pick(t, 84, 200) = 0 THEN 'cancelled'
            ELSE 'settled' END::portal.transaction_status,
       demo_seed.pick(t, 85, 5000000) / 10000.0, 2500 + demo_seed.pick(t, 86, 2000000),
       traded_at, (traded_at + interval '2 days')::date, md5('contract' || t)::uuid,
       CASE WHEN demo_seed.pick(t, 87, 6) = 0 THEN left(s.sentence, 60) END
FROM (SELECT current_setting('portal_demo.transactions')::bigint AS total,
             current_setting('portal_demo.clients')::bigint * 3 / 2 AS portfolios) AS k
CROSS JOIN generate_series(1, k.total) AS t
CROSS JOIN LATERAL (
    SELECT timestamptz '2021-06-17 08:00+00' + 157700000 * t / k.total * interval '1 second' AS traded_at,
           1 + demo_seed.pick(t, 81, k.portfolios) AS p) AS trade
JOIN demo_seed.sentences AS s ON s.id = demo_seed.pick(t, 88, 20000)
ORDER BY t;
