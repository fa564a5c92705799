-- Lists of one sender's mail, and lists in the order of senders: among a million messages either would be
-- a walk over all of them.
CREATE INDEX mail_message_sender ON mail_message (tenant_id, sender_address, received_at, id);
