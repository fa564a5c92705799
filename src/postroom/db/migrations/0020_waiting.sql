-- Jobs that wait for a worker: accounts are stale when theirs wait too long, and long jobs give way to others.

-- Locked in this order, as the schedule does.
ALTER TABLE postroom.accounts_account
    ADD wanted_at timestamptz NOT NULL DEFAULT now(); -- since when a sync should succeed; one that waits, runs or fails moves it not
CREATE INDEX accounts_account_wanted ON postroom.accounts_account (wanted_at)
 WHERE stale_at IS NULL AND state IN ('active', 'error');

ALTER TABLE postroom.jobs_job
    ADD gave_way       int NOT NULL DEFAULT 0, -- so often, over all tries
    ADD promised_until timestamptz;            -- somebody gives way to it, and nobody else has to meanwhile

-- Accounts that should have been brought up to date so long ago, or three of their intervals ago, of which that was not
-- told yet. A copy is not stale while it grows: the first one takes hours. (Before, accounts_gone_stale told; it and
-- its index stay for the previous release.)
CREATE FUNCTION postroom.accounts_overdue(age interval, every interval, most int)
RETURNS TABLE (tenant_id bigint, account_id bigint)
LANGUAGE sql STABLE AS $$
    SELECT a.tenant_id, a.id
      FROM accounts_account a
     CROSS JOIN LATERAL (SELECT coalesce(a.poll_every, every)) AS p (interval)
     CROSS JOIN LATERAL (SELECT now() - greatest(age, 3 * p.interval)) AS o (old)
     WHERE a.state IN ('active', 'error') AND a.stale_at IS NULL
       AND a.wanted_at < now() - age AND a.wanted_at < o.old
       -- The previous release does not say when it wants the next success.
       AND (a.last_sync_status = 'success' AND a.last_sync_at > o.old - p.interval) IS NOT TRUE
       AND NOT (a.sync_started_at IS NOT NULL AND a.failing_since IS NULL
                AND EXISTS (SELECT FROM events_event e
                             WHERE e.tenant_id = a.tenant_id AND e.stream = a.id AND e.at > o.old
                               AND e.seq = (SELECT h.seq FROM events_head h
                                             WHERE h.tenant_id = a.tenant_id AND h.stream = a.id)))
     LIMIT most
$$;

-- What waits for a worker: of each of the next tenants behind `turn`, in a circle, the job of these kinds that it would
-- be given; without those to which somebody gives way already. An executor that has no worker free asks this every
-- second, so it looks no further than a thousand jobs of a hundred tenants: those behind wait for a worker that comes
-- free by itself.
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
                      AND (j.promised_until IS NULL OR j.promised_until < clock_timestamp())
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
        UPDATE jobs_job j SET gave_way = j.gave_way + 1, promised_until = NULL
          FROM unnest(tenants, ids, fences) AS g (tenant_id, id, fence)
         WHERE j.tenant_id = g.tenant_id AND j.id = g.id AND j.attempts = g.fence AND j.state = 'pending'
        RETURNING j.tenant_id, j.id
    )
    INSERT INTO jobs_event (tenant_id, job_id, level, message)
    SELECT g.tenant_id, g.id, 'info', 'gave way to others' FROM gave g
$$;

CALL postroom.across_tenants('accounts_overdue(interval, interval, int)', 'accounts_account', 'events_head', 'events_event');
CALL postroom.across_tenants('jobs_waiting(text[], bigint)', 'jobs_job');
CALL postroom.across_tenants('jobs_gave_way(bigint[], bigint[], int[])', 'jobs_job', 'jobs_event');

-- As jobs_claim: a plan made while the table was small must not scan it all.
ALTER FUNCTION postroom.jobs_waiting(text[], bigint) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.jobs_waiting(text[], bigint) SET enable_seqscan = off;
ALTER FUNCTION postroom.jobs_gave_way(bigint[], bigint[], int[]) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.jobs_gave_way(bigint[], bigint[], int[]) SET enable_seqscan = off;
