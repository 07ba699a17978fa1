-- What is random and what is prose, for the creation and for every business day; dropped afterwards.
-- `pick(n, salt, size)` is in [0, size), the same on every server version; see portal.py.
CREATE FUNCTION demo_seed.words() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_to_array(
        'pension annual review allowance contribution drawdown income capital growth portfolio '
        'balanced cautious transfer value fund provider platform charge adviser meeting letter '
        'please confirm attached statement change address bank details direct debit regular '
        'monthly saving emergency cash mortgage property inheritance trust will beneficiary '
        'nomination spouse children school fees retirement date target plan objective risk '
        'questionnaire capacity loss market fall recovery long term short horizon tax year end '
        'individual savings account dividend interest withdrawal instruction signed copy passport '
        'proof identity certified scanned document upload portal login question thank you for '
        'your message we have received and will reply within two working days the of to in is '
        'on that with as at by from this our are be it has not which would could should after '
        'before until since about because however therefore although whether either neither '
        'Tuesday Thursday March October spring autumn London Leeds Bristol Cardiff Edinburgh '
        'quarter half increase reduce maintain switch rebalance sell buy hold defer accelerate '
        'estimate forecast assumption inflation salary bonus employer scheme preserved benefit', ' ')
$$;

-- Sentence `s` of 20,000: so many that prose compresses about as well as what people write,
-- instead of repeating within one compression window.
CREATE FUNCTION demo_seed.sentence(s bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT initcap(words[1]) || ' ' || array_to_string(words[2:], ' ') || ' '
           || 100 + (hashint8extended(s, 12) & 1073741823) % 90000 || '. '
    FROM (SELECT array_agg(all_words[1 + (hashint8extended(s * 31 + k, 11) & 1073741823)
                                         % cardinality(all_words)] ORDER BY k) AS words
          FROM demo_seed.words() AS all_words, generate_series(1, 13) AS k) AS picked
$$;

-- One line of the audit trail: a third is what triggers write, the others are visits.
CREATE FUNCTION demo_seed.event(
    n bigint, OUT actor text, OUT action text, OUT relation text, OUT row_id bigint,
    OUT address inet, OUT details jsonb) LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN r < 35 THEN 'portal_app' WHEN r < 80 THEN 'client'
                ELSE 'adviser' || 1 + demo_seed.pick(n, 132, 24) END,
           CASE WHEN r < 35 THEN 'update' WHEN r < 65 THEN 'login' WHEN r < 95 THEN 'read'
                ELSE 'export' END,
           CASE WHEN r < 35 THEN 'portal.transactions'
                ELSE (ARRAY['portal.clients', 'portal.portfolios', 'portal.documents',
                            'portal.messages'])[1 + demo_seed.pick(n, 133, 4)] END,
           1 + demo_seed.pick(n, 134, 9000),
           CASE WHEN r >= 35 THEN ('192.0.2.' || demo_seed.pick(n, 135, 256))::inet END,
           CASE WHEN r < 35 THEN '{"status": ["pending", "settled"]}'::jsonb
                ELSE jsonb_build_object(
                    'session', md5('session' || demo_seed.pick(n / 7, 136, 1000000000)),
                    'agent', (ARRAY['Mozilla/5.0 (Windows NT 10.0; Win64; x64)',
                                    'Mozilla/5.0 (iPhone; CPU iPhone OS)'])
                        [1 + demo_seed.pick(n / 7, 137, 2)],
                    'ms', demo_seed.pick(n, 138, 900)) END
    FROM demo_seed.pick(n, 131, 100) AS r
$$;
