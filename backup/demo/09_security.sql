SET LOCAL ROLE portal_owner;

CREATE VIEW portal.client_overview WITH (security_barrier) AS
    SELECT c.client_id, c.reference, c.given_name || ' ' || c.family_name AS name, a.name AS adviser,
           count(p.portfolio_id) AS portfolios, sum(p.value)::portal.pence AS value
    FROM portal.clients AS c
    JOIN portal.advisers AS a USING (adviser_id)
    LEFT JOIN portal.portfolios AS p USING (client_id)
    GROUP BY c.client_id, a.name;
COMMENT ON VIEW portal.client_overview IS 'One line a client, for the adviser''s first page';

CREATE VIEW portal.unread_messages AS
    SELECT message_id, client_id, subject, sent_at FROM portal.messages WHERE read_at IS NULL;

CREATE FUNCTION portal.worth(client bigint, on_day date) RETURNS portal.pence
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT sum(v.value)::portal.pence FROM portal.portfolios AS p
        JOIN portal.valuations AS v USING (portfolio_id)
        WHERE p.client_id = worth.client AND v.valued_on = worth.on_day;
    END;
GRANT EXECUTE ON FUNCTION portal.worth(bigint, date) TO portal_app;
GRANT EXECUTE ON FUNCTION portal.current_client() TO portal_app, portal_readonly;

CREATE TRIGGER clients_are_audited AFTER UPDATE ON portal.clients
    FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*)
    EXECUTE FUNCTION audit.record_change('client_id');
CREATE TRIGGER transactions_are_audited AFTER INSERT OR UPDATE ON portal.transactions
    FOR EACH ROW EXECUTE FUNCTION audit.record_change('transaction_id');
CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE ON audit.events
    FOR EACH STATEMENT EXECUTE FUNCTION portal.refuse_change();

ALTER TABLE portal.clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal.clients FORCE ROW LEVEL SECURITY;
ALTER TABLE portal.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal.messages FORCE ROW LEVEL SECURITY;
ALTER TABLE portal.documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal.portfolios ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_record ON portal.clients FOR SELECT TO portal_app
    USING (client_id = portal.current_client());
CREATE POLICY staff ON portal.clients TO portal_readonly, portal_owner USING (true);
CREATE POLICY own_messages ON portal.messages TO portal_app
    USING (client_id = portal.current_client())
    WITH CHECK (client_id = portal.current_client() AND from_client);
CREATE POLICY staff_messages ON portal.messages TO portal_owner USING (true);
CREATE POLICY not_the_dead_letter_box ON portal.messages AS RESTRICTIVE
    USING (subject <> 'dead letter');
CREATE POLICY own_documents ON portal.documents FOR SELECT TO portal_app
    USING (client_id = portal.current_client());
CREATE POLICY own_portfolios ON portal.portfolios FOR SELECT TO portal_app
    USING (client_id = portal.current_client());
CREATE POLICY staff ON portal.portfolios FOR SELECT TO portal_readonly USING (true);

GRANT USAGE ON SCHEMA portal TO portal_readonly, portal_app;
GRANT USAGE ON SCHEMA audit TO portal_auditor;
GRANT SELECT ON audit.events TO portal_auditor WITH GRANT OPTION;
REVOKE SELECT ON portal.clients FROM portal_readonly;
GRANT SELECT (client_id, reference, status, given_name, family_name, adviser_id)
    ON portal.clients TO portal_readonly;
GRANT SELECT, INSERT, UPDATE (read_at) ON portal.messages TO portal_app;
GRANT SELECT ON portal.clients, portal.portfolios, portal.documents, portal.document_contents,
    portal.valuations TO portal_app;
GRANT SELECT ON LARGE OBJECT 2000012, 2000024 TO portal_app;
COMMENT ON LARGE OBJECT 2000012 IS 'The first scan';

CREATE MATERIALIZED VIEW portal.monthly_flows AS
    SELECT date_trunc('month', traded_at AT TIME ZONE 'UTC')::date AS month, kind,
           count(*) AS transactions, sum(amount) AS amount
    FROM portal.transactions WHERE status <> 'cancelled' GROUP BY 1, 2;
CREATE UNIQUE INDEX monthly_flows_once ON portal.monthly_flows (month, kind);
