-- Webhooks: where events are told by HTTP, how far that has come, and what receivers answered.

CREATE TABLE postroom.webhooks_webhook (
    tenant_id      bigint      NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id      uuid        NOT NULL UNIQUE,
    url            text        NOT NULL,
    description    text        NOT NULL,
    types          text[],                     -- as in a filter of the feed; null: all
    accounts       bigint[],                   -- null: all, and the tenant's stream
    state          text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    secret         text        NOT NULL,       -- sealed
    previous       text,                       -- sealed: the one before, which signs as well
    previous_until timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    process        text,                       -- who delivers, as in db_process
    fence          bigint      NOT NULL DEFAULT 0,  -- grows with each process that takes it, and with each change by its owner
    delivered_at   timestamptz,                -- for the last time
    failing_since  timestamptz,                -- null: whatever was tried was delivered in the end
    failure        text,                       -- the code of what failed last
    told_at        timestamptz,                -- when it was told that it fails; null: it was not
    UNIQUE (tenant_id, id)
);
CREATE INDEX webhooks_webhook_process ON postroom.webhooks_webhook (process) WHERE state = 'active';
CALL postroom.protect('webhooks_webhook');

-- How far the events of one stream were told. A stream without a row is one that began after the webhook: nothing of it was.
CREATE TABLE postroom.webhooks_lane (
    tenant_id     bigint      NOT NULL,
    webhook_id    bigint      NOT NULL,
    stream        bigint      NOT NULL,
    seq           bigint      NOT NULL,            -- up to here all were delivered, or are not wanted
    failures      int         NOT NULL DEFAULT 0,  -- in a row, of the event behind that
    next_at       timestamptz,                     -- when that is tried again
    failing_since timestamptz,
    PRIMARY KEY (tenant_id, webhook_id, stream),
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES postroom.webhooks_webhook (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
CALL postroom.protect('webhooks_lane');

CREATE TABLE postroom.webhooks_delivery (
    tenant_id  bigint      NOT NULL,
    id         bigint      GENERATED ALWAYS AS IDENTITY,
    webhook_id bigint      NOT NULL,
    message    text        NOT NULL,   -- the header webhook-id
    stream     bigint      NOT NULL,
    seq        bigint      NOT NULL,
    kind       text        NOT NULL,
    attempt    int         NOT NULL,   -- 1, 2, 3 ... of this event
    at         timestamptz NOT NULL,
    seconds    real        NOT NULL,
    status     int,                    -- null: no answer came
    code       text,                   -- why it counts as not delivered; null: it was
    said       text        NOT NULL,   -- how the answer begins, or why there was none
    PRIMARY KEY (tenant_id, webhook_id, id),
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES postroom.webhooks_webhook (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX webhooks_delivery_at ON postroom.webhooks_delivery (at);
CALL postroom.protect('webhooks_delivery');

-- At most so many webhooks that no process delivers which lives, for `by`. Whoever did so before can write no more.
CREATE FUNCTION postroom.webhooks_claim(by text, living text[], most int) RETURNS bigint
LANGUAGE sql AS $$
    WITH free AS MATERIALIZED (
        SELECT w.id FROM webhooks_webhook w
         WHERE w.state = 'active' AND (w.process IS NULL OR w.process <> ALL (living))
         ORDER BY w.id LIMIT most FOR NO KEY UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE webhooks_webhook w SET process = by, fence = w.fence + 1 FROM free WHERE w.id = free.id RETURNING w.id
    )
    SELECT count(*) FROM taken
$$;

-- How many webhooks each living process delivers; without a name, how many there are.
CREATE FUNCTION postroom.webhooks_shares(living text[])
RETURNS TABLE (deliverer text, webhooks bigint)
LANGUAGE sql STABLE AS $$
    SELECT NULL, count(*) FROM webhooks_webhook w WHERE w.state = 'active'
     UNION ALL
    SELECT w.process, count(*) FROM webhooks_webhook w
     WHERE w.state = 'active' AND w.process = ANY (living) GROUP BY w.process
$$;

-- What `by` delivers, and under which fence.
CREATE FUNCTION postroom.webhooks_mine(by text)
RETURNS TABLE (owner bigint, webhook bigint, held bigint)
LANGUAGE sql STABLE AS $$
    SELECT w.tenant_id, w.id, w.fence FROM webhooks_webhook w WHERE w.process = by AND w.state = 'active'
$$;

-- Lets go of so many, or of all.
CREATE FUNCTION postroom.webhooks_release(by text, most int) RETURNS void
LANGUAGE sql AS $$
    UPDATE webhooks_webhook w SET process = NULL
     WHERE w.id IN (SELECT o.id FROM webhooks_webhook o WHERE o.process = by ORDER BY o.id DESC LIMIT most)
$$;

-- How these webhooks do, and how far their lanes have come; only of those that are `by`'s under that fence, which are returned.
CREATE FUNCTION postroom.webhooks_reach(
    by text, webhooks bigint[], fences bigint[], delivered timestamptz[], failing timestamptz[], codes text[],
    lanes_of bigint[], streams bigint[], seqs bigint[], failed int[], nexts timestamptz[], since timestamptz[]
) RETURNS SETOF bigint
LANGUAGE sql AS $$
    WITH held AS (
        UPDATE webhooks_webhook w
           SET delivered_at = coalesce(n.delivered_at, w.delivered_at), failing_since = n.failing_since, failure = n.failure
          FROM unnest(webhooks, fences, delivered, failing, codes) AS n (id, fence, delivered_at, failing_since, failure)
         WHERE w.id = n.id AND w.fence = n.fence AND w.process = by
        RETURNING w.tenant_id, w.id
    ), moved AS (
        INSERT INTO webhooks_lane AS l (tenant_id, webhook_id, stream, seq, failures, next_at, failing_since)
        SELECT h.tenant_id, h.id, n.stream, n.seq, n.failures, n.next_at, n.failing_since
          FROM unnest(lanes_of, streams, seqs, failed, nexts, since)
               AS n (webhook_id, stream, seq, failures, next_at, failing_since)
          JOIN held h ON h.id = n.webhook_id
        ON CONFLICT (tenant_id, webhook_id, stream) DO UPDATE
           SET seq = excluded.seq, failures = excluded.failures, next_at = excluded.next_at,
               failing_since = excluded.failing_since
    )
    SELECT h.id FROM held h
$$;

-- What was tried, of webhooks that are `by`'s.
CREATE FUNCTION postroom.webhooks_note(
    by text, webhooks bigint[], messages text[], streams bigint[], seqs bigint[], kinds text[], attempts int[],
    times timestamptz[], took real[], statuses int[], codes text[], said text[]
) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO webhooks_delivery
           (tenant_id, webhook_id, message, stream, seq, kind, attempt, at, seconds, status, code, said)
    SELECT w.tenant_id, w.id, n.message, n.stream, n.seq, n.kind, n.attempt, n.at, n.seconds, n.status, n.code, n.said
      FROM unnest(webhooks, messages, streams, seqs, kinds, attempts, times, took, statuses, codes, said)
           WITH ORDINALITY
           AS n (id, message, stream, seq, kind, attempt, at, seconds, status, code, said, nr)
      JOIN webhooks_webhook w ON w.id = n.id AND w.process = by
     ORDER BY n.nr
$$;

-- Forgets what was tried that long ago, and of what was delivered all but the latest `kept` of each webhook.
CREATE FUNCTION postroom.webhooks_clean(age interval, kept int) RETURNS bigint
LANGUAGE sql AS $$
    WITH old AS (
        DELETE FROM webhooks_delivery d WHERE d.at < now() - age RETURNING 1
    ), more AS (
        DELETE FROM webhooks_delivery d USING webhooks_webhook w
         WHERE d.tenant_id = w.tenant_id AND d.webhook_id = w.id AND d.code IS NULL AND d.at >= now() - age
           AND d.id < (SELECT o.id FROM webhooks_delivery o
                        WHERE o.tenant_id = w.tenant_id AND o.webhook_id = w.id AND o.code IS NULL
                        ORDER BY o.id DESC OFFSET kept - 1 LIMIT 1)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM old) + (SELECT count(*) FROM more)
$$;

CALL postroom.across_tenants('webhooks_claim(text, text[], int)', 'webhooks_webhook');
CALL postroom.across_tenants('webhooks_shares(text[])', 'webhooks_webhook');
CALL postroom.across_tenants('webhooks_mine(text)', 'webhooks_webhook');
CALL postroom.across_tenants('webhooks_release(text, int)', 'webhooks_webhook');
CALL postroom.across_tenants(
    'webhooks_reach(text, bigint[], bigint[], timestamptz[], timestamptz[], text[], bigint[], bigint[], bigint[],'
    ' int[], timestamptz[], timestamptz[])', 'webhooks_webhook', 'webhooks_lane');
CALL postroom.across_tenants(
    'webhooks_note(text, bigint[], text[], bigint[], bigint[], text[], int[], timestamptz[], real[], int[], text[], text[])',
    'webhooks_webhook', 'webhooks_delivery');
CALL postroom.across_tenants('webhooks_clean(interval, int)', 'webhooks_webhook', 'webhooks_delivery');
GRANT UPDATE ON postroom.webhooks_webhook TO postroom_system;
GRANT INSERT, UPDATE ON postroom.webhooks_lane TO postroom_system;
GRANT INSERT, DELETE ON postroom.webhooks_delivery TO postroom_system;
