-- Long jobs give way to others when all workers are busy.

ALTER TABLE postroom.jobs_job ADD COLUMN gave_way int NOT NULL DEFAULT 0; -- so often, over all tries

-- What waits for a worker: of each of the next tenants behind `turn`, in a circle, the job of these kinds that it would
-- be given. An executor that has no worker free asks this every second, so it looks no further than a thousand jobs
-- of a hundred tenants: those behind wait for a worker that comes free by itself.
CREATE FUNCTION postroom.jobs_waiting(wanted text[], turn bigint)
RETURNS TABLE (owner bigint, number bigint, urgency smallint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '10s', true); -- others wait for its locks
    -- As whoever claims does; now nobody does.
    UPDATE jobs_job j SET place = 0
      FROM (SELECT l.tenant_id, l.id FROM jobs_job l
             WHERE l.state = 'pending' AND l.place = 1 AND l.run_at <= clock_timestamp()
             ORDER BY l.run_at LIMIT 1000 FOR UPDATE SKIP LOCKED) AS due
     WHERE j.tenant_id = due.tenant_id AND j.id = due.id;
    RETURN QUERY
    SELECT t.tenant_id, w.id, w.priority
      FROM unnest(jobs_tenants(wanted, turn, 100)) WITH ORDINALITY AS t (tenant_id, nr)
     CROSS JOIN LATERAL (
           SELECT c.id, c.priority
             FROM (SELECT j.id, j.key, j.priority FROM jobs_job j
                    WHERE j.tenant_id = t.tenant_id AND j.state = 'pending' AND j.place = 0
                      AND j.kind = ANY(wanted)
                    ORDER BY j.priority DESC, j.id LIMIT 1000) AS c
            WHERE c.key IS NULL
               OR NOT EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = t.tenant_id AND r.key = c.key
                                                       AND r.state = 'running')
            ORDER BY c.priority DESC, c.id LIMIT 1) AS w
     ORDER BY t.nr;
END
$$;

-- These waited again because others had to have their turn: in the transaction that has them wait, which holds them.
CREATE FUNCTION postroom.jobs_gave_way(tenants bigint[], ids bigint[], fences int[]) RETURNS void
LANGUAGE sql AS $$
    WITH gave AS (
        UPDATE jobs_job j SET gave_way = j.gave_way + 1
          FROM unnest(tenants, ids, fences) AS g (tenant_id, id, fence)
         WHERE j.tenant_id = g.tenant_id AND j.id = g.id AND j.attempts = g.fence AND j.state = 'pending'
        RETURNING j.tenant_id, j.id
    )
    INSERT INTO jobs_event (tenant_id, job_id, level, message)
    SELECT g.tenant_id, g.id, 'info', 'gave way to others' FROM gave g
$$;

CALL postroom.across_tenants('jobs_waiting(text[], bigint)', 'jobs_job');
CALL postroom.across_tenants('jobs_gave_way(bigint[], bigint[], int[])', 'jobs_job', 'jobs_event');

-- As jobs_claim: a plan made while the table was small must not scan it all.
ALTER FUNCTION postroom.jobs_waiting(text[], bigint) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.jobs_waiting(text[], bigint) SET enable_seqscan = off;
ALTER FUNCTION postroom.jobs_gave_way(bigint[], bigint[], int[]) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.jobs_gave_way(bigint[], bigint[], int[]) SET enable_seqscan = off;
