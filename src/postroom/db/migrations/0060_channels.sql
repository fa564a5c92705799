-- Alerts: which channels the operator wants to be told by, so that nothing waits for one that was taken out of the settings.

-- Until when a channel is wanted, which every process puts off whose settings name it: there may be some that do not. How the operator is told
-- is the installation's, so the table belongs to no tenant, and says nothing of any.
CREATE TABLE postroom.alerts_channel (
    channel text        PRIMARY KEY CHECK (channel IN ('url', 'mail')),
    until   timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON postroom.alerts_channel TO postroom_app;
GRANT SELECT ON postroom.alerts_channel TO postroom_system;

-- These were not wanted so far: what is open is to be said, and that is over of which somebody was told that it began; of all else that is over, nothing.
CREATE FUNCTION postroom.alerts_begin_anew(channels text[]) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM alerts_message m USING alerts_alert a
     WHERE m.channel = ANY (channels) AND m.sent_at IS NULL
       AND a.tenant_id = m.tenant_id AND a.id = m.alert_id AND a.closed_at IS NOT NULL
       AND NOT EXISTS (
           SELECT FROM alerts_message b
            WHERE b.tenant_id = m.tenant_id AND b.alert_id = m.alert_id AND b.channel = m.channel
              AND NOT b.is_over AND b.sent_at IS NOT NULL);
    INSERT INTO alerts_message (tenant_id, public_id, alert_id, channel, is_over)
    SELECT a.tenant_id, gen_random_uuid(), a.id, c.channel, a.closed_at IS NOT NULL
      FROM alerts_alert a
      JOIN alerts_cursor r ON r.tenant_id = a.tenant_id AND r.is_live
     CROSS JOIN unnest(channels) AS c (channel)
     WHERE a.closed_at IS NULL OR EXISTS (
           SELECT FROM alerts_message b
            WHERE b.tenant_id = a.tenant_id AND b.alert_id = a.id AND b.channel = c.channel
              AND NOT b.is_over AND b.sent_at IS NOT NULL)
    ON CONFLICT DO NOTHING
$$;
CALL postroom.across_tenants('alerts_begin_anew(text[])', 'alerts_message', 'alerts_alert', 'alerts_cursor');
GRANT INSERT, DELETE ON postroom.alerts_message TO postroom_system;

-- Functions are replaced by the role that owns them.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

-- As before; messages wait only for channels that are wanted.
CREATE OR REPLACE FUNCTION postroom.alerts_counted() RETURNS TABLE (kind text, found bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
    SELECT a.kind, count(*) FROM alerts_alert a WHERE a.closed_at IS NULL GROUP BY a.kind
     UNION ALL
    SELECT NULL, count(*) FROM alerts_message m JOIN alerts_channel c ON c.channel = m.channel AND c.until > now()
     WHERE m.sent_at IS NULL
$$;

CREATE OR REPLACE FUNCTION postroom.alerts_clean(age interval, most int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
    WITH gone AS (
        DELETE FROM alerts_alert a WHERE a.id IN (
            SELECT o.id FROM alerts_alert o
             WHERE o.closed_at < now() - age
               AND NOT EXISTS (
                   SELECT FROM alerts_message m JOIN alerts_channel c ON c.channel = m.channel AND c.until > now()
                    WHERE m.tenant_id = o.tenant_id AND m.alert_id = o.id AND m.sent_at IS NULL)
             LIMIT most)
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

RESET ROLE;
REVOKE CREATE ON SCHEMA postroom FROM postroom_system;
