-- How far the handlers of applications are that live in this database, and the two functions by which an application's own transaction
-- moves one on.

CREATE TABLE postroom.library_handler (
    tenant_id  bigint NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    name       text   NOT NULL,
    position   bigint NOT NULL,            -- all up to this place of the tenant's log is handled, see events/feed
    stream     bigint NOT NULL,
    seq        bigint NOT NULL,
    failures   int    NOT NULL DEFAULT 0,  -- of the next event, in a row
    retry_at   timestamptz,
    stopped_at timestamptz,                -- it has failed too often: nothing is handled until somebody resumes it
    PRIMARY KEY (tenant_id, name)
);
CALL postroom.protect('library_handler');

-- These two are called by the application's role, in the application's transaction, on its connection. They tell nothing of any mail, and
-- that role needs no right to any table. The first binds the transaction to the tenant and locks the handler's row, if the handler stands at this
-- place and nobody else is at it; it returns the number of the transaction. The lock goes with the transaction: with the commit, or with the
-- connection of whoever is killed. A transaction that is left open for that long is ended by the server, so that others can go on.
CREATE FUNCTION postroom.library_take(
    of_tenant bigint, handler text, at_position bigint, at_stream bigint, at_seq bigint, patience interval
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF tenant() <> of_tenant THEN
        RAISE EXCEPTION 'this transaction belongs to another tenant than %', of_tenant USING ERRCODE = '42501';
    END IF;
    PERFORM FROM library_handler h
      WHERE h.tenant_id = of_tenant AND h.name = handler AND h.stopped_at IS NULL
        AND (h.position, h.stream, h.seq) = (at_position, at_stream, at_seq)
        FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('postroom.tenant', of_tenant::text, true);
    PERFORM set_config('idle_in_transaction_session_timeout', (extract(epoch FROM patience) * 1000)::bigint::text, true);
    RETURN pg_current_xact_id()::text;
END
$$;

-- The second moves the handler on, if this is still the transaction that took it: else somebody has committed or rolled back what should have
-- been committed together with this.
CREATE FUNCTION postroom.library_advance(
    of_tenant bigint, handler text, taken text, to_position bigint, to_stream bigint, to_seq bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF tenant() IS DISTINCT FROM of_tenant OR taken IS DISTINCT FROM pg_current_xact_id_if_assigned()::text THEN
        RAISE EXCEPTION 'the handler has ended the transaction that it was given' USING ERRCODE = '25000';
    END IF;
    UPDATE library_handler h
       SET position = to_position, stream = to_stream, seq = to_seq, failures = 0, retry_at = NULL
     WHERE h.tenant_id = of_tenant AND h.name = handler;
    RETURN FOUND;
END
$$;

-- Handlers that have something to do, by tenant and name, behind a tenant: those that have not begun, and those behind whose place something stands.
CREATE FUNCTION postroom.library_due(wanted text[], after bigint, most int) RETURNS TABLE (tenant bigint, handler text)
LANGUAGE sql STABLE AS $$
    SELECT t.tenant_id, n.name
      FROM people_tenant t
     CROSS JOIN unnest(wanted) AS n (name)
      LEFT JOIN library_handler h ON h.tenant_id = t.tenant_id AND h.name = n.name
     WHERE t.tenant_id > after
       AND (h.name IS NULL
            OR h.stopped_at IS NULL AND coalesce(h.retry_at <= clock_timestamp(), true)
               AND EXISTS (SELECT FROM events_event e
                            WHERE e.tenant_id = t.tenant_id
                              AND (e.position, e.stream, e.seq) > (h.position, h.stream, h.seq)))
     ORDER BY t.tenant_id LIMIT most
$$;

-- Lets handlers begin anew that have failed or stopped, of all tenants: the application has started, maybe with another program.
CREATE FUNCTION postroom.library_resume(wanted text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    handlers bigint;
BEGIN
    UPDATE library_handler h SET failures = 0, retry_at = NULL, stopped_at = NULL
     WHERE h.name = ANY (wanted) AND h.failures > 0;
    GET DIAGNOSTICS handlers = ROW_COUNT;
    RETURN handlers;
END
$$;

CREATE FUNCTION postroom.library_tenant(wanted uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT t.tenant_id FROM people_tenant t WHERE t.public_id = wanted
$$;

CALL postroom.across_tenants('library_take(bigint, text, bigint, bigint, bigint, interval)', 'library_handler');
CALL postroom.across_tenants('library_advance(bigint, text, text, bigint, bigint, bigint)', 'library_handler');
CALL postroom.across_tenants('library_due(text[], bigint, int)', 'people_tenant', 'library_handler', 'events_event');
CALL postroom.across_tenants('library_resume(text[])', 'library_handler');
CALL postroom.across_tenants('library_tenant(uuid)', 'people_tenant');
GRANT UPDATE ON postroom.library_handler TO postroom_system;
