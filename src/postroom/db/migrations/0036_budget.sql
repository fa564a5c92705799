-- What accounts cost their providers: so much in a day, and what the provider has said of that.

CREATE TABLE postroom.providers_budget (
    tenant_id   bigint NOT NULL,
    account_id  bigint NOT NULL,
    day         date   NOT NULL,             -- UTC; the counts are of this day
    bytes       bigint NOT NULL DEFAULT 0,   -- downloaded
    connections int    NOT NULL DEFAULT 0,   -- opened
    logins      int    NOT NULL DEFAULT 0,
    slowed_at   timestamptz,                 -- when the server last made its answers slow on purpose
    alerts      jsonb  NOT NULL DEFAULT '[]', -- what it wants its user to read: {"at": ..., "text": ...}, the latest first
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('providers_budget');

-- The account's row says until when less is downloaded than there is, and why: what reads it tells so without a look elsewhere.
ALTER TABLE postroom.accounts_account ADD throttled_until timestamptz, ADD throttled_by text;
