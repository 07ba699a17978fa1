INSERT INTO portal.messages (message_id, client_id, adviser_id, from_client, subject, body, sent_at,
    read_at)
SELECT m, c, 1 + demo_seed.pick(c, 40, 24), demo_seed.pick(m, 122, 2) = 0,
       initcap(split_part(body, ' ', 4) || ' ' || split_part(body, ' ', 7)), body, sent_at,
       CASE WHEN sent_at < timestamptz '2026-06-12 00:00+00' OR demo_seed.pick(m, 123, 2) = 0
            THEN sent_at + demo_seed.pick(m, 124, 200000) * interval '1 second' END
FROM (SELECT m, string_agg(sentence, '' ORDER BY n) AS body
      FROM generate_series(1, current_setting('portal_demo.messages')::bigint) AS m
      CROSS JOIN LATERAL generate_series(1, 1 + demo_seed.pick(m, 125, 7)::integer) AS n
      JOIN demo_seed.sentences AS s ON s.id = demo_seed.pick(m * 8 + n, 126, 20000)
      GROUP BY m) AS texts
CROSS JOIN LATERAL (
    SELECT timestamptz '2019-06-17 07:00+00'
               + 220800000 * m / current_setting('portal_demo.messages')::bigint * interval '1 second'
               AS sent_at,
           1 + demo_seed.pick(m, 121, current_setting('portal_demo.clients')::bigint) AS c) AS t
ORDER BY m;

INSERT INTO audit.events (occurred_at, actor, action, relation, row_id, address, details)
SELECT timestamptz '2024-06-17 06:00+00' + 63060000 * n / k.total * interval '1 second', event.*
FROM (SELECT current_setting('portal_demo.events')::bigint AS total) AS k
CROSS JOIN generate_series(1, k.total) AS n
CROSS JOIN LATERAL demo_seed.event(n) AS event
ORDER BY n;
