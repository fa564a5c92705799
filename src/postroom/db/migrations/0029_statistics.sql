-- Statistics are made anew where a tenth has changed since, as autovacuum would. To make them reads up to 30,000 pages of a
-- table: of a large one that takes longer than to store what has come, and says the same as before.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

CREATE OR REPLACE FUNCTION postroom.mail_analyze() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = postroom, pg_temp AS $$
DECLARE
    stale regclass;
BEGIN
    IF current_setting('server_version_num')::int < 170000 THEN
        RETURN false;
    END IF;
    FOR stale IN
        SELECT c.oid::regclass FROM pg_class c
         WHERE c.oid = ANY (ARRAY['mail_folder', 'mail_message', 'mail_placement', 'mail_reference', 'mail_thread']::regclass[])
           AND (c.reltuples <= 0 OR pg_stat_get_mod_since_analyze(c.oid) > 0.1 * c.reltuples)
    LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', stale);
    END LOOP;
    RETURN true;
END
$$;

RESET ROLE;
REVOKE CREATE ON SCHEMA postroom FROM postroom_system;
