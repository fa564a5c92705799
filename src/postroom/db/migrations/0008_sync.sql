-- How far the copy of each folder goes, and what could not be copied.

CREATE TABLE sync_folder (
    tenant_id   bigint NOT NULL,
    folder_id   bigint PRIMARY KEY,
    validity    bigint NOT NULL,
    uid_next    bigint NOT NULL,                -- every message below it that the server had is stored or parked
    modseq      bigint,                         -- and as of this modification their flags are equal
    messages    bigint NOT NULL,                -- how many the server had then
    FOREIGN KEY (tenant_id, folder_id) REFERENCES mail_folder (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('sync_folder');

-- A message that keeps failing waits here, so that the rest goes on; a folder that does has uid 0.
CREATE TABLE sync_parked (
    tenant_id  bigint      NOT NULL,
    folder_id  bigint      NOT NULL,
    uid        bigint      NOT NULL,
    validity   bigint      NOT NULL,
    code       text        NOT NULL,
    reason     text        NOT NULL,
    digest     bytea,                           -- where its raw bytes are kept, if they came
    attempts   int         NOT NULL DEFAULT 1,
    first_at   timestamptz NOT NULL DEFAULT now(),
    last_at    timestamptz NOT NULL DEFAULT now(),
    retry_at   timestamptz NOT NULL,
    PRIMARY KEY (folder_id, uid),
    FOREIGN KEY (tenant_id, folder_id) REFERENCES mail_folder (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('sync_parked');
