-- What was removed of the log, because it was older than it is kept.

-- The last entry of each stream that was. Whatever lies before one of them in the order of feeds is gone, or is about to go. A seal vouches for
-- them: the chain of what is left begins there.
CREATE TABLE postroom.events_removed (
    tenant_id bigint      NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    stream    bigint      NOT NULL,
    seq       bigint      NOT NULL,
    position  bigint      NOT NULL,
    hash      bytea       NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, stream)
);
CREATE INDEX events_removed_feed ON postroom.events_removed (tenant_id, position, stream, seq);
CALL postroom.protect('events_removed');
CALL postroom.narrow('events_removed', 'SELECT', 'stream = ANY (accounts())');

-- Removes at most so many of these entries of the transaction's tenant, the oldest first; says how many.
CREATE FUNCTION postroom.events_sweep(most int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    last record;
    gone bigint;
BEGIN
    SELECT r.position, r.stream, r.seq INTO last
      FROM events_removed r WHERE r.tenant_id = tenant()
     ORDER BY r.position DESC, r.stream DESC, r.seq DESC LIMIT 1;
    DELETE FROM events_event e
     USING (SELECT o.stream, o.seq, o.at FROM events_event o
             WHERE o.tenant_id = tenant() AND (o.position, o.stream, o.seq) <= (last.position, last.stream, last.seq)
             ORDER BY o.position, o.stream, o.seq LIMIT most) AS old
     WHERE e.tenant_id = tenant() AND e.stream = old.stream AND e.seq = old.seq AND e.at = old.at;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;
CALL postroom.across_tenants('events_sweep(int)', 'events_event', 'events_removed');
GRANT DELETE ON postroom.events_event TO postroom_system;
