-- Access tokens of accounts whose secret is a grant.

CREATE TABLE postroom.accounts_token (
    tenant_id  bigint NOT NULL,
    account_id bigint NOT NULL,
    version    int    NOT NULL,               -- accounts_account.credentials_version: whose grant they come of
    number     int    NOT NULL DEFAULT 0,     -- grows with each answer that is kept
    secret     text,                          -- sealed: the access token, and the refresh token that came with it, if one did
    refresh_at timestamptz,                   -- ahead of
    expires_at timestamptz,
    begun_at   timestamptz,                   -- a refresh was asked for, and nobody knows what came of it
    ask_after  timestamptz,                   -- the server's own word
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('accounts_token');
