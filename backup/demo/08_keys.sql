-- The sequences go on after the generated rows.
SELECT setval('portal.client_reference', 200000 + max(client_id)),
       setval(pg_get_serial_sequence('portal.clients', 'client_id'), max(client_id))
FROM portal.clients;
SELECT setval(pg_get_serial_sequence('portal.portfolios', 'portfolio_id'), max(portfolio_id))
FROM portal.portfolios;
SELECT setval(pg_get_serial_sequence('portal.transactions', 'transaction_id'), max(transaction_id))
FROM portal.transactions;
SELECT setval(pg_get_serial_sequence('portal.documents', 'document_id'), max(document_id))
FROM portal.documents;
SELECT setval(pg_get_serial_sequence('portal.messages', 'message_id'), max(message_id))
FROM portal.messages;

ALTER TABLE portal.advisers
    ADD PRIMARY KEY (adviser_id),
    ADD CONSTRAINT advisers_email_once UNIQUE (email);
ALTER TABLE portal.clients
    ADD PRIMARY KEY (client_id),
    ADD CONSTRAINT clients_reference_once UNIQUE (reference),
    ADD CONSTRAINT clients_adult CHECK (born_on < date '2020-01-01'),
    ADD CONSTRAINT clients_active_have_risk CHECK (status = 'prospect' OR risk IS NOT NULL);
ALTER TABLE portal.fact_finds ADD PRIMARY KEY (client_id, taken_on);
ALTER TABLE portal.funds ADD PRIMARY KEY (fund_id), ADD CONSTRAINT funds_isin_once UNIQUE (isin);
ALTER TABLE portal.fund_prices ADD PRIMARY KEY (fund_id, priced_on), ADD CHECK (price > 0);
ALTER TABLE portal.portfolios ADD PRIMARY KEY (portfolio_id);
ALTER TABLE portal.holdings ADD PRIMARY KEY (portfolio_id, fund_id);
ALTER TABLE portal.transactions ADD PRIMARY KEY (transaction_id), ADD CHECK (amount > 0);
ALTER TABLE portal.valuations ADD PRIMARY KEY (portfolio_id, valued_on);
ALTER TABLE portal.documents ADD PRIMARY KEY (document_id);
ALTER TABLE portal.document_contents ADD PRIMARY KEY (document_id);
ALTER TABLE portal.messages ADD PRIMARY KEY (message_id);
ALTER TABLE audit.events ADD PRIMARY KEY (event_id);

ALTER TABLE portal.advisers ADD FOREIGN KEY (manager_id) REFERENCES portal.advisers;
ALTER TABLE portal.clients ADD FOREIGN KEY (adviser_id) REFERENCES portal.advisers;
ALTER TABLE portal.fact_finds ADD FOREIGN KEY (client_id) REFERENCES portal.clients;
ALTER TABLE portal.fund_prices ADD FOREIGN KEY (fund_id) REFERENCES portal.funds;
ALTER TABLE portal.portfolios ADD FOREIGN KEY (client_id) REFERENCES portal.clients;
ALTER TABLE portal.holdings
    ADD FOREIGN KEY (portfolio_id) REFERENCES portal.portfolios,
    ADD FOREIGN KEY (fund_id) REFERENCES portal.funds;
ALTER TABLE portal.transactions
    ADD FOREIGN KEY (portfolio_id) REFERENCES portal.portfolios,
    ADD FOREIGN KEY (fund_id) REFERENCES portal.funds;
ALTER TABLE portal.valuations ADD FOREIGN KEY (portfolio_id) REFERENCES portal.portfolios;
ALTER TABLE portal.documents ADD FOREIGN KEY (client_id) REFERENCES portal.clients;
ALTER TABLE portal.document_contents
    ADD FOREIGN KEY (document_id) REFERENCES portal.documents ON DELETE CASCADE;
ALTER TABLE portal.messages
    ADD FOREIGN KEY (client_id) REFERENCES portal.clients,
    ADD FOREIGN KEY (adviser_id) REFERENCES portal.advisers;

CREATE INDEX clients_by_search_name ON portal.clients (search_name text_pattern_ops);
CREATE UNIQUE INDEX clients_email_once ON portal.clients (lower(email::text));
CREATE INDEX fact_finds_answers ON portal.fact_finds USING gin (answers jsonb_path_ops);
CREATE INDEX portfolios_by_client ON portal.portfolios (client_id);
CREATE INDEX transactions_by_portfolio ON portal.transactions (portfolio_id, traded_at DESC);
CREATE INDEX transactions_unsettled ON portal.transactions (settles_on) WHERE status = 'pending';
CREATE INDEX documents_by_client ON portal.documents (client_id) INCLUDE (title);
CREATE INDEX messages_by_client ON portal.messages (client_id, sent_at);
CREATE INDEX events_by_time ON audit.events USING brin (occurred_at);
CREATE STATISTICS portal.transactions_kind_status (dependencies)
    ON kind, status FROM portal.transactions;
