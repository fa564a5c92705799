-- Credentials that a server refuses: believed when it says so twice, and tried again now and then, so that an account recovers by
-- itself when the server accepts them again. The schedule that does so is in 0038.

ALTER TABLE postroom.accounts_account
    ADD refusals smallint NOT NULL DEFAULT 0, -- in a row
    ADD retry_at timestamptz;                 -- when one that waits for its owner is tried again; null: not by itself
CREATE INDEX accounts_account_retry ON postroom.accounts_account (retry_at)
 WHERE state = 'reauth_required' AND retry_at IS NOT NULL;
