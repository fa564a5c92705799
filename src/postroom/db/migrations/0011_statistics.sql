-- Statistics of the tables that a sync fills, when it asks for them: a first sync has stored thousands of messages
-- before autovacuum looks for the first time. Says whether they were made; before PostgreSQL 17 only the owner may.
CREATE FUNCTION postroom.mail_analyze() RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('server_version_num')::int < 170000 THEN
        RETURN false;
    END IF;
    ANALYZE (SKIP_LOCKED) mail_folder, mail_message, mail_placement, mail_reference, mail_thread;
    RETURN true;
END
$$;
CALL postroom.across_tenants('mail_analyze()', 'mail_message');
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 170000 THEN
        GRANT MAINTAIN ON postroom.mail_folder, postroom.mail_message, postroom.mail_placement,
                          postroom.mail_reference, postroom.mail_thread TO postroom_system;
    END IF;
END
$$;
