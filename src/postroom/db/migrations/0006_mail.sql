-- Folders, messages, where they lie, and the threads that they form.

CREATE TABLE mail_folder (
    tenant_id  bigint  NOT NULL,
    id         bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint  NOT NULL,
    public_id  uuid    NOT NULL UNIQUE,
    name       bytea   NOT NULL,                -- as the server writes it: its identity
    path       text    NOT NULL,                -- as people read it
    delimiter  text,
    role       text,                            -- inbox, sent, drafts, trash, spam, archive, all, flagged
    selectable boolean NOT NULL DEFAULT true,
    UNIQUE (tenant_id, account_id, name),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts_account (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('mail_folder');

CREATE TABLE mail_thread (
    tenant_id   bigint      NOT NULL,
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  bigint      NOT NULL,
    public_id   uuid        NOT NULL UNIQUE,
    merged_into bigint,                         -- this thread turned out to be part of another
    subject     text        NOT NULL,
    messages    int         NOT NULL,
    last_at     timestamptz NOT NULL,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts_account (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX mail_thread_newest ON mail_thread (tenant_id, last_at DESC, id DESC)
    WHERE merged_into IS NULL AND messages > 0;
CREATE INDEX mail_thread_account ON mail_thread (tenant_id, account_id, last_at DESC);
CREATE INDEX mail_thread_merged ON mail_thread (merged_into) WHERE merged_into IS NOT NULL;
CALL postroom.protect('mail_thread');

-- Every Message-ID that a mail of the account has or mentions, as a 128-bit hash, and the thread it leads to.
CREATE TABLE mail_reference (
    tenant_id  bigint NOT NULL,
    account_id bigint NOT NULL,
    key        uuid   NOT NULL,
    thread_id  bigint NOT NULL,
    PRIMARY KEY (tenant_id, account_id, key),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts_account (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('mail_reference');

CREATE TABLE mail_message (
    tenant_id      bigint      NOT NULL,
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id     bigint      NOT NULL,
    public_id      uuid        NOT NULL UNIQUE,
    thread_id      bigint      NOT NULL,
    digest         bytea       NOT NULL,        -- SHA-256 of the raw message, which lies in blobs
    size           bigint      NOT NULL,
    message_id     text,                        -- the header; threads mail, never identifies it
    subject        text        NOT NULL,
    sender_name    text        NOT NULL,
    sender_address text        NOT NULL,
    recipients     jsonb       NOT NULL,        -- {"to": [[name, address], ...], "cc": ..., "bcc": ..., "reply_to": ...}
    sent_at        timestamptz,                 -- what its Date header claims
    received_at    timestamptz NOT NULL,        -- when the server took it in: the order of lists
    preview        text        NOT NULL,
    list_id        text,
    attachments    int         NOT NULL,
    seen           boolean     NOT NULL,        -- these four follow from the placements' flags
    flagged        boolean     NOT NULL,
    answered       boolean     NOT NULL,
    draft          boolean     NOT NULL,
    defects        text[]      NOT NULL,        -- what was wrong with it
    parser         int         NOT NULL,        -- version of the parser that read it
    unplaced_at    timestamptz,                 -- since when it lies in no folder: moved, or about to be removed
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts_account (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX mail_message_newest ON mail_message (tenant_id, received_at DESC, id DESC);
CREATE INDEX mail_message_account ON mail_message (tenant_id, account_id, received_at DESC, id DESC);
CREATE INDEX mail_message_digest ON mail_message (tenant_id, account_id, digest);
CREATE INDEX mail_message_thread ON mail_message (tenant_id, thread_id);
CREATE INDEX mail_message_unseen ON mail_message (tenant_id, received_at DESC, id DESC) WHERE NOT seen;
CREATE INDEX mail_message_unplaced ON mail_message (tenant_id, account_id) WHERE unplaced_at IS NOT NULL;
CREATE INDEX mail_message_flagged ON mail_message (tenant_id, received_at DESC, id DESC) WHERE flagged;
CALL postroom.protect('mail_message');

-- What a person reads of it, apart from the lists' rows. Not compressed by PostgreSQL: that costs more than all the rest.
CREATE TABLE mail_text (
    tenant_id  bigint NOT NULL,
    message_id bigint PRIMARY KEY,
    body       text   NOT NULL,
    FOREIGN KEY (tenant_id, message_id) REFERENCES mail_message (tenant_id, id) ON DELETE CASCADE
);
ALTER TABLE mail_text ALTER body SET STORAGE EXTERNAL;
CALL postroom.protect('mail_text');

CREATE TABLE mail_attachment (
    tenant_id    bigint NOT NULL,
    message_id   bigint NOT NULL,
    number       int    NOT NULL,
    name         text,
    content_type text   NOT NULL,
    size         bigint NOT NULL,
    content_id   text,
    disposition  text   NOT NULL,
    first_byte   bigint NOT NULL,               -- where its encoded bytes lie in the raw message
    past_byte    bigint NOT NULL,
    encoding     text   NOT NULL,
    PRIMARY KEY (message_id, number),
    FOREIGN KEY (tenant_id, message_id) REFERENCES mail_message (tenant_id, id) ON DELETE CASCADE
);
CALL postroom.protect('mail_attachment');

CREATE TABLE mail_placement (
    tenant_id  bigint NOT NULL,
    folder_id  bigint NOT NULL,
    uid        bigint NOT NULL,
    message_id bigint NOT NULL,
    flags      text[] NOT NULL,
    PRIMARY KEY (folder_id, uid),
    FOREIGN KEY (tenant_id, folder_id) REFERENCES mail_folder (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, message_id) REFERENCES mail_message (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX mail_placement_message ON mail_placement (message_id);
CALL postroom.protect('mail_placement');

-- Numbers of new messages and threads are taken before their rows are copied in.
GRANT USAGE ON SEQUENCE mail_message_id_seq, mail_thread_id_seq TO postroom_app;
