-- Jobs: the row is at once the queue's entry and what its owner sees. docs/reference/jobs.md has the states.

CREATE TABLE postroom.jobs_job (
    tenant_id        bigint      NOT NULL,
    id               bigint      GENERATED ALWAYS AS IDENTITY,
    public_id        uuid        NOT NULL UNIQUE,
    kind             text        NOT NULL,
    account_id       bigint,
    key              text,       -- of two jobs with one key only one runs
    dedupe           text,       -- of two jobs with one of these only one waits
    args             jsonb       NOT NULL DEFAULT '{}',
    priority         smallint    NOT NULL DEFAULT 0,
    tries            smallint    NOT NULL DEFAULT 3,
    limit_seconds    int         NOT NULL DEFAULT 3600,
    state            text        NOT NULL DEFAULT 'pending',
    place            smallint    NOT NULL DEFAULT 0, -- of what is pending: 0 ready, 1 its time has not come, 2 its key is taken
    run_at           timestamptz NOT NULL DEFAULT now(),
    attempts         int         NOT NULL DEFAULT 0, -- the fence: only grows
    failures         int         NOT NULL DEFAULT 0,
    holder           text,
    lease_until      timestamptz,
    cancel_requested boolean     NOT NULL DEFAULT false,
    is_kept          boolean     NOT NULL DEFAULT true, -- false: goes at its end, unless there is something to tell
    processed        bigint      NOT NULL DEFAULT 0,
    total_estimate   bigint,
    items_found      bigint      NOT NULL DEFAULT 0,
    error_code       text,
    error_reason     text,
    result           jsonb,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    PRIMARY KEY (tenant_id, id),
    -- Makes a growing fence a change of key: who takes a job waits for FOR KEY SHARE, a heartbeat does not.
    UNIQUE (tenant_id, id, attempts),
    CHECK (state IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    CHECK ((state = 'running') = (holder IS NOT NULL)),
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CALL postroom.protect('jobs_job');

CREATE INDEX jobs_job_ready ON postroom.jobs_job (tenant_id, priority DESC, id) WHERE state = 'pending' AND place = 0;
CREATE INDEX jobs_job_later ON postroom.jobs_job (run_at) WHERE state = 'pending' AND place = 1;
CREATE INDEX jobs_job_behind ON postroom.jobs_job (tenant_id, key, priority DESC, id) WHERE state = 'pending' AND place = 2;
CREATE UNIQUE INDEX jobs_job_key ON postroom.jobs_job (tenant_id, key) WHERE state = 'running' AND key IS NOT NULL;
CREATE UNIQUE INDEX jobs_job_dedupe ON postroom.jobs_job (tenant_id, dedupe) WHERE state = 'pending' AND dedupe IS NOT NULL;
CREATE INDEX jobs_job_running ON postroom.jobs_job (lease_until) WHERE state = 'running';
CREATE INDEX jobs_job_finished ON postroom.jobs_job (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_job_account ON postroom.jobs_job (tenant_id, account_id, id) WHERE account_id IS NOT NULL;

CREATE TABLE postroom.jobs_event (
    tenant_id bigint      NOT NULL,
    job_id    bigint      NOT NULL,
    id        bigint      GENERATED ALWAYS AS IDENTITY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    level     text        NOT NULL,
    message   text        NOT NULL,
    data      jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, job_id, id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES postroom.jobs_job (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('jobs_event');

-- What recurs: one row for each duty of the installation. A duty is everybody's, so it belongs to no tenant, and
-- says nothing of any.
CREATE TABLE postroom.jobs_duty (
    name         text        PRIMARY KEY,
    every        interval    NOT NULL,
    next_at      timestamptz NOT NULL DEFAULT now(),
    holder       text,
    lease_until  timestamptz,
    last_at      timestamptz, -- when it ended last
    last_seconds real,
    last_error   text
);
GRANT SELECT, INSERT, UPDATE, DELETE ON postroom.jobs_duty TO postroom_app;

-- The lock of a key, held to the end of a transaction by whoever takes the key, frees it, or decides by it.
CREATE FUNCTION postroom.jobs_lock(tenant bigint, key text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(key, tenant);

-- Up to so many tenants with ready jobs of these kinds, in a circle from the one behind `turn`.
CREATE FUNCTION postroom.jobs_tenants(wanted text[], turn bigint, most int) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found   bigint[] := '{}';
    last    bigint := turn;
    another bigint;
    is_over boolean := false;
BEGIN
    WHILE cardinality(found) < most LOOP
        SELECT j.tenant_id INTO another FROM jobs_job j
         WHERE j.state = 'pending' AND j.place = 0 AND j.tenant_id > last AND j.kind = ANY(wanted)
         ORDER BY j.tenant_id LIMIT 1;
        IF another IS NULL AND NOT is_over THEN
            is_over := true;
            last := -1;
            CONTINUE;
        END IF;
        EXIT WHEN another IS NULL OR (is_over AND another > turn);
        found := found || another;
        last := another;
    END LOOP;
    RETURN found;
END
$$;

-- Of each of these keys the next one that waits behind it becomes ready. The caller holds their locks.
CREATE FUNCTION postroom.jobs_promote(tenants bigint[], keys text[]) RETURNS void
LANGUAGE sql AS $$
    UPDATE jobs_job j SET place = 0
      FROM (SELECT DISTINCT f.tenant_id, f.key FROM unnest(tenants, keys) AS f (tenant_id, key)) AS freed
     CROSS JOIN LATERAL (
           SELECT b.id FROM jobs_job b
            WHERE b.tenant_id = freed.tenant_id AND b.key = freed.key AND b.state = 'pending' AND b.place = 2
            ORDER BY b.priority DESC, b.id LIMIT 1) AS next
     WHERE j.tenant_id = freed.tenant_id AND j.id = next.id
$$;

-- Jobs for a holder that has room for so many: in turn one of each tenant, of each key none but the first.
CREATE FUNCTION postroom.jobs_claim(by text, wanted text[], room int, lease interval, turn bigint)
RETURNS SETOF jobs_job
LANGUAGE plpgsql AS $$
DECLARE
    beyond  int := 0; -- how much further to look than there is room, for what stands in the way
    tenants bigint[];
    each    int;
    whose   bigint[]; -- tenant, number and turn of what may be taken
    seen    bigint[];
    turns   int[];
    looked  int;
    taken   int;
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '10s', true); -- others wait for its locks
    UPDATE jobs_job j SET place = 0
      FROM (SELECT l.tenant_id, l.id FROM jobs_job l
             WHERE l.state = 'pending' AND l.place = 1 AND l.run_at <= clock_timestamp()
             ORDER BY l.run_at LIMIT 1000 FOR UPDATE SKIP LOCKED) AS due
     WHERE j.tenant_id = due.tenant_id AND j.id = due.id;
    WHILE room > 0 AND beyond < 10000 LOOP
        tenants := jobs_tenants(wanted, turn, room);
        EXIT WHEN cardinality(tenants) = 0;
        each := (room - 1) / cardinality(tenants) + 1 + beyond;
        -- Passed over: rows that somebody else looks at, and keys that somebody else has in hand.
        WITH candidate AS MATERIALIZED (
            SELECT c.tenant_id, c.id, c.key, t.nr
              FROM unnest(tenants) WITH ORDINALITY AS t (tenant_id, nr)
             CROSS JOIN LATERAL (
                   SELECT j.tenant_id, j.id, j.key FROM jobs_job j
                    WHERE j.tenant_id = t.tenant_id AND j.state = 'pending' AND j.place = 0
                      AND j.kind = ANY(wanted)
                    ORDER BY j.priority DESC, j.id LIMIT each
                      FOR UPDATE SKIP LOCKED) AS c
        ), ours AS (
            SELECT c.*, CASE WHEN c.key IS NULL THEN true
                             ELSE pg_try_advisory_xact_lock(jobs_lock(c.tenant_id, c.key)) END AS is_ours
              FROM candidate c
        )
        SELECT count(*), array_agg(tenant_id) FILTER (WHERE is_ours), array_agg(id) FILTER (WHERE is_ours),
               array_agg(nr) FILTER (WHERE is_ours)
          INTO looked, whose, seen, turns FROM ours;
        EXIT WHEN looked = 0;
        -- A new snapshot: whoever had one of these keys before has committed what it did.
        RETURN QUERY
        WITH known AS MATERIALIZED (
            SELECT j.tenant_id, j.id, j.priority, s.turn,
                   j.key IS NULL OR (
                       row_number() OVER (PARTITION BY j.tenant_id, j.key ORDER BY j.priority DESC, j.id) = 1
                       AND NOT EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = j.tenant_id AND r.key = j.key
                                                                AND r.state = 'running')) AS is_free
              FROM unnest(whose, seen, turns) AS s (tenant_id, id, turn)
              JOIN jobs_job j ON j.tenant_id = s.tenant_id AND j.id = s.id
        ), behind AS (
            UPDATE jobs_job j SET place = 2
              FROM known k WHERE NOT k.is_free AND j.tenant_id = k.tenant_id AND j.id = k.id
        ), chosen AS (
            SELECT k.tenant_id, k.id FROM known k WHERE k.is_free
             ORDER BY row_number() OVER (PARTITION BY k.tenant_id ORDER BY k.priority DESC, k.id), k.turn
             LIMIT room
        )
        UPDATE jobs_job j
           SET state = 'running', attempts = j.attempts + 1, holder = by,
               lease_until = clock_timestamp() + lease, started_at = coalesce(j.started_at, clock_timestamp())
          FROM chosen c
         WHERE j.tenant_id = c.tenant_id AND j.id = c.id
        RETURNING j.*;
        GET DIAGNOSTICS taken = ROW_COUNT;
        room := room - taken;
        IF taken < looked THEN
            beyond := 2 * beyond + 100;
        END IF;
    END LOOP;
END
$$;

-- What became of jobs that a holder ran. Given back are the numbers of those that were still its own.
-- A `runs_at` puts a job back among the waiting; `counts` says whether that was a failure, `kept` whether the
-- row stays.
CREATE FUNCTION postroom.jobs_finish(
    tenants bigint[], ids bigint[], fences int[], states text[], counts boolean[], kept boolean[],
    runs_at timestamptz[], codes text[], reasons text[], results jsonb[]
) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
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
           AND NOT e.is_kept
        RETURNING j.id;
    END IF;
    RETURN QUERY
    WITH ended AS (
        UPDATE jobs_job j
           SET state = CASE WHEN e.state = 'pending' AND j.cancel_requested THEN 'cancelled' ELSE e.state END,
               holder = NULL, lease_until = NULL,
               failures = j.failures + e.counts::int,
               place = CASE WHEN e.state = 'pending' AND e.run_at > clock_timestamp() THEN 1 ELSE 0 END,
               run_at = coalesce(e.run_at, j.run_at),
               -- One with the same may have come to wait meanwhile; then this one is merged with nothing any more.
               dedupe = CASE WHEN e.state <> 'pending' OR j.cancel_requested THEN j.dedupe
                             WHEN j.id = ANY(twins) THEN NULL
                             WHEN j.dedupe IS NULL OR NOT EXISTS (
                            SELECT FROM jobs_job o WHERE o.tenant_id = j.tenant_id AND o.dedupe = j.dedupe
                                                     AND o.state = 'pending') THEN j.dedupe END,
               error_code = e.code, error_reason = e.reason, result = e.result,
               finished_at = CASE WHEN e.state <> 'pending' OR j.cancel_requested THEN clock_timestamp() END
          FROM unnest(tenants, ids, fences, states, counts, kept, runs_at, codes, reasons, results)
            AS e (tenant_id, id, fence, state, counts, is_kept, run_at, code, reason, result)
         WHERE j.tenant_id = e.tenant_id AND j.id = e.id AND j.attempts = e.fence AND j.state = 'running'
           AND e.is_kept
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

-- Hold these for another `lease`. Given back are those that are still the holder's, and whether they shall stop.
CREATE FUNCTION postroom.jobs_beat(by text, tenants bigint[], ids bigint[], fences int[], lease interval)
RETURNS TABLE (id bigint, cancel_requested boolean)
LANGUAGE sql AS $$
    UPDATE jobs_job j SET lease_until = clock_timestamp() + lease
      FROM unnest(tenants, ids, fences) AS h (tenant_id, id, fence)
     WHERE j.tenant_id = h.tenant_id AND j.id = h.id AND j.attempts = h.fence
       AND j.state = 'running' AND j.holder = by
    RETURNING j.id, j.cancel_requested
$$;

-- Jobs whose holder is gone, because its lease ran out or it is known to be `dead`, wait again, or are cancelled
-- where that was asked for. How many there were. Those that this has happened to too often are left to `jobs_lost`.
CREATE FUNCTION postroom.jobs_reap(dead text[]) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    found int;
BEGIN
    -- Passed over, rather than waited for: what a process that stands still has in hand, or can still write under.
    WITH gone AS MATERIALIZED (
        SELECT j.tenant_id, j.id, j.attempts, j.cancel_requested AS is_cancelled
          FROM jobs_job j
         WHERE j.state = 'running' AND (j.lease_until < clock_timestamp() OR j.holder = ANY(dead))
           AND (j.cancel_requested OR j.failures + 1 < j.tries)
           AND CASE WHEN j.key IS NULL THEN true ELSE pg_try_advisory_xact_lock(jobs_lock(j.tenant_id, j.key)) END
         LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    SELECT count(*) INTO found
      FROM (SELECT array_agg(g.tenant_id) AS tenants, array_agg(g.id) AS ids, array_agg(g.attempts) AS fences,
                   array_agg(CASE WHEN g.is_cancelled THEN 'cancelled' ELSE 'pending' END) AS states,
                   array_agg(NOT g.is_cancelled) AS counts,
                   array_agg(true) AS kept,
                   array_agg(CASE WHEN NOT g.is_cancelled THEN clock_timestamp() END) AS runs_at,
                   array_agg(CASE WHEN NOT g.is_cancelled THEN 'jobs.executor_lost' END) AS codes,
                   array_agg(CASE WHEN NOT g.is_cancelled THEN 'The process that ran it is gone.' END) AS reasons,
                   array_agg(NULL::jsonb) AS results
              FROM gone g) AS e
     CROSS JOIN LATERAL jobs_finish(e.tenants, e.ids, e.fences, e.states, e.counts, e.kept, e.runs_at, e.codes,
                                    e.reasons, e.results)
     WHERE e.ids IS NOT NULL;
    RETURN found;
END
$$;

-- Jobs whose holder is gone and that have no try left; they still count as running, until somebody ends them.
CREATE FUNCTION postroom.jobs_lost(dead text[]) RETURNS SETOF jobs_job
LANGUAGE sql AS $$
    SELECT j.* FROM jobs_job j
     WHERE j.state = 'running' AND (j.lease_until < clock_timestamp() OR j.holder = ANY(dead))
       AND NOT j.cancel_requested AND j.failures + 1 >= j.tries
     LIMIT 100 FOR UPDATE SKIP LOCKED
$$;

-- Who runs jobs.
CREATE FUNCTION postroom.jobs_holders() RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT j.holder FROM jobs_job j WHERE j.state = 'running'
$$;

-- What waits behind a key that nobody has and nobody is about to take. It should not be there.
CREATE FUNCTION postroom.jobs_sweep() RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    tenants bigint[];
    keys    text[];
BEGIN
    SELECT array_agg(w.tenant_id), array_agg(w.key) INTO tenants, keys
      FROM (SELECT DISTINCT b.tenant_id, b.key FROM jobs_job b
             WHERE b.state = 'pending' AND b.place = 2
               AND NOT EXISTS (SELECT FROM jobs_job r WHERE r.tenant_id = b.tenant_id AND r.key = b.key
                                  AND (r.state = 'running' OR r.state = 'pending' AND r.place = 0))) AS w
     WHERE pg_try_advisory_xact_lock(jobs_lock(w.tenant_id, w.key));
    PERFORM jobs_promote(tenants, keys);
    RETURN coalesce(cardinality(keys), 0);
END
$$;

-- Jobs that ended so long ago go, and their events with them. How many went.
CREATE FUNCTION postroom.jobs_clean(age interval, most int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    gone int;
BEGIN
    DELETE FROM jobs_job j
     USING (SELECT o.tenant_id, o.id FROM jobs_job o
             WHERE o.finished_at < clock_timestamp() - age ORDER BY o.finished_at LIMIT most
               FOR UPDATE SKIP LOCKED) AS old
     WHERE j.tenant_id = old.tenant_id AND j.id = old.id;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

CALL postroom.across_tenants('jobs_tenants(text[], bigint, int)', 'jobs_job');
CALL postroom.across_tenants('jobs_claim(text, text[], int, interval, bigint)', 'jobs_job');
CALL postroom.across_tenants(
    'jobs_finish(bigint[], bigint[], int[], text[], boolean[], boolean[], timestamptz[], text[], text[], jsonb[])',
    'jobs_job', 'jobs_event');
CALL postroom.across_tenants('jobs_beat(text, bigint[], bigint[], int[], interval)', 'jobs_job');
CALL postroom.across_tenants('jobs_reap(text[])', 'jobs_job');
CALL postroom.across_tenants('jobs_lost(text[])', 'jobs_job');
CALL postroom.across_tenants('jobs_holders()', 'jobs_job');
CALL postroom.across_tenants('jobs_sweep()', 'jobs_job');
CALL postroom.across_tenants('jobs_clean(interval, int)', 'jobs_job', 'jobs_event');
GRANT UPDATE, DELETE ON postroom.jobs_job TO postroom_system;
GRANT INSERT ON postroom.jobs_event TO postroom_system;

-- Their statements are planned once in a session, and a plan made while the table was small must not scan it all.
ALTER FUNCTION postroom.jobs_claim(text, text[], int, interval, bigint)
    SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.jobs_claim(text, text[], int, interval, bigint) SET enable_seqscan = off;
ALTER FUNCTION postroom.jobs_finish(
    bigint[], bigint[], int[], text[], boolean[], boolean[], timestamptz[], text[], text[], jsonb[])
    SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION postroom.jobs_finish(
    bigint[], bigint[], int[], text[], boolean[], boolean[], timestamptz[], text[], text[], jsonb[])
    SET enable_seqscan = off;
