-- Syncs as jobs: due accounts become jobs in one step, and an account that nobody brings up to date is told of.

ALTER TABLE postroom.accounts_account ADD stale_at timestamptz; -- since when it is known to be; null: it is not

-- Up to so many due accounts of all tenants, as there are ids for jobs, come to wait as jobs that leave no row
-- where they find nothing; the longest waiting come first. Each is due again after its interval. Where a sync of
-- an account waits or runs already, that one will do. How many were due.
CREATE FUNCTION postroom.sync_enqueue_due(public_ids uuid[], every interval, seconds int) RETURNS int
LANGUAGE plpgsql AS $$
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
                            WHERE r.tenant_id = n.tenant_id AND r.key = n.key AND r.state = 'running')
        ON CONFLICT (tenant_id, dedupe) WHERE state = 'pending' AND dedupe IS NOT NULL DO NOTHING
    )
    SELECT count(*) INTO found FROM moved;
    RETURN found;
END
$$;

-- How many jobs are ready, counted up to so many.
CREATE FUNCTION postroom.jobs_ready(most int) RETURNS int
LANGUAGE sql STABLE AS $$
    SELECT count(*)::int FROM (SELECT FROM jobs_job j WHERE j.state = 'pending' AND j.place = 0 LIMIT most) AS ready
$$;

-- Accounts that are polled and have not been brought up to date for so long, of which that was not told yet.
-- A copy is as old as its first failure in a row, or as the poll that should have been.
CREATE FUNCTION postroom.accounts_gone_stale(age interval, every interval, most int)
RETURNS TABLE (tenant_id bigint, account_id bigint)
LANGUAGE sql STABLE AS $$
    SELECT a.tenant_id, a.id FROM accounts_account a
     WHERE a.state IN ('active', 'error') AND a.stale_at IS NULL
       AND coalesce(a.failing_since, a.next_sync_at) < now() - greatest(age, 3 * coalesce(a.poll_every, every))
     LIMIT most
$$;
CREATE INDEX accounts_account_failing ON postroom.accounts_account (failing_since)
 WHERE failing_since IS NOT NULL AND stale_at IS NULL;

-- Accounts that were not compared in full for so long are due at once. How many there were.
CREATE FUNCTION postroom.accounts_compare_again(age interval) RETURNS bigint
LANGUAGE sql AS $$
    WITH old AS (
        UPDATE accounts_account a SET next_sync_at = now()
         WHERE a.state = 'active' AND a.compared_at < now() - age AND a.next_sync_at > now()
        RETURNING 1
    )
    SELECT count(*) FROM old
$$;

-- Every tenant, in order, from the one behind `after`.
CREATE FUNCTION postroom.people_tenants(after bigint, most int) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    SELECT t.tenant_id FROM people_tenant t WHERE t.tenant_id > after ORDER BY t.tenant_id LIMIT most
$$;

CALL postroom.across_tenants('sync_enqueue_due(uuid[], interval, int)', 'accounts_account', 'jobs_job');
CALL postroom.across_tenants('jobs_ready(int)', 'jobs_job');
CALL postroom.across_tenants('accounts_gone_stale(interval, interval, int)', 'accounts_account');
CALL postroom.across_tenants('accounts_compare_again(interval)', 'accounts_account');
CALL postroom.across_tenants('people_tenants(bigint, int)', 'people_tenant');
GRANT INSERT ON postroom.jobs_job TO postroom_system;

-- Planned for what the tables are when it matters, not for the empty ones of the first start.
ALTER FUNCTION postroom.sync_enqueue_due(uuid[], interval, int) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.sync_enqueue_due(uuid[], interval, int) SET enable_seqscan = off;
