-- The append-only log: a dense, hash-chained stream for each account, and stream 0 for the tenant itself.

CREATE TABLE events_head (
    tenant_id bigint NOT NULL REFERENCES people_tenant ON DELETE CASCADE,
    stream    bigint NOT NULL,                  -- the account's id, or 0
    seq       bigint NOT NULL,
    hash      bytea  NOT NULL,
    PRIMARY KEY (tenant_id, stream)
);
CALL postroom.protect('events_head');

CREATE TABLE events_event (
    tenant_id bigint      NOT NULL,
    stream    bigint      NOT NULL,
    seq       bigint      NOT NULL,
    id        bigint      GENERATED ALWAYS AS IDENTITY,
    txid      xid8        NOT NULL DEFAULT pg_current_xact_id(),
    at        timestamptz NOT NULL,
    kind      text        NOT NULL,
    body      text        NOT NULL,             -- canonical JSON; what the hash covers
    hash      bytea       NOT NULL,
    PRIMARY KEY (tenant_id, stream, seq, at)
) PARTITION BY RANGE (at);
CREATE INDEX events_event_feed ON events_event (tenant_id, txid, id);
CALL postroom.protect('events_event');
-- Nobody but the owner may change what is written. Rows go through the parent table only.
REVOKE UPDATE, DELETE, TRUNCATE ON events_event FROM postroom_app;

-- One partition a month, made ahead of time; the default one catches what was not. They are reached through
-- the parent table alone: nobody is granted anything on them.
CREATE PROCEDURE events_make_partition(month timestamptz)
LANGUAGE plpgsql SET search_path = postroom, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month AT TIME ZONE 'UTC');
    name  text := 'events_event_' || to_char(first, 'YYYYMM');
BEGIN
    IF to_regclass('postroom.' || name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF events_event FOR VALUES FROM (%L) TO (%L)',
                       name, first || ' 00:00 UTC', (first + interval '1 month')::date || ' 00:00 UTC');
        CALL postroom.protect(name);
        EXECUTE format('REVOKE ALL ON %I FROM postroom_app', name);
    END IF;
END $$;
CREATE TABLE events_event_rest PARTITION OF events_event DEFAULT;
CALL postroom.protect('events_event_rest');
REVOKE ALL ON events_event_rest FROM postroom_app;
DO $$ BEGIN
    FOR n IN 0..23 LOOP
        CALL events_make_partition(now() + n * interval '1 month');
    END LOOP;
END $$;
