-- Lists show what lies in a folder, and their totals count it: from the index alone, if that says so itself. Before, a
-- total read the rows of all messages.
CREATE INDEX mail_message_listed ON postroom.mail_message (tenant_id, received_at DESC, id DESC)
    WHERE unplaced_at IS NULL;
CREATE INDEX mail_message_unread ON postroom.mail_message (tenant_id, received_at DESC, id DESC)
    WHERE NOT seen AND unplaced_at IS NULL;
CREATE INDEX mail_message_starred ON postroom.mail_message (tenant_id, received_at DESC, id DESC)
    WHERE flagged AND unplaced_at IS NULL;
CREATE INDEX mail_message_from ON postroom.mail_message (tenant_id, sender_address, received_at, id)
    WHERE unplaced_at IS NULL;
DROP INDEX postroom.mail_message_newest, postroom.mail_message_unseen, postroom.mail_message_flagged,
           postroom.mail_message_sender;
-- One in eight has attachments.
CREATE INDEX mail_message_attached ON postroom.mail_message (tenant_id, received_at DESC, id DESC)
    WHERE attachments > 0 AND unplaced_at IS NULL;
-- How many lie in a folder.
CREATE INDEX mail_placement_folder ON postroom.mail_placement (tenant_id, folder_id, message_id);
