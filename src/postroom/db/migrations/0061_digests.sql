-- Alerts: what is too much to be told one by one is told together.

-- The message with which this one is told; null: by itself. What is once together stays together, so that it is the same however often it is tried.
ALTER TABLE postroom.alerts_message ADD COLUMN digest uuid;
CREATE INDEX alerts_message_digest ON postroom.alerts_message (digest) WHERE digest IS NOT NULL;
CREATE INDEX alerts_message_sent ON postroom.alerts_message (channel, sent_at) WHERE sent_at IS NOT NULL;

-- How much is to be said over a channel by itself, and was said within `span` in whatever way, at most `most` of each; whether some of that was said together.
CREATE FUNCTION postroom.alerts_amount(over_channel text, span interval, most int)
RETURNS TABLE (waiting bigint, said bigint, is_together boolean)
LANGUAGE sql STABLE AS $$
    SELECT (SELECT count(*) FROM (SELECT FROM alerts_message m
                                   WHERE m.channel = over_channel AND m.sent_at IS NULL AND m.digest IS NULL LIMIT most) AS w),
           (SELECT count(*) FROM (SELECT FROM alerts_message m
                                   WHERE m.channel = over_channel AND m.sent_at > now() - span LIMIT most) AS s),
           EXISTS (SELECT FROM alerts_message m
                    WHERE m.channel = over_channel AND m.sent_at > now() - span AND m.digest IS NOT NULL)
$$;
CALL postroom.across_tenants('alerts_amount(text, interval, int)', 'alerts_message');

-- What of a channel is together and still to be said.
CREATE FUNCTION postroom.alerts_unsaid(over_channel text) RETURNS TABLE (digest uuid, attempts int, is_due boolean)
LANGUAGE sql STABLE AS $$
    SELECT m.digest, m.attempts, m.next_at <= now() FROM alerts_message m
     WHERE m.channel = over_channel AND m.sent_at IS NULL AND m.digest IS NOT NULL LIMIT 1
$$;
CALL postroom.across_tenants('alerts_unsaid(text)', 'alerts_message');

-- All that is to be said over a channel is together from now on.
CREATE FUNCTION postroom.alerts_gather(over_channel text, into_digest uuid) RETURNS void
LANGUAGE sql AS $$
    UPDATE alerts_message m SET digest = into_digest, attempts = 0, next_at = now()
     WHERE m.channel = over_channel AND m.sent_at IS NULL AND m.digest IS NULL
$$;
CALL postroom.across_tenants('alerts_gather(text, uuid)', 'alerts_message');

-- What is together, counted; and when the last of it happened.
CREATE FUNCTION postroom.alerts_digest(of_digest uuid)
RETURNS TABLE (kind text, code text, opened bigint, closed bigint, latest timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT a.kind, a.code, count(*) FILTER (WHERE NOT m.is_over), count(*) FILTER (WHERE m.is_over),
           max(CASE WHEN m.is_over THEN a.closed_at ELSE a.opened_at END)
      FROM alerts_message m JOIN alerts_alert a ON a.tenant_id = m.tenant_id AND a.id = m.alert_id
     WHERE m.digest = of_digest
     GROUP BY a.kind, a.code ORDER BY count(*) DESC, a.kind, a.code
$$;
CALL postroom.across_tenants('alerts_digest(uuid)', 'alerts_message', 'alerts_alert');

-- The first messages of it.
CREATE FUNCTION postroom.alerts_together(of_digest uuid, most int) RETURNS TABLE (tenant bigint, message bigint)
LANGUAGE sql STABLE AS $$
    SELECT m.tenant_id, m.id FROM alerts_message m WHERE m.digest = of_digest ORDER BY m.id LIMIT most
$$;
CALL postroom.across_tenants('alerts_together(uuid, int)', 'alerts_message');

-- It was said, all of it; or with an error it was not, and is tried again after `wait`.
CREATE FUNCTION postroom.alerts_said(of_digest uuid, error text, wait interval) RETURNS void
LANGUAGE sql AS $$
    UPDATE alerts_message m
       SET attempts = m.attempts + 1, last_error = error, next_at = now() + wait, sent_at = CASE WHEN error IS NULL THEN now() END
     WHERE m.digest = of_digest AND m.sent_at IS NULL
$$;
CALL postroom.across_tenants('alerts_said(uuid, text, interval)', 'alerts_message');
GRANT UPDATE ON postroom.alerts_message TO postroom_system;

-- Functions are replaced by the role that owns them.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

-- As before, of what is not together.
CREATE OR REPLACE FUNCTION postroom.alerts_due(channels text[], most int) RETURNS TABLE (tenant bigint, message bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
    SELECT m.tenant_id, m.id FROM alerts_message m
     WHERE m.sent_at IS NULL AND m.next_at <= now() AND m.channel = ANY (channels) AND m.digest IS NULL
       AND NOT (m.is_over AND EXISTS (
           SELECT FROM alerts_message b
            WHERE b.tenant_id = m.tenant_id AND b.alert_id = m.alert_id AND b.channel = m.channel
              AND NOT b.is_over AND b.sent_at IS NULL))
     ORDER BY m.id LIMIT most
$$;

RESET ROLE;
REVOKE CREATE ON SCHEMA postroom FROM postroom_system;
