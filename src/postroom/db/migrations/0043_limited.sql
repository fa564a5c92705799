-- Keys that are limited to some accounts of their tenant, and the wall around those accounts.

-- Policies lock their tables, and the previous release is at work. Whoever has waited for one for half a second lets go of all, before
-- PostgreSQL takes it for a deadlock, and begins anew: so nobody fails.
SET LOCAL lock_timeout = '500ms';
DO $$
BEGIN
    LOOP
        BEGIN
            LOCK TABLE postroom.people_key, postroom.accounts_account, postroom.mail_folder, postroom.mail_thread,
                       postroom.mail_message, postroom.mail_text, postroom.mail_attachment, postroom.mail_placement,
                       postroom.blobs_blob, postroom.sync_parked, postroom.sync_watch, postroom.providers_budget,
                       postroom.providers_limit, postroom.db_lease, postroom.jobs_job, postroom.jobs_event,
                       ONLY postroom.events_event, postroom.events_head IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
END
$$;
SET LOCAL lock_timeout TO DEFAULT;

-- A key that is limited and has no account, because they are gone, opens nothing.
ALTER TABLE postroom.people_key
    ADD is_limited boolean NOT NULL DEFAULT false,
    ADD UNIQUE (tenant_id, id);
CREATE TABLE postroom.people_key_account (
    tenant_id  bigint NOT NULL,
    key_id     bigint NOT NULL,
    account_id bigint NOT NULL,
    PRIMARY KEY (tenant_id, key_id, account_id),
    FOREIGN KEY (tenant_id, key_id) REFERENCES postroom.people_key (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX people_key_account_account ON postroom.people_key_account (tenant_id, account_id);
CALL postroom.protect('people_key_account');

-- In plpgsql, here and below: what is written in SQL is read again by each planner that meets a call of it, whether it is called or not.
CREATE FUNCTION postroom.people_accounts_of(of_tenant bigint, of_key bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(SELECT a.account_id FROM postroom.people_key_account a
                  WHERE a.tenant_id = of_tenant AND a.key_id = of_key);
END
$$;

-- Who holds the key with this SHA-256, and which accounts are all that they may see? null: the tenant's.
CREATE FUNCTION postroom.people_find_holder(wanted bytea)
RETURNS TABLE (
    tenant_id bigint, key_id bigint, public_id uuid, scopes text[], last_used_at timestamptz, accounts bigint[]
)
LANGUAGE sql STABLE AS $$
    SELECT k.tenant_id, k.id, k.public_id, k.scopes, k.last_used_at,
           CASE WHEN k.is_limited THEN people_accounts_of(k.tenant_id, k.id) END
      FROM people_key k
     WHERE k.digest = wanted
       AND k.revoked_at IS NULL
       AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
CALL postroom.across_tenants('people_find_holder(bytea)', 'people_key', 'people_key_account');

-- The transactions of who is limited run as postroom_limited, with their accounts in the setting postroom.accounts. That role may read or
-- write a table only where its migration says so, with the condition under which a row is theirs:
--
--     CALL postroom.narrow('mail_message', 'SELECT', 'account_id = ANY (accounts())');
--
-- The policies are for that role alone, so nobody else's query is qualified or planned otherwise (docs/decisions/0013).
GRANT USAGE ON SCHEMA postroom TO postroom_limited;

CREATE FUNCTION postroom.accounts() RETURNS bigint[]
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(NULLIF(current_setting('postroom.accounts', true), '')::bigint[], '{}');

-- Holds within functions of postroom_system, too, which no policy qualifies.
CREATE FUNCTION postroom.is_limited() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN current_setting('role') = 'postroom_limited';

CREATE PROCEDURE postroom.narrow(named text, rights text, condition text)
    LANGUAGE plpgsql
    SET search_path = postroom, pg_temp
AS $$
BEGIN
    EXECUTE format('CREATE POLICY accounts ON %I AS RESTRICTIVE TO postroom_limited USING (%s) WITH CHECK (%2$s)', named, condition);
    EXECUTE format('GRANT %s ON %I TO postroom_limited', rights, named);
END
$$;
REVOKE ALL ON PROCEDURE postroom.narrow(text, text, text) FROM PUBLIC;

CALL postroom.narrow('accounts_account', 'SELECT, UPDATE', 'id = ANY (accounts())');
CALL postroom.narrow('mail_folder', 'SELECT', 'account_id = ANY (accounts())');
CALL postroom.narrow('mail_thread', 'SELECT', 'account_id = ANY (accounts())');
CALL postroom.narrow('mail_message', 'SELECT', 'account_id = ANY (accounts())');
CALL postroom.narrow('sync_watch', 'SELECT', 'account_id = ANY (accounts())');
CALL postroom.narrow('providers_budget', 'SELECT', 'account_id = ANY (accounts())');
CALL postroom.narrow('providers_limit', 'SELECT', 'account_id = ANY (accounts())');
CALL postroom.narrow('jobs_job', 'SELECT, INSERT, UPDATE, DELETE', 'account_id = ANY (accounts())');
CALL postroom.narrow('db_lease', 'SELECT', 'name IN (SELECT ''sync.account:'' || a FROM unnest(accounts()) AS a)');
CALL postroom.narrow('events_head', 'SELECT, INSERT, UPDATE', 'stream = ANY (accounts())');

-- What has no account of its own has that of what it belongs to, which is narrowed already.
CALL postroom.narrow('mail_text', 'SELECT',
    'EXISTS (SELECT FROM mail_message m WHERE m.tenant_id = mail_text.tenant_id AND m.id = mail_text.message_id)');
CALL postroom.narrow('mail_attachment', 'SELECT',
    'EXISTS (SELECT FROM mail_message m WHERE m.tenant_id = mail_attachment.tenant_id AND m.id = mail_attachment.message_id)');
CALL postroom.narrow('mail_placement', 'SELECT', 'folder_id IN (SELECT f.id FROM mail_folder f)');
CALL postroom.narrow('sync_parked', 'SELECT, UPDATE', 'folder_id IN (SELECT f.id FROM mail_folder f)');
CALL postroom.narrow('jobs_event', 'SELECT',
    'EXISTS (SELECT FROM jobs_job j WHERE j.tenant_id = jobs_event.tenant_id AND j.id = jobs_event.job_id)');
-- That a job has failed stands in the tenant's stream.
CALL postroom.narrow('events_event', 'SELECT, INSERT',
    'stream = ANY (accounts()) OR (stream = 0 AND events_event.kind = ''jobs.failed'' AND EXISTS (
         SELECT FROM jobs_job j WHERE j.tenant_id = events_event.tenant_id
                                  AND j.public_id = (events_event.body::jsonb ->> ''job'')::uuid))');

-- These say nothing of any account.
GRANT SELECT ON postroom.jobs_duty, postroom.events_restored TO postroom_limited;

-- Whether a mail, or what is parked, of these accounts has this content.
CREATE FUNCTION postroom.blobs_is_within(wanted bytea, accounts bigint[]) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM postroom.mail_message m
                    WHERE m.tenant_id = postroom.tenant() AND m.account_id = ANY (accounts) AND m.digest = wanted)
        OR EXISTS (SELECT FROM postroom.sync_parked p
                     JOIN postroom.mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
                    WHERE p.tenant_id = postroom.tenant() AND f.account_id = ANY (accounts) AND p.digest = wanted);
END
$$;
CALL postroom.narrow('blobs_blob', 'SELECT', 'blobs_is_within(digest, accounts())');

-- Functions are replaced by the role that owns them.
GRANT CREATE ON SCHEMA postroom TO postroom_system;
SET LOCAL ROLE postroom_system;

-- As before, and: of who is limited, one of their accounts must have it.
CREATE OR REPLACE FUNCTION postroom.blobs_chunk(wanted bytea, nth int) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
    SELECT string_agg(p.data, ''::bytea ORDER BY p.number)
      FROM blobs_blob b JOIN blobs_page p ON p.content = b.content AND p.chunk = nth
     WHERE b.tenant_id = tenant() AND b.digest = wanted
       AND CASE WHEN is_limited() THEN blobs_is_within(wanted, accounts()) ELSE true END
$$;

-- The previous release knows of no limits, so such a key opens nothing there.
CREATE OR REPLACE FUNCTION postroom.people_find_key(wanted bytea)
RETURNS TABLE (tenant_id bigint, key_id bigint, public_id uuid, scopes text[], last_used_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = postroom, pg_temp AS $$
    SELECT k.tenant_id, k.id, k.public_id, k.scopes, k.last_used_at
      FROM people_key k
     WHERE k.digest = wanted
       AND NOT k.is_limited
       AND k.revoked_at IS NULL
       AND (k.expires_at IS NULL OR k.expires_at > now())
$$;

RESET ROLE;
REVOKE CREATE ON SCHEMA postroom FROM postroom_system;

CALL postroom.across_tenants('blobs_chunk(bytea, int)', 'blobs_blob', 'mail_message', 'mail_folder', 'sync_parked');
GRANT EXECUTE ON FUNCTION postroom.blobs_chunk(bytea, int) TO postroom_limited;
