-- Which process watches which account: it keeps a session in which the server tells of changes.

-- Whoever watches writes nothing but this, so no lease guards it: of a process that does not live the account is free.
CREATE TABLE postroom.sync_watch (
    tenant_id  bigint      NOT NULL,
    account_id bigint      NOT NULL,
    process    text        NOT NULL,                            -- as in db_process
    means      text        CHECK (means IN ('idle', 'notify')), -- how the server tells; null: it does not, at present
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),  -- that it does, or does not
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sync_watch_process ON postroom.sync_watch (process);
CALL postroom.protect('sync_watch');

-- At most so many accounts that no process watches which lives, for `by`. Of two that want the same one gets it.
CREATE FUNCTION postroom.sync_watch_claim(by text, living text[], kinds text[], most int)
RETURNS TABLE (owner bigint, account bigint)
LANGUAGE sql AS $$
    INSERT INTO sync_watch AS w (tenant_id, account_id, process)
    SELECT a.tenant_id, a.id, by
      FROM accounts_account a
      LEFT JOIN sync_watch o ON o.tenant_id = a.tenant_id AND o.account_id = a.id
     WHERE a.state IN ('active', 'error') AND a.provider = ANY(kinds)
       AND (o.account_id IS NULL OR o.process <> ALL(living))
     ORDER BY a.id
     LIMIT most
    ON CONFLICT (tenant_id, account_id) DO UPDATE SET process = excluded.process, means = NULL, since = excluded.since
     WHERE w.process <> ALL(living)
    RETURNING w.tenant_id, w.account_id
$$;

-- How many accounts each living process watches; without a name, how many there are to be watched.
CREATE FUNCTION postroom.sync_watch_shares(living text[], kinds text[])
RETURNS TABLE (watcher text, accounts bigint)
LANGUAGE sql STABLE AS $$
    SELECT NULL, count(*) FROM accounts_account a WHERE a.state IN ('active', 'error') AND a.provider = ANY(kinds)
     UNION ALL
    SELECT w.process, count(*) FROM sync_watch w WHERE w.process = ANY(living) GROUP BY w.process
$$;

-- What `by` watches, once it has let go of what its owner wants to rest; and whether it has been copied and its last sync went well.
CREATE FUNCTION postroom.sync_watch_mine(by text)
RETURNS TABLE (owner bigint, account bigint, is_well boolean)
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM sync_watch w USING accounts_account a
         WHERE w.process = by AND a.id = w.account_id AND a.state NOT IN ('active', 'error')
        RETURNING w.account_id
    )
    SELECT w.tenant_id, w.account_id, a.state = 'active' AND a.compared_at IS NOT NULL
      FROM sync_watch w JOIN accounts_account a ON a.id = w.account_id
     WHERE w.process = by AND w.account_id NOT IN (SELECT g.account_id FROM gone g)
$$;

-- Lets go of these, or of all.
CREATE FUNCTION postroom.sync_watch_release(by text, accounts bigint[]) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM sync_watch w WHERE w.process = by AND (accounts IS NULL OR w.account_id = ANY(accounts))
$$;

-- How the servers of these tell now.
CREATE FUNCTION postroom.sync_watch_tell(by text, accounts bigint[], told text[]) RETURNS void
LANGUAGE sql AS $$
    UPDATE sync_watch w SET means = n.means, since = clock_timestamp()
      FROM unnest(accounts, told) AS n (account_id, means)
     WHERE w.process = by AND w.account_id = n.account_id AND w.means IS DISTINCT FROM n.means
$$;

-- At most so many accounts that `by` watches and that are due; their next turn is written, as below. First syncs, and
-- accounts in trouble, are left to the schedule.
CREATE FUNCTION postroom.sync_watch_due(by text, every interval, most int)
RETURNS TABLE (owner bigint, account bigint)
LANGUAGE sql AS $$
    WITH due AS MATERIALIZED (
        SELECT a.tenant_id, a.id, a.poll_every
          FROM accounts_account a JOIN sync_watch w ON w.tenant_id = a.tenant_id AND w.account_id = a.id
         WHERE a.next_sync_at <= now() AND a.state = 'active' AND a.compared_at IS NOT NULL AND w.process = by AND w.means IS NOT NULL
         ORDER BY a.next_sync_at
         LIMIT most
           FOR NO KEY UPDATE OF a SKIP LOCKED
    )
    UPDATE accounts_account a SET next_sync_at = now() + coalesce(due.poll_every, every) * (0.9 + 0.2 * random())
      FROM due WHERE a.id = due.id
    RETURNING a.tenant_id, a.id
$$;

CALL postroom.across_tenants('sync_watch_claim(text, text[], text[], int)', 'sync_watch', 'accounts_account');
CALL postroom.across_tenants('sync_watch_shares(text[], text[])', 'sync_watch', 'accounts_account');
CALL postroom.across_tenants('sync_watch_mine(text)', 'sync_watch', 'accounts_account');
CALL postroom.across_tenants('sync_watch_release(text, bigint[])', 'sync_watch');
CALL postroom.across_tenants('sync_watch_tell(text, bigint[], text[])', 'sync_watch');
CALL postroom.across_tenants('sync_watch_due(text, interval, int)', 'sync_watch', 'accounts_account');
GRANT INSERT, UPDATE, DELETE ON postroom.sync_watch TO postroom_system;

-- Functions are replaced by the role that owns them.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

-- As before, and: those that wait for their owner, when it is time to try them again; should this process die, hours later.
-- Whoever watches an account polls it in the session that listens; others do so only where that has not happened for a
-- while. Nobody watches one that waits for its owner.
CREATE OR REPLACE FUNCTION postroom.sync_enqueue_due(public_ids uuid[], every interval, seconds int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = postroom, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    found int;
BEGIN
    WITH due AS MATERIALIZED (
        SELECT a.tenant_id, a.id, a.poll_every FROM accounts_account a
         WHERE a.next_sync_at <= now() AND a.state IN ('active', 'error')
           AND (a.next_sync_at <= now() - interval '5 seconds' OR NOT EXISTS (
                SELECT FROM sync_watch w
                 WHERE w.tenant_id = a.tenant_id AND w.account_id = a.id AND w.means IS NOT NULL))
         ORDER BY a.next_sync_at
         LIMIT cardinality(public_ids)
           FOR NO KEY UPDATE OF a SKIP LOCKED
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
