-- Under one fence a lane never goes back: what is written late of it was known before what is there.

DROP FUNCTION postroom.webhooks_reach(
    text, bigint[], bigint[], timestamptz[], timestamptz[], text[], bigint[], bigint[], bigint[], int[], timestamptz[], timestamptz[]);
CREATE FUNCTION postroom.webhooks_reach(
    by text, webhooks bigint[], fences bigint[], delivered timestamptz[], failing timestamptz[], codes text[],
    lanes_of bigint[], streams bigint[], seqs bigint[], failed int[], nexts timestamptz[], since timestamptz[]
) RETURNS SETOF bigint
LANGUAGE sql AS $$
    WITH news AS MATERIALIZED (
        SELECT * FROM unnest(lanes_of, streams, seqs, failed, nexts, since)
                   AS n (webhook_id, stream, seq, failures, next_at, failing_since)
    ), ahead AS MATERIALIZED (
        SELECT n.webhook_id FROM news n
          JOIN webhooks_webhook w ON w.id = n.webhook_id
          LEFT JOIN events_head e ON e.tenant_id = w.tenant_id AND e.stream = n.stream
         WHERE n.seq > coalesce(e.seq, 0)
    ), held AS (
        UPDATE webhooks_webhook w
           SET delivered_at = coalesce(n.delivered_at, w.delivered_at), failing_since = n.failing_since, failure = n.failure
          FROM unnest(webhooks, fences, delivered, failing, codes) AS n (id, fence, delivered_at, failing_since, failure)
         WHERE w.id = n.id AND w.fence = n.fence AND w.process = by AND w.id NOT IN (SELECT a.webhook_id FROM ahead a)
        RETURNING w.tenant_id, w.id
    ), moved AS (
        INSERT INTO webhooks_lane AS l (tenant_id, webhook_id, stream, seq, failures, next_at, failing_since)
        SELECT h.tenant_id, h.id, n.stream, n.seq, n.failures, n.next_at, n.failing_since
          FROM news n JOIN held h ON h.id = n.webhook_id
        ON CONFLICT (tenant_id, webhook_id, stream) DO UPDATE
           SET seq = excluded.seq, failures = excluded.failures, next_at = excluded.next_at,
               failing_since = excluded.failing_since
         WHERE l.seq <= excluded.seq
    )
    SELECT h.id FROM held h
$$;
CALL postroom.across_tenants(
    'webhooks_reach(text, bigint[], bigint[], timestamptz[], timestamptz[], text[], bigint[], bigint[], bigint[],'
    ' int[], timestamptz[], timestamptz[])', 'webhooks_webhook', 'webhooks_lane', 'events_head');
