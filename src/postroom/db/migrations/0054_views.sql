-- SQL as an interface: the schema postroom_api, whose views show a tenant's mail to logins of that tenant.
--
--     login ──member of──> postroom_reader ──may SELECT──> views, owned by postroom_views ──policies──> tables
--       └────session_user──> people_reader: whose mail it may read
--
-- A view reads its tables with the rights of postroom_views, which sees what belongs to the tenant of the session's login and nothing else. Whose that is
-- stands in a table: no setting of a session has a say. A reader may name no table, no function and no other schema of ours.

CREATE TABLE postroom.people_reader (
    tenant_id  bigint      NOT NULL PRIMARY KEY REFERENCES postroom.people_tenant ON DELETE CASCADE,
    role       text        NOT NULL UNIQUE,     -- the login, one of the whole PostgreSQL server
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL postroom.protect('people_reader');

-- The tenant of the session's login; NULL for whoever is no reader. SET ROLE does not change session_user.
CREATE FUNCTION postroom.people_read_by() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT r.tenant_id FROM people_reader r WHERE r.role = session_user
$$;
CALL postroom.across_tenants('people_read_by()', 'people_reader');
REVOKE EXECUTE ON FUNCTION postroom.people_read_by() FROM postroom_app;
GRANT EXECUTE ON FUNCTION postroom.people_read_by() TO postroom_reader;

-- Which tenant has this public id or name? For the command line.
CREATE FUNCTION postroom.people_tenant_known(wanted text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT t.tenant_id FROM people_tenant t
     WHERE t.public_id::text = lower(wanted) OR t.name = wanted
     ORDER BY t.public_id::text = lower(wanted) DESC LIMIT 1
$$;
CALL postroom.across_tenants('people_tenant_known(text)', 'people_tenant');

-- Lets views show these columns of a table: CALL postroom.publish('mail_folder', 'tenant_id, id, path');
-- The policy `tenant` asks for a setting, which a reader may change; so it counts for nothing here, and the other one for everything. The subquery is
-- executed once for a statement, and not for each row.
CREATE PROCEDURE postroom.publish(named text, columns text)
    LANGUAGE plpgsql
    SET search_path = postroom, pg_temp
AS $$
BEGIN
    EXECUTE format('CREATE POLICY published ON %I TO postroom_views USING (true)', named);
    EXECUTE format('CREATE POLICY reader ON %I AS RESTRICTIVE TO postroom_views USING (tenant_id = (SELECT people_read_by()))', named);
    EXECUTE format('GRANT SELECT (%s) ON %I TO postroom_views', columns, named);
END
$$;
REVOKE ALL ON PROCEDURE postroom.publish(text, text) FROM PUBLIC;

-- Policies lock their tables, and the previous release is at work: as in 0043.
SET LOCAL lock_timeout = '500ms';
DO $$
BEGIN
    LOOP
        BEGIN
            LOCK TABLE postroom.accounts_account, postroom.mail_folder, postroom.mail_thread, postroom.mail_message, postroom.mail_text,
                       postroom.mail_attachment, postroom.mail_placement, ONLY postroom.events_event IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
END
$$;
SET LOCAL lock_timeout TO DEFAULT;

CALL postroom.publish('accounts_account', 'tenant_id, id, public_id, address, provider, state, reason, created_at, last_sync_at, last_sync_status,'
    ' verified_fresh_at, stale_at');
CALL postroom.publish('mail_folder', 'tenant_id, id, account_id, public_id, path, role, selectable');
CALL postroom.publish('mail_thread', 'tenant_id, id, account_id, public_id, merged_into, subject, messages, last_at');
CALL postroom.publish('mail_message', 'tenant_id, id, account_id, public_id, thread_id, size, message_id, subject, sender_name, sender_address,'
    ' recipients, sent_at, received_at, preview, list_id, attachments, seen, flagged, answered, draft, unplaced_at');
CALL postroom.publish('mail_text', 'tenant_id, message_id, body');
CALL postroom.publish('mail_attachment', 'tenant_id, message_id, number, name, content_type, size, content_id, disposition');
CALL postroom.publish('mail_placement', 'tenant_id, folder_id, uid, message_id, flags');
CALL postroom.publish('events_event', 'tenant_id, stream, seq, position, at, kind, body');
CALL postroom.publish('events_restored', 'tenant_id, base');

CREATE SCHEMA postroom_api;
GRANT USAGE ON SCHEMA postroom TO postroom_views;
GRANT USAGE ON SCHEMA postroom_api TO postroom_views, postroom_reader;
GRANT CREATE ON SCHEMA postroom_api TO postroom_views;
SET LOCAL ROLE postroom_views;

-- What is joined from the left costs nothing where a query does not ask for it. Each view names the tenant itself, too: the first wall.

CREATE VIEW postroom_api.version AS SELECT 1 AS version;

CREATE VIEW postroom_api.accounts AS
SELECT a.public_id AS id, a.address, a.provider, a.state, a.reason, a.created_at, a.last_sync_at, a.last_sync_status, a.verified_fresh_at,
       a.stale_at AS stale_since
  FROM postroom.accounts_account a
 WHERE a.tenant_id = (SELECT postroom.people_read_by());

CREATE VIEW postroom_api.folders AS
SELECT f.public_id AS id, a.public_id AS account_id, f.path, f.role, f.selectable
  FROM postroom.mail_folder f
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = f.tenant_id AND a.id = f.account_id
 WHERE f.tenant_id = (SELECT postroom.people_read_by());

CREATE VIEW postroom_api.threads AS
SELECT t.public_id AS id, a.public_id AS account_id, t.subject, t.messages AS message_count, t.last_at
  FROM postroom.mail_thread t
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = t.tenant_id AND a.id = t.account_id
 WHERE t.tenant_id = (SELECT postroom.people_read_by()) AND t.merged_into IS NULL AND t.messages > 0;

CREATE VIEW postroom_api.messages AS
SELECT m.public_id AS id, a.public_id AS account_id, t.public_id AS thread_id, m.received_at, m.sent_at, m.subject, m.sender_name,
       m.sender_address, m.preview, m.size, m.attachments AS attachment_count, m.seen AS read, m.flagged AS starred, m.answered, m.draft,
       m.message_id AS message_id_header, m.list_id
  FROM postroom.mail_message m
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = m.tenant_id AND a.id = m.account_id
  LEFT JOIN postroom.mail_thread t ON t.tenant_id = m.tenant_id AND t.id = m.thread_id
 WHERE m.tenant_id = (SELECT postroom.people_read_by()) AND m.unplaced_at IS NULL;

CREATE VIEW postroom_api.texts AS
SELECT m.public_id AS message_id, a.public_id AS account_id, m.received_at, b.body AS text
  FROM postroom.mail_message m
  JOIN postroom.mail_text b ON b.tenant_id = m.tenant_id AND b.message_id = m.id
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = m.tenant_id AND a.id = m.account_id
 WHERE m.tenant_id = (SELECT postroom.people_read_by()) AND m.unplaced_at IS NULL;

CREATE VIEW postroom_api.recipients AS
SELECT m.public_id AS message_id, a.public_id AS account_id, m.received_at, r.kind, r.position::int AS position, r.pair ->> 0 AS name, r.pair ->> 1 AS address
  FROM postroom.mail_message m
 CROSS JOIN LATERAL (
       SELECT k.kind, p.position, p.pair
         FROM unnest(ARRAY['to', 'cc', 'bcc', 'reply_to']) AS k (kind)
        CROSS JOIN LATERAL jsonb_array_elements(m.recipients -> k.kind) WITH ORDINALITY AS p (pair, position)) AS r
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = m.tenant_id AND a.id = m.account_id
 WHERE m.tenant_id = (SELECT postroom.people_read_by()) AND m.unplaced_at IS NULL;

CREATE VIEW postroom_api.attachments AS
SELECT m.public_id AS message_id, a.public_id AS account_id, m.received_at, t.number, t.name, t.content_type, t.size, t.content_id, t.disposition
  FROM postroom.mail_message m
  JOIN postroom.mail_attachment t ON t.tenant_id = m.tenant_id AND t.message_id = m.id
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = m.tenant_id AND a.id = m.account_id
 WHERE m.tenant_id = (SELECT postroom.people_read_by()) AND m.unplaced_at IS NULL AND m.attachments > 0;

-- A number below zero stands for one that is not known.
CREATE VIEW postroom_api.placements AS
SELECT m.public_id AS message_id, f.public_id AS folder_id, a.public_id AS account_id, CASE WHEN p.uid > 0 THEN p.uid END AS uid, p.flags
  FROM postroom.mail_placement p
  LEFT JOIN postroom.mail_message m ON m.tenant_id = p.tenant_id AND m.id = p.message_id
  LEFT JOIN postroom.mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = f.tenant_id AND a.id = f.account_id
 WHERE p.tenant_id = (SELECT postroom.people_read_by());

-- Below the oldest transaction that is still running: what shows up to a position is all that will ever be there.
CREATE VIEW postroom_api.events AS
SELECT e.position, a.public_id AS account_id, e.seq, e.at, e.kind, e.body::jsonb AS data
  FROM postroom.events_event e
  LEFT JOIN postroom.accounts_account a ON a.tenant_id = e.tenant_id AND a.id = e.stream
 WHERE e.tenant_id = (SELECT postroom.people_read_by())
   AND e.position < (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + coalesce(max(r.base), 0)
                       FROM postroom.events_restored r WHERE r.tenant_id = (SELECT postroom.people_read_by()));

GRANT SELECT ON ALL TABLES IN SCHEMA postroom_api TO postroom_reader;
RESET ROLE;
REVOKE CREATE ON SCHEMA postroom_api FROM postroom_views;
