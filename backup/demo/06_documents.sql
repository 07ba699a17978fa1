-- Three of five documents are PDFs or scans, which do not compress; the others are text.
INSERT INTO portal.documents (document_id, client_id, title, media_type, added_at, keep_until,
    opened_at)
SELECT d, 1 + demo_seed.pick(d, 101, current_setting('portal_demo.clients')::bigint),
       (ARRAY['Suitability report', 'Annual review', 'Valuation', 'Letter', 'Proof of identity'])
           [1 + demo_seed.pick(d, 102, 5)] || ' ' || 2019 + d * 7 / total,
       CASE WHEN demo_seed.pick(d, 103, 5) < 3 THEN 'application/pdf' ELSE 'text/plain' END,
       added_at, (added_at + interval '7 years')::date,
       CASE WHEN demo_seed.pick(d, 104, 3) > 0 THEN added_at + interval '30 hours' END
FROM (SELECT current_setting('portal_demo.documents')::bigint AS total) AS k
CROSS JOIN generate_series(1, total) AS d
CROSS JOIN LATERAL (
    SELECT timestamptz '2019-06-17 12:00+00' + 220800000 * d / total * interval '1 second' AS added_at) AS t
ORDER BY d;

INSERT INTO portal.document_contents (document_id, sha256, content)
SELECT document_id, sha256(content), content FROM (
    SELECT d.document_id, '%PDF-1.7'::bytea || string_agg(
               sha512(int8send(d.document_id) || int4send(n)), ''::bytea ORDER BY n) AS content
    FROM portal.documents AS d
    CROSS JOIN LATERAL generate_series(1, 80 + demo_seed.pick(d.document_id, 111, 320)::integer) AS n
    WHERE d.media_type = 'application/pdf'
    GROUP BY d.document_id
    UNION ALL
    SELECT d.document_id, convert_to(string_agg(s.sentence, '' ORDER BY n), 'UTF8')
    FROM portal.documents AS d
    CROSS JOIN LATERAL generate_series(1, 40 + demo_seed.pick(d.document_id, 112, 160)::integer) AS n
    JOIN demo_seed.sentences AS s ON s.id = demo_seed.pick(d.document_id * 256 + n, 113, 20000)
    WHERE d.media_type = 'text/plain'
    GROUP BY d.document_id) AS made
ORDER BY document_id;

-- Every sixth document is also a long scan in a large object.
SET LOCAL ROLE portal_owner;
SELECT count(lo_from_bytea(scan, content)) FROM (
    SELECT (2000000 + document_id)::oid AS scan, string_agg(
               sha512(int8send(document_id) || '\x5ca9'::bytea || int4send(n)), ''::bytea
               ORDER BY n) AS content
    FROM generate_series(6, current_setting('portal_demo.documents')::bigint, 6) AS document_id
    CROSS JOIN LATERAL generate_series(1, 600 + demo_seed.pick(document_id, 114, 2600)::integer) AS n
    GROUP BY document_id ORDER BY document_id) AS scans;
RESET ROLE;
UPDATE portal.documents SET scan = (2000000 + document_id)::oid WHERE document_id % 6 = 0;
