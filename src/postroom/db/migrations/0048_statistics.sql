-- PostgreSQL's statistics are samples of what columns hold, and outlive the rows: of an account that was removed, too, until a
-- tenth of a table has changed; of a table that is empty since, for ever.

-- No plan depends on what is in these. They are not sampled any more.
DO $$
DECLARE
    content record;
BEGIN
    FOR content IN
        SELECT split_part(named, '.', 1) AS held_in, split_part(named, '.', 2) AS held FROM unnest(ARRAY[
            'accounts_account.address', 'accounts_account.settings', 'accounts_account.secret', 'accounts_account.reason',
            'accounts_account.last_sync_error', 'accounts_consent.secret', 'accounts_token.secret', 'blobs_page.data',
            'mail_attachment.name', 'mail_attachment.content_id', 'mail_message.message_id', 'mail_message.subject',
            'mail_message.sender_name', 'mail_message.recipients', 'mail_message.preview', 'mail_text.body', 'mail_thread.subject',
            'sync_parked.reason']) AS named
    LOOP
        EXECUTE format('ALTER TABLE postroom.%I ALTER %I SET STATISTICS 0', content.held_in, content.held);
        IF current_setting('server_version_num')::int >= 180000 THEN
            PERFORM pg_clear_attribute_stats('postroom', content.held_in, content.held, false);
        END IF;
    END LOOP;
END
$$;

-- Of the others they are made anew after a removal of so many messages, where that is a tenth of all; where nothing is
-- left they are deleted. Before PostgreSQL 17 only the owner may, and before 18 nobody can delete them.
CREATE FUNCTION postroom.mail_forgotten(messages bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    sampled regclass;
    held    name;
BEGIN
    IF current_setting('server_version_num')::int < 170000
       OR messages <= 0.1 * (SELECT c.reltuples FROM pg_class c WHERE c.oid = 'mail_message'::regclass) THEN
        RETURN;
    END IF;
    FOREACH sampled IN ARRAY ARRAY['mail_folder', 'mail_message', 'mail_placement', 'mail_reference', 'mail_thread',
                                   'mail_text', 'mail_attachment', 'search_fresh', 'search_settled']::regclass[]
    LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', sampled);
        CONTINUE WHEN current_setting('server_version_num')::int < 180000
                      OR (SELECT c.reltuples FROM pg_class c WHERE c.oid = sampled) <> 0;
        FOR held IN SELECT a.attname FROM pg_attribute a WHERE a.attrelid = sampled AND a.attnum > 0 AND NOT a.attisdropped
        LOOP
            PERFORM pg_clear_attribute_stats('postroom', (SELECT c.relname FROM pg_class c WHERE c.oid = sampled), held, false);
        END LOOP;
    END LOOP;
END
$$;
CALL postroom.across_tenants('mail_forgotten(bigint)', 'mail_message');
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 170000 THEN
        GRANT MAINTAIN ON postroom.mail_text, postroom.mail_attachment, postroom.search_fresh, postroom.search_settled
           TO postroom_system;
    END IF;
END
$$;
