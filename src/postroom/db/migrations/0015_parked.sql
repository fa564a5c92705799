-- What is parked gets a name, and what it takes to become an ordinary message without the server.

ALTER TABLE postroom.sync_parked
    ADD id          bigint  GENERATED ALWAYS AS IDENTITY,
    ADD public_id   uuid    NOT NULL DEFAULT gen_random_uuid(),     -- the default is for the previous release
    ADD size        bigint,                     -- as the server says
    ADD flags       text[],                     -- these two as they were when its bytes came
    ADD received_at timestamptz,
    -- A message that was merely asked for when the connection broke is not parked yet, nor a folder before its
    -- third failure in a row.
    ADD is_parked   boolean NOT NULL GENERATED ALWAYS AS (attempts >= CASE uid WHEN 0 THEN 3 ELSE 1 END) STORED,
    ADD UNIQUE (tenant_id, public_id);
CREATE INDEX sync_parked_in_order ON postroom.sync_parked (tenant_id, id) WHERE is_parked;

ALTER TABLE postroom.accounts_account ADD failing_since timestamptz;    -- the first of its failures in a row

-- How far an account's mail has been read again where all of it is to be; the newest comes first. The row goes
-- when the end is reached.
CREATE TABLE postroom.sync_reread (
    tenant_id   bigint      NOT NULL,
    account_id  bigint      NOT NULL,
    received_at timestamptz NOT NULL,
    message_id  bigint      NOT NULL,
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES postroom.accounts_account (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('sync_reread');
