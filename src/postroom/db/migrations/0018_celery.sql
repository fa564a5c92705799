-- Executors that are told by a message which job to take. The message may be lost, late or doubled: the row decides.

-- When a message was last sent about a job that is ready; NULL once a message has come to nothing.
ALTER TABLE postroom.jobs_job ADD COLUMN published_at timestamptz;
CREATE INDEX jobs_job_published ON postroom.jobs_job (tenant_id, key)
    WHERE state = 'pending' AND key IS NOT NULL AND published_at IS NOT NULL;

-- Just this job for a holder, if it is ready, of a kind that is wanted, and no other of its key runs. Otherwise it
-- waits for its time or its key, and a new message.
CREATE FUNCTION postroom.jobs_take(by text, wanted text[], tenant bigint, number bigint, lease interval)
RETURNS SETOF jobs_job
LANGUAGE plpgsql AS $$
DECLARE
    its_key text;
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '10s', true); -- others wait for its locks
    -- The key before the row, as whoever frees a key does.
    SELECT j.key INTO its_key FROM jobs_job j
     WHERE j.tenant_id = tenant AND j.id = number AND j.state = 'pending' AND j.kind = ANY(wanted);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF its_key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(jobs_lock(tenant, its_key));
    END IF;
    -- A new snapshot: whoever had the key before has committed what it did.
    RETURN QUERY
    UPDATE jobs_job j
       SET state = 'running', attempts = j.attempts + 1, holder = by, published_at = NULL,
           lease_until = clock_timestamp() + lease, started_at = coalesce(j.started_at, clock_timestamp())
     WHERE j.tenant_id = tenant AND j.id = number AND j.state = 'pending' AND j.run_at <= clock_timestamp()
       AND (its_key IS NULL OR NOT EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = tenant AND r.key = its_key
                                                                   AND r.state = 'running'))
    RETURNING j.*;
    IF NOT FOUND THEN
        UPDATE jobs_job j
           SET published_at = NULL, place = CASE WHEN j.run_at > clock_timestamp() THEN 1 ELSE 2 END
         WHERE j.tenant_id = tenant AND j.id = number AND j.state = 'pending';
    END IF;
END
$$;

-- Ready jobs of which to send a message: not sent yet, or so long ago that it must be lost. In turn one of each
-- tenant; of each key none but the first, and the others wait behind it.
CREATE FUNCTION postroom.jobs_publish(wanted text[], room int, again interval, turn bigint)
RETURNS TABLE (owner bigint, number bigint)
LANGUAGE plpgsql AS $$
DECLARE
    tenants bigint[];
    each    int;
    whose   bigint[]; -- tenant and number of what is looked at
    seen    bigint[];
    owners  bigint[]; -- and of what is chosen
    chosen  bigint[];
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '10s', true); -- others wait for its locks
    UPDATE jobs_job j SET place = 0
      FROM (SELECT l.tenant_id, l.id FROM jobs_job l
             WHERE l.state = 'pending' AND l.place = 1 AND l.run_at <= clock_timestamp()
             ORDER BY l.run_at LIMIT 1000 FOR UPDATE SKIP LOCKED) AS due
     WHERE j.tenant_id = due.tenant_id AND j.id = due.id;
    WHILE room > 0 LOOP
        -- More than there is room for: of some all was sent already.
        tenants := jobs_tenants(wanted, turn, room + 1000);
        EXIT WHEN cardinality(tenants) = 0;
        each := (room - 1) / cardinality(tenants) + 1;
        WITH candidate AS MATERIALIZED (
            SELECT c.tenant_id, c.id, c.key
              FROM unnest(tenants) AS t (tenant_id)
             CROSS JOIN LATERAL (
                   SELECT j.tenant_id, j.id, j.key FROM jobs_job j
                    WHERE j.tenant_id = t.tenant_id AND j.state = 'pending' AND j.place = 0
                      AND j.kind = ANY(wanted)
                      AND (j.published_at IS NULL OR j.published_at < greatest(j.run_at, clock_timestamp() - again))
                    ORDER BY j.priority DESC, j.id LIMIT each + 100
                      FOR UPDATE SKIP LOCKED) AS c
        )
        SELECT array_agg(c.tenant_id), array_agg(c.id) INTO whose, seen FROM candidate c
         WHERE CASE WHEN c.key IS NULL THEN true ELSE pg_try_advisory_xact_lock(jobs_lock(c.tenant_id, c.key)) END;
        EXIT WHEN seen IS NULL;
        -- A new snapshot: whoever had one of these keys before has committed what it did.
        WITH looked AS (
            SELECT j.tenant_id, j.id, j.priority,
                   j.key IS NULL OR (
                       row_number() OVER (PARTITION BY j.tenant_id, j.key ORDER BY j.priority DESC, j.id) = 1
                       AND NOT EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = j.tenant_id AND r.key = j.key
                                                                AND r.state = 'running')
                       AND NOT EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = j.tenant_id AND r.key = j.key
                                                                AND r.state = 'pending' AND r.id <> j.id
                                                                AND r.published_at > clock_timestamp() - again)
                   ) AS is_free
              FROM unnest(whose, seen) AS s (tenant_id, id)
              JOIN jobs_job j ON j.tenant_id = s.tenant_id AND j.id = s.id
        ), turned AS (
            SELECT l.tenant_id, l.id,
                   row_number() OVER (PARTITION BY l.tenant_id ORDER BY l.priority DESC, l.id) AS round
              FROM looked l WHERE l.is_free
        ), best AS (
            SELECT t.tenant_id, t.id, row_number() OVER (ORDER BY t.round, array_position(tenants, t.tenant_id)) AS nr
              FROM turned t
        )
        SELECT array_agg(b.tenant_id ORDER BY b.nr), array_agg(b.id ORDER BY b.nr) INTO owners, chosen
          FROM best b WHERE b.nr <= room;
        UPDATE jobs_job j SET published_at = clock_timestamp()
          FROM unnest(owners, chosen) AS t (tenant_id, id)
         WHERE j.tenant_id = t.tenant_id AND j.id = t.id;
        RETURN QUERY SELECT * FROM unnest(owners, chosen);
        room := room - coalesce(cardinality(chosen), 0);
        UPDATE jobs_job j SET place = 2
          FROM unnest(whose, seen) AS s (tenant_id, id)
         WHERE j.tenant_id = s.tenant_id AND j.id = s.id AND j.state = 'pending' AND j.key IS NOT NULL
           AND (EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = j.tenant_id AND r.key = j.key
                                                 AND r.state = 'running')
                OR EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = j.tenant_id AND r.key = j.key
                                                    AND r.state = 'pending' AND r.id <> j.id
                                                    AND r.published_at > clock_timestamp() - again));
        EXIT WHEN NOT FOUND; -- nothing stands in the way of what may lie behind it
    END LOOP;
END
$$;

CALL postroom.across_tenants('jobs_take(text, text[], bigint, bigint, interval)', 'jobs_job');
CALL postroom.across_tenants('jobs_publish(text[], int, interval, bigint)', 'jobs_job');

-- As jobs_claim: a plan made while the table was small must not scan it all.
ALTER FUNCTION postroom.jobs_publish(text[], int, interval, bigint) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.jobs_publish(text[], int, interval, bigint) SET enable_seqscan = off;
ALTER FUNCTION postroom.jobs_take(text, text[], bigint, bigint, interval) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.jobs_take(text, text[], bigint, bigint, interval) SET enable_seqscan = off;
