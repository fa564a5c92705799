-- The log in one order over all streams, and what its rows, heads and seals are checked by.

-- Where an entry stands among those of all streams: the number of its transaction, counted on over restores, and
-- never less than that of the entry before it in its stream. Within one transaction: stream, then seq.
ALTER TABLE postroom.events_event ADD COLUMN position bigint;
ALTER TABLE postroom.events_head ADD COLUMN position bigint NOT NULL DEFAULT 0;

-- A database restored from a dump counts transactions anew. Then `base` is added to their numbers, so that
-- positions go on growing.
CREATE TABLE postroom.events_restored (
    tenant_id bigint      NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    base      bigint      NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, base)
);
CALL postroom.protect('events_restored');
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON postroom.events_restored FROM postroom_app;

-- Entries of the time before the log could be checked get the hashes that they would have today.
ALTER TABLE postroom.events_event NO FORCE ROW LEVEL SECURITY;
ALTER TABLE postroom.events_head NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    e     record;
    place bigint;
    sum   bytea;
BEGIN
    FOR e IN SELECT * FROM postroom.events_event ORDER BY tenant_id, stream, seq LOOP
        IF e.seq = 1 THEN
            place := 0;
            sum := sha256(convert_to(format(E'postroom log\n%s\n%s', e.tenant_id, e.stream), 'UTF8'));
        END IF;
        place := greatest(place, e.txid::text::bigint);
        sum := sha256(sum || convert_to(concat_ws(E'\n', e.seq, place,
            to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), e.kind, e.body), 'UTF8'));
        UPDATE postroom.events_event SET position = place, hash = sum
         WHERE tenant_id = e.tenant_id AND stream = e.stream AND seq = e.seq AND at = e.at;
    END LOOP;
END $$;
UPDATE postroom.events_head AS h SET position = e.position, hash = e.hash
  FROM postroom.events_event AS e
 WHERE e.tenant_id = h.tenant_id AND e.stream = h.stream AND e.seq = h.seq;
ALTER TABLE postroom.events_event FORCE ROW LEVEL SECURITY;
ALTER TABLE postroom.events_head FORCE ROW LEVEL SECURITY;

DROP INDEX postroom.events_event_feed;
ALTER TABLE postroom.events_event DROP COLUMN id, DROP COLUMN txid, ALTER COLUMN position SET NOT NULL;
CREATE INDEX events_event_feed ON postroom.events_event (tenant_id, position, stream, seq);
REVOKE DELETE, TRUNCATE ON postroom.events_head FROM postroom_app;

-- To be called at each start, before anything is appended: a position that this server's transactions have
-- not reached yet was given by another one. A position that is visible here was given before the snapshot was
-- taken, so nothing else can look like that. Says how many tenants' logs were restored.
CREATE FUNCTION postroom.events_mind_restore() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    tenants bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('postroom.events_mind_restore'));
    INSERT INTO events_restored (tenant_id, base)
    SELECT h.tenant_id, max(h.position)
      FROM events_head AS h
     GROUP BY h.tenant_id
    HAVING max(h.position) >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
         + coalesce((SELECT max(r.base) FROM events_restored AS r WHERE r.tenant_id = h.tenant_id), 0);
    GET DIAGNOSTICS tenants = ROW_COUNT;
    RETURN tenants;
END $$;
CALL postroom.across_tenants('events_mind_restore()', 'events_head', 'events_restored');
GRANT INSERT ON postroom.events_restored TO postroom_system;

-- The heads of all streams at one moment, signed with a key that the database never sees.
CREATE TABLE postroom.events_seal (
    tenant_id bigint NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    number    bigint NOT NULL,                  -- 1, 2, 3 ... without a gap
    body      text   NOT NULL,                  -- canonical JSON; what the signature covers
    signature bytea  NOT NULL,                  -- Ed25519
    PRIMARY KEY (tenant_id, number)
);
CALL postroom.protect('events_seal');
REVOKE UPDATE, DELETE, TRUNCATE ON postroom.events_seal FROM postroom_app;
