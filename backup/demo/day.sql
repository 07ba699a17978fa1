-- One business day: what clients and advisers do, what the market sends, what the night job does.
-- `portal_demo.day` counts days after 16 June 2026, `portal_demo.date` is the day's date.
SET LOCAL portal.clock = '2026-06-17 17:00+00';
SELECT set_config('portal.clock', current_setting('portal_demo.date') || ' 17:00+00', true);

-- Clients log in; a few move house. The rows lie anywhere in the table.
UPDATE portal.clients
SET last_login_at = current_setting('portal.clock')::timestamptz
                    - demo_seed.pick(client_id, 201, 30000) * interval '1 second'
WHERE status = 'active' AND demo_seed.pick(client_id, 200, 10) = 0;
UPDATE portal.clients
SET address.line = demo_seed.pick(client_id, 203, 200) || ' New Road',
    updated_at = current_setting('portal.clock')::timestamptz
WHERE demo_seed.pick(client_id, 202, 400) = 0;
UPDATE portal.fact_finds
SET taken_on = current_setting('portal_demo.date')::date,
    answers = jsonb_set(answers, '{spending}', to_jsonb(demo_seed.pick(client_id, 205, 50000)))
WHERE demo_seed.pick(client_id, 204, 400) = 0;

-- What was traded two days ago settles; today's orders come in and change what is held.
UPDATE portal.transactions SET status = 'settled'
WHERE status = 'pending' AND settles_on <= current_setting('portal_demo.date')::date;
UPDATE portal.transactions SET status = 'cancelled', note = 'cancelled by the platform'
WHERE transaction_id IN (
    SELECT current_setting('portal_demo.transactions')::bigint
           - demo_seed.pick(n, 206, current_setting('portal_demo.transactions')::bigint
                                    / CASE n WHEN 1 THEN 1 ELSE 60 END)
    FROM generate_series(1, 2) AS n) AND status = 'settled';
INSERT INTO portal.transactions (portfolio_id, fund_id, kind, status, units, amount, traded_at,
    settles_on, contract_note, note)
SELECT h.portfolio_id, h.fund_id, CASE WHEN demo_seed.pick(n, 211, 3) > 0 THEN 'buy' ELSE 'sell'
       END::portal.transaction_kind, 'pending', 1 + demo_seed.pick(n, 212, 300000) / 10000.0,
       2500 + demo_seed.pick(n, 213, 2000000),
       current_setting('portal.clock')::timestamptz - (400 - n % 400) * interval '80 seconds',
       current_setting('portal_demo.date')::date + 2,
       md5('day ' || current_setting('portal_demo.day') || ' contract ' || n)::uuid,
       CASE WHEN demo_seed.pick(n, 216, 6) = 0
            THEN left(demo_seed.sentence(demo_seed.pick(n, 217, 20000)), 60) END
FROM generate_series(1, current_setting('portal_demo.transactions')::bigint / 500) AS n
CROSS JOIN LATERAL (
    SELECT portfolio_id, fund_id FROM portal.holdings
    WHERE portfolio_id = 1 + demo_seed.pick(
        n, 214, current_setting('portal_demo.clients')::bigint * 3 / 2)
    ORDER BY fund_id OFFSET demo_seed.pick(n, 215, 8) LIMIT 1) AS h
ORDER BY n;
UPDATE portal.holdings AS h
SET units = h.units + t.units, book_cost = h.book_cost + t.amount,
    updated_at = current_setting('portal.clock')::timestamptz
FROM (SELECT portfolio_id, fund_id, sum(units) AS units, sum(amount) AS amount
      FROM portal.transactions
      WHERE status = 'pending' AND kind = 'buy'
        AND traded_at >= current_setting('portal_demo.date')::timestamptz
      GROUP BY portfolio_id, fund_id) AS t
WHERE (h.portfolio_id, h.fund_id) = (t.portfolio_id, t.fund_id);

-- Letters come and go; what is seven years old is deleted.
INSERT INTO portal.messages (client_id, adviser_id, from_client, subject, body, sent_at)
SELECT c.client_id, c.adviser_id, demo_seed.pick(n, 221, 2) = 0, 'Your portfolio today',
       string_agg(demo_seed.sentence(demo_seed.pick(n * 8 + k, 224, 20000)), '' ORDER BY k),
       current_setting('portal.clock')::timestamptz - (100 - n % 100) * interval '5 minutes'
FROM generate_series(1, current_setting('portal_demo.messages')::bigint / 500) AS n
CROSS JOIN LATERAL generate_series(1, 1 + demo_seed.pick(n, 225, 7)::integer) AS k
JOIN portal.clients AS c ON c.client_id = 1 + demo_seed.pick(
    n, 222, current_setting('portal_demo.clients')::bigint)
GROUP BY n, c.client_id, c.adviser_id ORDER BY n;
UPDATE portal.messages SET read_at = current_setting('portal.clock')::timestamptz
WHERE read_at IS NULL AND demo_seed.pick(message_id, 223, 3) = 0;
DELETE FROM portal.messages
WHERE sent_at < current_setting('portal_demo.date')::timestamptz - interval '7 years';

-- New documents (three of five do not compress), a new scan; retention, and one withdrawn by hand.
WITH added AS (
    INSERT INTO portal.documents (client_id, title, media_type, added_at, keep_until)
    SELECT 1 + demo_seed.pick(n, 231, current_setting('portal_demo.clients')::bigint),
           'Suitability report ' || current_setting('portal_demo.date'),
           CASE WHEN n % 5 < 3 THEN 'application/pdf' ELSE 'text/plain' END,
           current_setting('portal.clock')::timestamptz,
           (current_setting('portal_demo.date')::date + interval '7 years')::date
    FROM generate_series(1, greatest(1, current_setting('portal_demo.documents')::bigint / 150)) AS n
    RETURNING document_id, media_type)
INSERT INTO portal.document_contents (document_id, sha256, content)
SELECT document_id, sha256(content), content FROM (
    SELECT document_id, string_agg(
               CASE media_type WHEN 'text/plain' THEN convert_to(
                   demo_seed.sentence(demo_seed.pick(document_id * 512 + n, 235, 20000)), 'UTF8')
               ELSE sha512(int8send(document_id) || int4send(n)) END, ''::bytea ORDER BY n) AS content
    FROM added
    CROSS JOIN LATERAL generate_series(1, 80 + demo_seed.pick(document_id, 232, 320)::integer) AS n
    GROUP BY document_id) AS made ORDER BY document_id;
UPDATE portal.documents
SET scan = lo_from_bytea((2000000 + document_id)::oid, (
    SELECT string_agg(sha512(int8send(document_id) || '\x5ca9'::bytea || int4send(n)), ''::bytea
                      ORDER BY n) FROM generate_series(1, 1500) AS n))
WHERE document_id = (SELECT max(document_id) FROM portal.documents);
UPDATE portal.documents SET opened_at = current_setting('portal.clock')::timestamptz
WHERE opened_at IS NULL AND demo_seed.pick(document_id, 233, 40) = 0;
WITH expired AS (
    DELETE FROM portal.documents
    WHERE keep_until <= current_setting('portal_demo.date')::date
       OR document_id = 1 + demo_seed.pick(0, 234, current_setting('portal_demo.documents')::bigint)
    RETURNING scan)
SELECT count(lo_unlink(scan)) FROM expired WHERE scan IS NOT NULL;

-- The night job: prices, every portfolio's value, one valuation of each, the audit trail.
INSERT INTO portal.fund_prices (fund_id, priced_on, price)
SELECT fund_id, current_setting('portal_demo.date')::date,
       price * (9900 + demo_seed.pick(fund_id, 241, 200)) / 10000
FROM portal.fund_prices
WHERE priced_on = (SELECT max(priced_on) FROM portal.fund_prices) ORDER BY fund_id;
UPDATE portal.portfolios
SET value = value * (9950 + demo_seed.pick(portfolio_id, 242, 100)) / 10000,
    valued_on = current_setting('portal_demo.date')::date;
INSERT INTO portal.valuations (portfolio_id, valued_on, value, cash, paid_in, growth)
SELECT portfolio_id, valued_on, value, cash, value * 9 / 10, demo_seed.pick(portfolio_id, 243, 3000) / 100.0
FROM portal.portfolios ORDER BY portfolio_id;
INSERT INTO audit.events (occurred_at, actor, action, relation, row_id, address, details)
SELECT current_setting('portal.clock')::timestamptz
           - demo_seed.pick(n, 251, 30000) * interval '1 second', event.*
FROM generate_series(1, current_setting('portal_demo.events')::bigint / 400) AS n
CROSS JOIN LATERAL demo_seed.event(n) AS event
ORDER BY n;
REFRESH MATERIALIZED VIEW portal.monthly_flows;
