-- Connections to mail servers, over all processes: how many there may be of an account, and of a host.

-- One row for each that is open or waited for. Its process is in db_process for as long as it lives; the rows of one that
-- is gone count for nothing, and are swept by whoever meets them.
CREATE TABLE postroom.providers_connection (
    tenant_id  bigint      NOT NULL,
    account_id bigint      NOT NULL,
    id         bigint      NOT NULL,               -- by chance: whoever is cut off while it asks can take it back
    process    text        NOT NULL,
    host       text        NOT NULL,
    purpose    text        NOT NULL,               -- 'sync', 'command', 'watch'; the last gives way to the others
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),
    granted_at timestamptz,                        -- null: it is waited for
    wanted_at  timestamptz,                        -- somebody who has precedence has asked for it
    PRIMARY KEY (tenant_id, account_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('providers_connection');
CREATE INDEX providers_connection_host ON postroom.providers_connection (host)
 WHERE granted_at IS NOT NULL AND purpose <> 'watch';
CREATE INDEX providers_connection_process ON postroom.providers_connection (process);

-- What a server that refused one connection too many has taught.
CREATE TABLE postroom.providers_limit (
    tenant_id   bigint      NOT NULL,
    account_id  bigint      NOT NULL,
    connections int         NOT NULL CHECK (connections > 0),
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('providers_limit');

-- The lock of an account's connections, and that of a host's, which is taken after it.
CREATE FUNCTION postroom.providers_lock(tenant bigint, account bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended('providers_connection ' || account, tenant);
CREATE FUNCTION postroom.providers_lock_host(host text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended('providers_connection ' || host, -1);

-- Ask for a connection of each of these accounts, again and again for one that is waited for: a row for each, with
--
-- verdict  granted  it may be opened
--          waiting  not yet; those of `processes` have the account's. Of watchers that shall give way, one for each who
--                   waits before them, `wanted` names the connections
--          full     of its host there are as many as may be; nobody waits for that here
--          gone     there is no such account
--
-- `dead` are processes that are known to be gone before their time is over; `insists`: give way even though a
-- connection may come free that is no watcher's.
CREATE FUNCTION postroom.providers_ask(
    tenants bigint[], accounts bigint[], ids bigint[], hosts text[], ceilings int[],
    asking text, what_for text, of_host int, dead text[], insists boolean
) RETURNS TABLE (nr int, verdict text, processes text[], wanted bigint[])
LANGUAGE plpgsql AS $$
DECLARE
    e      record;
    mine   providers_connection;
    taken  int;     -- of the account
    before int;     -- who wait and come first
    theirs boolean; -- some of what is taken is no watcher's
    most   int;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true); -- no row outlives its process
    FOR e IN SELECT u.* FROM unnest(tenants, accounts, ids, hosts, ceilings) WITH ORDINALITY
                     AS u (tenant, account, id, host, ceiling, nr) ORDER BY u.tenant, u.account, u.nr LOOP
        nr := e.nr; verdict := 'gone'; processes := NULL; wanted := NULL;
        PERFORM pg_advisory_xact_lock(providers_lock(e.tenant, e.account));
        DELETE FROM providers_connection c
         WHERE c.tenant_id = e.tenant AND c.account_id = e.account
           AND (c.process = ANY(dead)
                OR NOT EXISTS (SELECT FROM db_process p WHERE p.identity = c.process AND db_is_alive(p.expires_at)));
        INSERT INTO providers_connection (tenant_id, account_id, id, process, host, purpose)
        SELECT a.tenant_id, a.id, e.id, asking, e.host, what_for FROM accounts_account a
         WHERE a.tenant_id = e.tenant AND a.id = e.account
        ON CONFLICT DO NOTHING;
        SELECT * INTO mine FROM providers_connection c
         WHERE c.tenant_id = e.tenant AND c.account_id = e.account AND c.id = e.id;
        IF NOT FOUND THEN
            RETURN NEXT; CONTINUE;
        END IF;
        SELECT count(*) FILTER (WHERE c.granted_at IS NOT NULL AND c.id <> e.id),
               count(*) FILTER (WHERE c.granted_at IS NULL
                                  AND (c.purpose = 'watch', c.since, c.id) < (what_for = 'watch', mine.since, e.id)),
               coalesce(bool_or(c.granted_at IS NOT NULL AND c.purpose <> 'watch'), false),
               array_agg(DISTINCT c.process) FILTER (WHERE c.granted_at IS NOT NULL)
          INTO taken, before, theirs, processes
          FROM providers_connection c WHERE c.tenant_id = e.tenant AND c.account_id = e.account;
        SELECT min(m) INTO most FROM (
            SELECT e.ceiling UNION ALL
            SELECT l.connections FROM providers_limit l
             WHERE l.tenant_id = e.tenant AND l.account_id = e.account AND l.expires_at > clock_timestamp()) AS o (m);
        IF taken + before >= most AND mine.granted_at IS NULL THEN
            verdict := 'waiting';
            IF what_for <> 'watch' AND (insists OR NOT theirs) THEN
                UPDATE providers_connection c SET wanted_at = clock_timestamp()
                 WHERE c.tenant_id = e.tenant AND c.account_id = e.account AND c.id IN (
                       SELECT w.id FROM providers_connection w
                        WHERE w.tenant_id = e.tenant AND w.account_id = e.account AND w.granted_at IS NOT NULL
                          AND w.purpose = 'watch'
                        ORDER BY w.wanted_at, w.since DESC LIMIT before + 1)
                   AND c.wanted_at IS NULL;
                SELECT array_agg(c.id) INTO wanted FROM providers_connection c
                 WHERE c.tenant_id = e.tenant AND c.account_id = e.account AND c.wanted_at IS NOT NULL;
            END IF;
        ELSE
            verdict := 'granted';
            IF what_for <> 'watch' AND mine.granted_at IS NULL THEN
                PERFORM pg_advisory_xact_lock(providers_lock_host(e.host));
                IF of_host <= (SELECT count(*) FROM providers_connection c
                                WHERE c.host = e.host AND c.granted_at IS NOT NULL AND c.purpose <> 'watch'
                                  AND EXISTS (SELECT FROM db_process p WHERE p.identity = c.process
                                                                         AND db_is_alive(p.expires_at))) THEN
                    verdict := 'full';
                END IF;
            END IF;
        END IF;
        IF verdict = 'granted' THEN
            UPDATE providers_connection c SET granted_at = clock_timestamp()
             WHERE c.tenant_id = e.tenant AND c.account_id = e.account AND c.id = e.id AND c.granted_at IS NULL;
        ELSIF verdict = 'full' THEN
            DELETE FROM providers_connection c
             WHERE c.tenant_id = e.tenant AND c.account_id = e.account AND c.id = e.id;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

-- These are given back, or not waited for any more. The accounts of which somebody waits for one.
CREATE FUNCTION postroom.providers_give_back(tenants bigint[], accounts bigint[], ids bigint[])
RETURNS TABLE (tenant_id bigint, account_id bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- After whoever counts them now, and before whoever counts them next: one of both tells who waits.
    PERFORM pg_advisory_xact_lock(l.number)
       FROM (SELECT DISTINCT providers_lock(u.tenant, u.account) AS number, u.tenant, u.account
               FROM unnest(tenants, accounts) AS u (tenant, account) ORDER BY u.tenant, u.account) AS l;
    DELETE FROM providers_connection c USING unnest(tenants, accounts, ids) AS u (tenant, account, id)
     WHERE c.tenant_id = u.tenant AND c.account_id = u.account AND c.id = u.id;
    RETURN QUERY
    SELECT DISTINCT u.tenant, u.account FROM unnest(tenants, accounts) AS u (tenant, account)
     WHERE EXISTS (SELECT FROM providers_connection c
                    WHERE c.tenant_id = u.tenant AND c.account_id = u.account AND c.granted_at IS NULL);
END
$$;

-- The server has refused one connection of the account too many: for so long there will be one less than there are now, if
-- that leaves any. How many there are now, with the one that was refused.
CREATE FUNCTION postroom.providers_learn(tenant bigint, account bigint, lasts interval) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    held int;
BEGIN
    PERFORM pg_advisory_xact_lock(providers_lock(tenant, account));
    SELECT count(*) INTO held FROM providers_connection c
     WHERE c.tenant_id = tenant AND c.account_id = account AND c.granted_at IS NOT NULL
       AND EXISTS (SELECT FROM db_process p WHERE p.identity = c.process AND db_is_alive(p.expires_at));
    IF held > 1 THEN
        INSERT INTO providers_limit (tenant_id, account_id, connections, expires_at)
        VALUES (tenant, account, held - 1, clock_timestamp() + lasts)
        ON CONFLICT (tenant_id, account_id)
        DO UPDATE SET connections = excluded.connections, expires_at = excluded.expires_at;
    END IF;
    RETURN held;
END
$$;

-- Rows of processes that are gone, which nobody has met. How many there were.
CREATE FUNCTION postroom.providers_sweep() RETURNS bigint
LANGUAGE sql AS $$
    WITH gone AS (
        SELECT c.tenant_id, c.account_id, c.id FROM providers_connection c
         WHERE NOT EXISTS (SELECT FROM db_process p WHERE p.identity = c.process AND db_is_alive(p.expires_at))
         LIMIT 1000 FOR UPDATE SKIP LOCKED
    ), swept AS (
        DELETE FROM providers_connection c USING gone g
         WHERE c.tenant_id = g.tenant_id AND c.account_id = g.account_id AND c.id = g.id
        RETURNING 1
    )
    SELECT count(*) FROM swept
$$;

CALL postroom.across_tenants(
    'providers_ask(bigint[], bigint[], bigint[], text[], int[], text, text, int, text[], boolean)',
    'accounts_account', 'providers_connection', 'providers_limit');
CALL postroom.across_tenants('providers_give_back(bigint[], bigint[], bigint[])', 'providers_connection');
CALL postroom.across_tenants('providers_learn(bigint, bigint, interval)', 'providers_connection', 'providers_limit');
CALL postroom.across_tenants('providers_sweep()', 'providers_connection');
GRANT INSERT, UPDATE, DELETE ON postroom.providers_connection TO postroom_system;
GRANT INSERT, UPDATE ON postroom.providers_limit TO postroom_system;

-- As the other functions: planned once, and for what the tables are when it matters.
ALTER FUNCTION postroom.providers_ask(bigint[], bigint[], bigint[], text[], int[], text, text, int, text[], boolean)
    SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.providers_ask(bigint[], bigint[], bigint[], text[], int[], text, text, int, text[], boolean)
    SET enable_seqscan = off;
ALTER FUNCTION postroom.providers_give_back(bigint[], bigint[], bigint[]) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.providers_give_back(bigint[], bigint[], bigint[]) SET enable_seqscan = off;
