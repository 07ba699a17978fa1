-- Roles belong to the cluster: they may be there from another portal database.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['portal_owner', 'portal_readonly', 'portal_auditor', 'portal_app',
                                  'portal_reporting', 'portal_adviser'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    EXECUTE pg_catalog.format('ALTER DATABASE %I SET timezone = %L',
                              pg_catalog.current_database(), 'Europe/London');
    EXECUTE pg_catalog.format('ALTER ROLE portal_app IN DATABASE %I SET statement_timeout = %L',
                              pg_catalog.current_database(), '30s');
    EXECUTE pg_catalog.format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC',
                              pg_catalog.current_database());
    EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO portal_readonly, portal_app',
                              pg_catalog.current_database());
    EXECUTE pg_catalog.format('COMMENT ON DATABASE %I IS %L', pg_catalog.current_database(),
                              'Client portal of a firm that does not exist: every row is generated');
END
$$;

ALTER ROLE portal_app LOGIN CONNECTION LIMIT 40;
ALTER ROLE portal_reporting LOGIN;
ALTER ROLE portal_auditor SET default_transaction_read_only = on;
GRANT portal_readonly TO portal_auditor, portal_reporting;
GRANT portal_adviser TO portal_app;
COMMENT ON ROLE portal_owner IS 'Owns everything in the portal; nobody logs in as it';
