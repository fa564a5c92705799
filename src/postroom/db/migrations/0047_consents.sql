-- Consents that somebody was sent to a provider for, until they come back.

CREATE TABLE postroom.accounts_consent (
    tenant_id  bigint      NOT NULL REFERENCES postroom.people_tenant ON DELETE CASCADE,
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state      bytea       NOT NULL UNIQUE,   -- SHA-256 of 256 random bits
    browser    bytea,                         -- the same, of what the browser shows that it began in
    client     text        NOT NULL,          -- of the installation
    account_id bigint,                        -- one that is to get another grant
    secret     text        NOT NULL,          -- sealed: the verifier (RFC 7636), what is wanted, who asked
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX accounts_consent_tenant ON postroom.accounts_consent (tenant_id, id);
CREATE INDEX accounts_consent_account ON postroom.accounts_consent (tenant_id, account_id);
CALL postroom.protect('accounts_consent');

-- Who comes back knows the state and nothing of tenants. Of any number who show it one gets it.
CREATE FUNCTION postroom.accounts_use_consent(wanted bytea)
RETURNS TABLE (tenant bigint, browser bytea, client text, secret text)
LANGUAGE sql AS $$
    DELETE FROM accounts_consent c WHERE c.state = wanted AND c.expires_at > now()
    RETURNING c.tenant_id, c.browser, c.client, c.secret
$$;
CALL postroom.across_tenants('accounts_use_consent(bytea)', 'accounts_consent');
GRANT DELETE ON postroom.accounts_consent TO postroom_system;
