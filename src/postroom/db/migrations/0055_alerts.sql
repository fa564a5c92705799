-- Alerts: what the log tells of that somebody has to look at, until it is over; and what is said of that to the operator.

-- How far a tenant's log was read for them, as the places of feeds. Until its end was reached once nothing is said of what is found.
CREATE TABLE postroom.alerts_cursor (
    tenant_id bigint  NOT NULL PRIMARY KEY REFERENCES postroom.people_tenant ON DELETE CASCADE,
    position  bigint  NOT NULL DEFAULT 0,
    stream    bigint  NOT NULL DEFAULT 0,
    seq       bigint  NOT NULL DEFAULT 0,
    is_live   boolean NOT NULL DEFAULT false
);
CALL postroom.protect('alerts_cursor');

CREATE TABLE postroom.alerts_alert (
    tenant_id  bigint      NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id  uuid        NOT NULL UNIQUE,
    kind       text        NOT NULL,            -- of the event that it began with
    subject    uuid        NOT NULL,            -- the account, job or webhook
    account_id bigint,                          -- whose it is, if it is an account's
    code       text,                            -- of the error, as the event says
    opened_at  timestamptz NOT NULL,            -- as the events say
    closed_at  timestamptz,
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX alerts_alert_open ON postroom.alerts_alert (tenant_id, kind, subject) WHERE closed_at IS NULL;
CREATE INDEX alerts_alert_account ON postroom.alerts_alert (tenant_id, account_id) WHERE account_id IS NOT NULL;
CREATE INDEX alerts_alert_newest ON postroom.alerts_alert (tenant_id, id DESC);
CALL postroom.protect('alerts_alert');
CALL postroom.narrow('alerts_alert', 'SELECT', 'account_id = ANY (accounts())');

CALL postroom.publish('alerts_alert', 'tenant_id, public_id, kind, subject, account_id, code, opened_at, closed_at');
GRANT CREATE ON SCHEMA postroom_api TO postroom_views;
SET LOCAL ROLE postroom_views;
CREATE VIEW postroom_api.alerts AS
SELECT l.public_id AS id, l.kind, a.public_id AS account_id, l.subject AS subject_id, l.code, l.opened_at, l.closed_at
  FROM postroom.alerts_alert l
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = l.tenant_id AND a.id = l.account_id
 WHERE l.tenant_id = (SELECT postroom.people_read_by());
GRANT SELECT ON postroom_api.alerts TO postroom_reader;
RESET ROLE;
REVOKE CREATE ON SCHEMA postroom_api FROM postroom_views;

-- What is to be said, each once over each channel, that an alert began before that it is over.
CREATE TABLE postroom.alerts_message (
    tenant_id  bigint      NOT NULL,
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id  uuid        NOT NULL UNIQUE,     -- by which a receiver knows it again
    alert_id   bigint      NOT NULL,
    channel    text        NOT NULL CHECK (channel IN ('url', 'mail')),
    is_over    boolean     NOT NULL,
    attempts   int         NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz,
    last_error text,
    UNIQUE (tenant_id, alert_id, channel, is_over),
    FOREIGN KEY (tenant_id, alert_id) REFERENCES postroom.alerts_alert (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX alerts_message_unsent ON postroom.alerts_message (next_at) WHERE sent_at IS NULL;
CALL postroom.protect('alerts_message');

-- Tenants whose log goes on behind what was read of it, or of whose jobs one that failed does so no more.
CREATE FUNCTION postroom.alerts_behind() RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    SELECT h.tenant_id FROM events_head h LEFT JOIN alerts_cursor c ON c.tenant_id = h.tenant_id
     GROUP BY h.tenant_id, c.position HAVING max(h.position) >= coalesce(c.position, 0)
     UNION
    SELECT a.tenant_id FROM alerts_alert a
     WHERE a.closed_at IS NULL AND a.kind = 'jobs.failed' AND NOT EXISTS (
           SELECT FROM jobs_job j WHERE j.public_id = a.subject AND j.tenant_id = a.tenant_id AND j.state = 'failed')
$$;
CALL postroom.across_tenants('alerts_behind()', 'events_head', 'alerts_cursor', 'alerts_alert', 'jobs_job');

-- What is due to be said over these channels, the oldest first; never that an alert is over before that it began.
CREATE FUNCTION postroom.alerts_due(channels text[], most int) RETURNS TABLE (tenant bigint, message bigint)
LANGUAGE sql STABLE AS $$
    SELECT m.tenant_id, m.id FROM alerts_message m
     WHERE m.sent_at IS NULL AND m.next_at <= now() AND m.channel = ANY (channels)
       AND NOT (m.is_over AND EXISTS (
           SELECT FROM alerts_message b
            WHERE b.tenant_id = m.tenant_id AND b.alert_id = m.alert_id AND b.channel = m.channel
              AND NOT b.is_over AND b.sent_at IS NULL))
     ORDER BY m.id LIMIT most
$$;
CALL postroom.across_tenants('alerts_due(text[], int)', 'alerts_message');

-- How many alerts of all tenants are open, by kind; and without one, how many messages wait to be said.
CREATE FUNCTION postroom.alerts_counted() RETURNS TABLE (kind text, found bigint)
LANGUAGE sql STABLE AS $$
    SELECT a.kind, count(*) FROM alerts_alert a WHERE a.closed_at IS NULL GROUP BY a.kind
     UNION ALL
    SELECT NULL, count(*) FROM alerts_message m WHERE m.sent_at IS NULL
$$;
CALL postroom.across_tenants('alerts_counted()', 'alerts_alert', 'alerts_message');

-- Alerts of all tenants that are over for so long, and of which all is said, go.
CREATE FUNCTION postroom.alerts_clean(age interval, most int) RETURNS bigint
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM alerts_alert a WHERE a.id IN (
            SELECT o.id FROM alerts_alert o
             WHERE o.closed_at < now() - age
               AND NOT EXISTS (SELECT FROM alerts_message m WHERE m.tenant_id = o.tenant_id AND m.alert_id = o.id AND m.sent_at IS NULL)
             LIMIT most)
        RETURNING 1)
    SELECT count(*) FROM gone
$$;
CALL postroom.across_tenants('alerts_clean(interval, int)', 'alerts_alert', 'alerts_message');
GRANT DELETE ON postroom.alerts_alert TO postroom_system;

-- Accounts whose servers have told of changes at some time, and since when one is known to do so no more.
CREATE TABLE postroom.sync_told (
    tenant_id  bigint      NOT NULL,
    account_id bigint      NOT NULL,
    lapsed_at  timestamptz,
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('sync_told');

-- Remembers whose servers tell, and finds those of all tenants that have not done so for `patience` though their accounts are well, or do so again.
CREATE FUNCTION postroom.sync_told_changed(patience interval, most int) RETURNS TABLE (tenant bigint, account bigint, lapsed boolean)
LANGUAGE sql AS $$
    WITH fresh AS (
        INSERT INTO sync_told (tenant_id, account_id)
        SELECT w.tenant_id, w.account_id FROM sync_watch w
         WHERE w.means IS NOT NULL
           AND NOT EXISTS (SELECT FROM sync_told t WHERE t.tenant_id = w.tenant_id AND t.account_id = w.account_id)
        ON CONFLICT DO NOTHING)
    SELECT t.tenant_id, t.account_id, t.lapsed_at IS NULL
      FROM sync_told t
      JOIN sync_watch w ON w.tenant_id = t.tenant_id AND w.account_id = t.account_id
      JOIN accounts_account a ON a.tenant_id = t.tenant_id AND a.id = t.account_id
     WHERE CASE WHEN t.lapsed_at IS NULL THEN w.means IS NULL AND w.since < now() - patience AND a.state = 'active'
                ELSE w.means IS NOT NULL END
     LIMIT most
$$;
CALL postroom.across_tenants('sync_told_changed(interval, int)', 'sync_told', 'sync_watch', 'accounts_account');
GRANT INSERT ON postroom.sync_told TO postroom_system;
