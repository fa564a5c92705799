-- Work that its account outgrows: it is stopped, or joined by who wants the same, and counts what it stores as it does.

-- Grows with each change of server or password: what a login with older ones came to says nothing of the new ones.
ALTER TABLE postroom.accounts_account ADD credentials_version int NOT NULL DEFAULT 1;

ALTER TABLE postroom.jobs_job
    ADD is_joined boolean NOT NULL DEFAULT false, -- somebody joined it while it ran: what this try comes to is not the end
    ADD tally jsonb   NOT NULL DEFAULT '{}';  -- what all its tries have stored, by name

-- Functions are replaced by the role that owns them.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

-- As before, and: what was joined waits again, whatever this try came to; what was to stop and did not come through is
-- cancelled, and has not failed.
CREATE OR REPLACE FUNCTION postroom.jobs_finish(
    tenants bigint[], ids bigint[], fences int[], states text[], counts boolean[], kept boolean[],
    runs_at timestamptz[], codes text[], reasons text[], results jsonb[]
) RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = postroom, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    owners bigint[];
    keys   text[];
    twins  bigint[]; -- what waits again together with an earlier one of the same dedupe
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '10s', true); -- others wait for its locks
    SELECT array_agg(j.tenant_id), array_agg(j.key) INTO owners, keys
      FROM unnest(tenants, ids) AS e (tenant_id, id)
      JOIN jobs_job j ON j.tenant_id = e.tenant_id AND j.id = e.id
     WHERE j.key IS NOT NULL;
    IF keys IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(k.number)
           FROM (SELECT DISTINCT jobs_lock(u.tenant_id, u.key) AS number
                   FROM unnest(owners, keys) AS u (tenant_id, key) ORDER BY 1) AS k;
    END IF;
    IF 'pending' = ANY(states) THEN
        SELECT array_agg(d.id) INTO twins
          FROM (SELECT j.id, row_number() OVER (PARTITION BY j.tenant_id, j.dedupe ORDER BY j.id) AS nr
                  FROM unnest(tenants, ids, fences, states) AS e (tenant_id, id, fence, state)
                  JOIN jobs_job j ON j.tenant_id = e.tenant_id AND j.id = e.id AND j.attempts = e.fence
                 WHERE e.state = 'pending' AND j.state = 'running' AND NOT j.cancel_requested
                   AND j.dedupe IS NOT NULL) AS d
         WHERE d.nr > 1;
    END IF;
    IF false = ANY(kept) THEN
        RETURN QUERY
        DELETE FROM jobs_job j
         USING unnest(tenants, ids, fences, kept) AS e (tenant_id, id, fence, is_kept)
         WHERE j.tenant_id = e.tenant_id AND j.id = e.id AND j.attempts = e.fence AND j.state = 'running'
           AND NOT e.is_kept AND NOT j.is_joined
        RETURNING j.id;
    END IF;
    RETURN QUERY
    WITH ended AS (
        UPDATE jobs_job j
           SET state = CASE WHEN j.cancel_requested AND e.state <> 'completed' THEN 'cancelled'
                            WHEN j.is_joined AND NOT j.cancel_requested THEN 'pending'
                            ELSE e.state END,
               holder = NULL, lease_until = NULL, is_joined = false,
               failures = j.failures + (e.counts AND NOT j.is_joined)::int,
               place = CASE WHEN e.state = 'pending' AND e.run_at > clock_timestamp() THEN 1 ELSE 0 END,
               run_at = coalesce(e.run_at, j.run_at),
               -- One with the same may have come to wait meanwhile; then this one is merged with nothing any more.
               dedupe = CASE WHEN j.cancel_requested OR (e.state <> 'pending' AND NOT j.is_joined) THEN j.dedupe
                             WHEN j.id = ANY(twins) THEN NULL
                             WHEN j.dedupe IS NULL OR NOT EXISTS (
                            SELECT FROM jobs_job o WHERE o.tenant_id = j.tenant_id AND o.dedupe = j.dedupe
                                                     AND o.state = 'pending') THEN j.dedupe END,
               error_code = CASE WHEN NOT j.cancel_requested THEN e.code END,
               error_reason = CASE WHEN NOT j.cancel_requested THEN e.reason END,
               result = CASE WHEN j.cancel_requested OR NOT j.is_joined THEN e.result END,
               finished_at = CASE WHEN j.cancel_requested OR (e.state <> 'pending' AND NOT j.is_joined)
                                  THEN clock_timestamp() END
          FROM unnest(tenants, ids, fences, states, counts, kept, runs_at, codes, reasons, results)
            AS e (tenant_id, id, fence, state, counts, is_kept, run_at, code, reason, result)
         WHERE j.tenant_id = e.tenant_id AND j.id = e.id AND j.attempts = e.fence AND j.state = 'running'
           AND (e.is_kept OR j.is_joined)
        RETURNING j.tenant_id, j.id, j.state, j.run_at, j.failures, j.tries, j.error_code, j.error_reason
    ), told AS (
        INSERT INTO jobs_event (tenant_id, job_id, level, message, data)
        SELECT d.tenant_id, d.id, CASE d.state WHEN 'failed' THEN 'error' ELSE 'warning' END, d.error_reason,
               jsonb_build_object('code', d.error_code, 'failures', d.failures, 'tries', d.tries, 'again_at',
                                  CASE WHEN d.state = 'pending' THEN to_jsonb(d.run_at) END)
          FROM ended d WHERE d.error_code IS NOT NULL
    )
    SELECT d.id FROM ended d;
    IF keys IS NOT NULL THEN
        PERFORM jobs_promote(array_agg(u.tenant_id), array_agg(u.key))
           FROM unnest(owners, keys) AS u (tenant_id, key)
          WHERE NOT EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = u.tenant_id AND r.key = u.key
                                                     AND r.state = 'running');
    END IF;
END
$$;

-- As before, and: a sync that is to stop will not do.
CREATE OR REPLACE FUNCTION postroom.sync_enqueue_due(public_ids uuid[], every interval, seconds int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = postroom, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    found int;
BEGIN
    WITH due AS MATERIALIZED (
        SELECT a.tenant_id, a.id, a.poll_every FROM accounts_account a
         WHERE a.next_sync_at <= now() AND a.state IN ('active', 'error')
         ORDER BY a.next_sync_at
         LIMIT cardinality(public_ids)
           FOR NO KEY UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE accounts_account a
           SET next_sync_at = now() + coalesce(due.poll_every, every) * (0.9 + 0.2 * random())
          FROM due WHERE a.id = due.id
        RETURNING a.tenant_id, a.id
    ), numbered AS (
        SELECT m.tenant_id, m.id, 'sync.account:' || m.id AS key, row_number() OVER () AS nr FROM moved m
    ), made AS (
        INSERT INTO jobs_job (tenant_id, public_id, kind, account_id, key, dedupe, limit_seconds, is_kept)
        SELECT n.tenant_id, public_ids[n.nr], 'sync.account', n.id, n.key, n.key, seconds, false
          FROM numbered n
         WHERE NOT EXISTS (SELECT FROM jobs_job r
                            WHERE r.tenant_id = n.tenant_id AND r.key = n.key AND r.state = 'running'
                              AND NOT r.cancel_requested)
        ON CONFLICT (tenant_id, dedupe) WHERE state = 'pending' AND dedupe IS NOT NULL DO NOTHING
    )
    SELECT count(*) INTO found FROM moved;
    RETURN found;
END
$$;

RESET ROLE;
REVOKE CREATE ON SCHEMA postroom FROM postroom_system;
