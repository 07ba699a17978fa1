CREATE TABLE demo_seed.sentences AS
SELECT s AS id, demo_seed.sentence(s) AS sentence FROM generate_series(0, 19999) AS s;
CREATE UNIQUE INDEX ON demo_seed.sentences (id);

CREATE TABLE demo_seed.names AS
SELECT row_number() OVER () - 1 AS id, split_part(pair, '/', 1) AS given,
       split_part(pair, '/', 2) AS family
FROM unnest(string_to_array(
    'Aisha/Abara Alun/Ainsworth Amara/Bancroft Anwen/Begum Arjun/Birtwhistle Beatrix/Chaudhry '
    'Bryn/Culpepper Callum/Dalgleish Catrin/Drummond Dafydd/Eastwood Devi/Fanshawe Eilidh/Featherstone '
    'Elspeth/Gallagher Emeka/Garside Fergus/Greenhalgh Fiona/Hargreaves Gareth/Hetherington '
    'Gwen/Inglethorpe Hamish/Jardine Imogen/Kavanagh Iqbal/Kirkbride Isla/Lanyon Jasper/Llewellyn '
    'Kezia/MacAllister Lachlan/Mistry Mairi/Nankervis Megan/Nwosu Mohan/O''Hanlon Nia/Okonkwo '
    'Oluchi/Ormerod Orla/Pemberton Perran/Penhaligon Priya/Quayle Rhian/Ravenscroft Rohan/Rosewarne '
    'Saoirse/Satterthwaite Siân/Sinclair Tamsin/Tregenza Tariq/Trescothick Una/Ullathorne '
    'Winifred/Vanstone Xanthe/Wainwright Yusuf/Wetherby Zara/Yardley Zoë/Zellaby Ìfẹ́/Ó Súilleabháin',
    ' ')) AS pair
WHERE pair LIKE '%/%';

INSERT INTO portal.advisers (name, email, joined_on, manager_id)
SELECT g.given || ' ' || f.family, 'adviser' || a || '@firm.example',
       date '2008-01-07' + demo_seed.pick(a, 21, 6000)::integer,
       CASE WHEN a > 4 THEN 1 + demo_seed.pick(a, 22, 4)::integer END
FROM generate_series(1, 24) AS a
JOIN demo_seed.names AS g ON g.id = demo_seed.pick(a, 23, (SELECT count(*) FROM demo_seed.names))
JOIN demo_seed.names AS f ON f.id = demo_seed.pick(a, 24, (SELECT count(*) FROM demo_seed.names))
ORDER BY a;

INSERT INTO portal.clients (client_id, reference, status, given_name, family_name, born_on,
    ni_number, email, phone, address, adviser_id, risk, consent, tags, created_at, last_login_at,
    updated_at)
SELECT c, 'FP-' || 100000 + c,
       (enum_range(NULL::portal.client_status))[CASE WHEN r < 5 THEN 1 WHEN r < 88 THEN 2
                                                     WHEN r < 96 THEN 3 ELSE 4 END],
       g.given, f.family, date '1938-01-01' + demo_seed.pick(c, 31, 24000)::integer,
       CASE WHEN r > 2 THEN 'QQ' || lpad(demo_seed.pick(c, 32, 1000000)::text, 6, '0')
                            || chr(65 + demo_seed.pick(c, 33, 4)::integer) END,
       lower(translate(f.family, ' ''', '')) || '.' || c || '@client.example',
       '07700 900' || lpad(demo_seed.pick(c, 34, 1000)::text, 3, '0'),
       ROW(1 + demo_seed.pick(c, 35, 180) || ' ' || initcap(split_part(s.sentence, ' ', 4)) || ' '
               || (ARRAY['Road', 'Lane', 'Street', 'Close', 'Mews'])[1 + demo_seed.pick(c, 36, 5)],
           (ARRAY['Barchester', 'Casterbridge', 'Middlemarch', 'Ambridge', 'Sandford'])
               [1 + demo_seed.pick(c, 37, 5)],
           'ZZ' || 1 + demo_seed.pick(c, 38, 98) || ' ' || demo_seed.pick(c, 39, 10) || 'ZZ')
           ::portal.postal_address,
       1 + demo_seed.pick(c, 40, 24),
       CASE WHEN r >= 5 THEN (enum_range(NULL::portal.risk_profile))[1 + demo_seed.pick(c, 41, 4)] END,
       daterange(date '2018-05-25' + demo_seed.pick(c, 42, 2000)::integer, NULL),
       CASE demo_seed.pick(c, 43, 5) WHEN 0 THEN ARRAY['vulnerable', 'large print']
                                     WHEN 1 THEN ARRAY['paperless'] ELSE '{}' END,
       timestamptz '2012-03-01 09:00+00' + 7488000 * c / k.clients * interval '1 minute',
       CASE WHEN demo_seed.pick(c, 44, 4) > 0
            THEN timestamptz '2026-06-16 21:00+00' - demo_seed.pick(c, 45, 25000000) * interval '1 s' END,
       timestamptz '2026-06-16 18:00+00' - demo_seed.pick(c, 46, 90000000) * interval '1 second'
FROM (SELECT current_setting('portal_demo.clients')::bigint AS clients,
             (SELECT count(*) FROM demo_seed.names) AS names) AS k
CROSS JOIN generate_series(1, k.clients) AS c
CROSS JOIN LATERAL (SELECT demo_seed.pick(c, 30, 100) AS r) AS dice
JOIN demo_seed.names AS g ON g.id = demo_seed.pick(c, 47, k.names)
JOIN demo_seed.names AS f ON f.id = demo_seed.pick(c, 48, k.names)
JOIN demo_seed.sentences AS s ON s.id = demo_seed.pick(c, 49, 20000)
ORDER BY c;

INSERT INTO portal.fact_finds (client_id, taken_on, answers)
SELECT c, date '2026-06-16' - demo_seed.pick(c, 51, 1100)::integer,
       jsonb_build_object(
           'income', demo_seed.pick(c, 52, 9000) * 1000, 'spending', demo_seed.pick(c, 53, 400) * 100,
           'mortgage', jsonb_build_object('balance', demo_seed.pick(c, 54, 400000),
                                          'rate', demo_seed.pick(c, 55, 700) / 100.0),
           'dependants', demo_seed.pick(c, 56, 5), 'smoker', demo_seed.pick(c, 57, 8) = 0,
           'questionnaire', (SELECT jsonb_agg(demo_seed.pick(c * 40 + q, 58, 5) ORDER BY q)
                             FROM generate_series(1, 25) AS q),
           'objectives', prose.paragraphs)
FROM generate_series(1, current_setting('portal_demo.clients')::bigint) AS c
CROSS JOIN LATERAL (
    SELECT jsonb_agg(sentence ORDER BY n) AS paragraphs FROM generate_series(1, 10) AS n
    JOIN demo_seed.sentences AS s ON s.id = demo_seed.pick(c * 64 + n, 59, 20000)) AS prose
ORDER BY c;
