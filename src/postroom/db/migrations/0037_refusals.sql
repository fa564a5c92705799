-- Credentials that a server refuses: believed when it says so twice, and tried again now and then, so that an account recovers by
-- itself when the server accepts them again.

ALTER TABLE postroom.accounts_account
    ADD refusals smallint NOT NULL DEFAULT 0, -- in a row
    ADD retry_at timestamptz;                 -- when one that waits for its owner is tried again; null: not by itself
CREATE INDEX accounts_account_retry ON postroom.accounts_account (retry_at)
 WHERE state = 'reauth_required' AND retry_at IS NOT NULL;

-- Functions are replaced by the role that owns them.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

-- As before, and: those that wait for their owner, when it is time to try them again. Should this process die, the same hours later.
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
    ), refused AS MATERIALIZED (
        SELECT a.tenant_id, a.id, a.poll_every FROM accounts_account a
         WHERE a.retry_at <= now() AND a.state = 'reauth_required'
         ORDER BY a.retry_at
         LIMIT cardinality(public_ids) - (SELECT count(*) FROM due)
           FOR NO KEY UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE accounts_account a
           SET next_sync_at = now() + coalesce(due.poll_every, every) * (0.9 + 0.2 * random()),
               retry_at = CASE a.state WHEN 'reauth_required' THEN now() + interval '6 hours' END
          FROM (SELECT * FROM due UNION ALL SELECT * FROM refused) AS due WHERE a.id = due.id
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
