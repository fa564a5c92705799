-- What this database's history is called (docs/decisions/0014), and of which of its parts PostgreSQL says nothing: whoever hosts it may withhold the functions
-- that are asked here, in ways of their own. Such a part is left out, so that no page of the feed fails for it.
CREATE FUNCTION postroom.events_epoch(OUT epoch text, OUT withheld text[]) LANGUAGE plpgsql STABLE AS $$
DECLARE
    server   bigint;
    timeline text;
BEGIN
    withheld := '{}';
    BEGIN
        server := (SELECT c.system_identifier FROM pg_control_system() AS c);
    EXCEPTION WHEN OTHERS THEN
        withheld := array_append(withheld, 'system identifier');
    END;
    BEGIN
        IF pg_is_in_recovery() THEN
            timeline := (SELECT lpad(upper(to_hex(c.timeline_id)), 8, '0') FROM pg_control_checkpoint() AS c);
        ELSE
            timeline := left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        withheld := array_append(withheld, 'timeline');
    END;
    epoch := left(encode(sha256(convert_to(
        concat_ws('/', server, timeline, 'postroom.events_event'::regclass::oid), 'UTF8')), 'hex'), 16);
END $$;
