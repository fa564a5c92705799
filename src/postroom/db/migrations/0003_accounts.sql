-- Mailboxes that people have connected.

CREATE TABLE accounts_account (
    tenant_id       bigint      NOT NULL REFERENCES people_tenant ON DELETE CASCADE,
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id       uuid        NOT NULL UNIQUE,
    address         text        NOT NULL,
    provider        text        NOT NULL,
    settings        jsonb       NOT NULL,               -- how to reach it; never a secret
    secret          text,                               -- sealed by the vault
    scope           jsonb       NOT NULL DEFAULT '{}',  -- what to copy: folders, since, largest
    state           text        NOT NULL DEFAULT 'active'
                    CHECK (state IN ('active', 'paused', 'reauth_required', 'error')),
    reason          text,
    poll_every      interval,                           -- null: the installation's default
    next_sync_at    timestamptz NOT NULL DEFAULT now(),
    sync_started_at timestamptz,
    last_sync_at    timestamptz,
    last_sync_status text       CHECK (last_sync_status IN ('success', 'failed')),
    last_sync_error jsonb,
    sync_count      bigint      NOT NULL DEFAULT 0,
    failures        int         NOT NULL DEFAULT 0,     -- in a row; backs off the next poll
    verified_fresh_at timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, address),
    UNIQUE (tenant_id, id)
);
CREATE INDEX accounts_account_due ON accounts_account (next_sync_at) WHERE state IN ('active', 'error');
CALL postroom.protect('accounts_account');

-- Accounts of every tenant whose poll is due, each handed to one caller: claiming moves `next_sync_at` on
-- by `hold`, so that a caller that dies delays the account by no more than that.
CREATE FUNCTION accounts_claim_due(most int, hold interval)
RETURNS TABLE (tenant_id bigint, account_id bigint)
LANGUAGE sql AS $$
    WITH due AS (
        SELECT a.id FROM accounts_account a
         WHERE a.next_sync_at <= now() AND a.state IN ('active', 'error')
         ORDER BY a.next_sync_at
         LIMIT most
           FOR UPDATE SKIP LOCKED
    )
    UPDATE accounts_account a SET next_sync_at = now() + hold
      FROM due WHERE a.id = due.id
    RETURNING a.tenant_id, a.id
$$;
CALL postroom.across_tenants('accounts_claim_due(int, interval)', 'accounts_account');
GRANT UPDATE ON accounts_account TO postroom_system;
