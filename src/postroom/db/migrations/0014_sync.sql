-- What a sync needs to know to keep every message's identity, and to be sure of what it says.

-- Where a message that lies nowhere lay last: found again there nothing has happened, elsewhere it has moved.
ALTER TABLE mail_message ADD unplaced_from uuid, ADD unplaced_flags text[];
-- The server's own id for the content (EMAILID of RFC 8474, X-GM-MSGID), the same in every folder.
ALTER TABLE mail_message ADD object_id text;
CREATE INDEX mail_message_object ON mail_message (tenant_id, account_id, object_id)
    WHERE object_id IS NOT NULL;
-- A uid below zero stands for one that is not known: the folder was numbered anew.

-- The server's own id for a folder, which outlives its name (MAILBOXID of RFC 8474).
ALTER TABLE mail_folder ADD object_id text;

-- When every folder was last compared in full, and how many sessions in a row came to nothing: after some
-- the next one has to wait.
ALTER TABLE accounts_account ADD compared_at timestamptz, ADD logins int NOT NULL DEFAULT 0,
    ADD login_after timestamptz;
