"""Accounts that count as copied, made of one that was: in a minute for thousands, where copying takes hours.

What is real: the accounts, and what their own server says of their folders (names, validities, numbers): each
is logged in to for that, which also has the server make its mailbox. What is multiplied: the rows of the
model's messages, by SQL of the tables' owner. So each account holds as many rows as if it had been copied,
the cursors are its own, and a sync finds nothing new; a comparison of all flags would find other ones.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence

import asyncpg

from postroom.cli.installation import Installation
from postroom.ids import AccountId
from postroom.providers.model import Login

AT_ONCE = 16
ACCOUNTS = "SELECT id, address, settings FROM postroom.accounts_account WHERE compared_at IS NULL ORDER BY id"
PREPARE = """
    SET search_path = postroom, pg_temp;
    SET session_replication_role = replica;  -- foreign keys need no proof here
    CREATE TEMP TABLE seen (
        account bigint, name bytea, validity bigint, uid_next bigint, modseq bigint, messages bigint
    );
"""
MAKE = """
    ANALYZE seen;
    INSERT INTO mail_folder
           (tenant_id, account_id, public_id, name, path, delimiter, role, selectable, object_id)
    SELECT f.tenant_id, s.account, uuidv7(), f.name, f.path, f.delimiter, f.role, f.selectable, f.object_id
      FROM mail_folder f JOIN seen s USING (name) WHERE f.account_id = (SELECT id FROM model);

    INSERT INTO sync_folder (tenant_id, folder_id, validity, uid_next, modseq, messages)
    SELECT f.tenant_id, f.id, s.validity, s.uid_next, s.modseq, s.messages
      FROM seen s JOIN mail_folder f ON f.account_id = s.account AND f.name = s.name;

    CREATE TEMP TABLE made AS
        SELECT row_number() OVER () AS n, a.account, m.id AS model
          FROM (SELECT DISTINCT account FROM seen) a, mail_message m
         WHERE m.account_id = (SELECT id FROM model);
    CREATE TEMP TABLE past AS
        SELECT (SELECT max(id) FROM mail_message) AS message, (SELECT max(id) FROM mail_thread) AS thread;

    INSERT INTO mail_thread (tenant_id, account_id, id, public_id, subject, messages, last_at)
    OVERRIDING SYSTEM VALUE
    SELECT m.tenant_id, d.account, past.thread + d.n, uuidv7(), m.subject, 1, m.received_at
      FROM past, made d JOIN mail_message m ON m.id = d.model ORDER BY d.n;

    INSERT INTO mail_message
           (tenant_id, account_id, id, public_id, thread_id, digest, size, message_id, subject, sender_name,
            sender_address, recipients, sent_at, received_at, preview, list_id, attachments, seen, flagged,
            answered, draft, defects, parser)
    OVERRIDING SYSTEM VALUE
    SELECT m.tenant_id, d.account, past.message + d.n, uuidv7(), past.thread + d.n, m.digest, m.size,
           m.message_id, m.subject, m.sender_name, m.sender_address, m.recipients, m.sent_at, m.received_at,
           m.preview, m.list_id, m.attachments, m.seen, m.flagged, m.answered, m.draft, m.defects, m.parser
      FROM past, made d JOIN mail_message m ON m.id = d.model ORDER BY d.n;

    INSERT INTO mail_placement (tenant_id, folder_id, uid, message_id, flags)
    SELECT p.tenant_id, f.id, p.uid, past.message + d.n, p.flags
      FROM past, made d
      JOIN mail_placement p ON p.message_id = d.model
      JOIN mail_folder o ON o.id = p.folder_id
      JOIN mail_folder f ON f.account_id = d.account AND f.name = o.name
     ORDER BY d.n;

    UPDATE accounts_account
       SET compared_at = now(), verified_fresh_at = now(), last_sync_at = now(),
           last_sync_status = 'success', sync_count = 1,
           next_sync_at = now() + interval '1 h' * (0.9 + 0.2 * random()), wanted_at = now() + interval '1 h'
     WHERE id IN (SELECT account FROM seen);
    SELECT setval('mail_message_id_seq', (SELECT max(id) FROM mail_message));
    SELECT setval('mail_thread_id_seq', (SELECT max(id) FROM mail_thread));
    RESET session_replication_role;
    RESET search_path;
"""
MODEL = "CREATE TEMP TABLE model AS SELECT id FROM accounts_account WHERE address = $1"
MOST_UIDS = """
    SELECT count(*) FROM seen s JOIN sync_folder c ON c.folder_id = (
        SELECT f.id FROM mail_folder f WHERE f.name = s.name AND f.account_id = (SELECT id FROM model))
     WHERE (s.uid_next, s.messages) <> (c.uid_next, c.messages)
"""


async def cloned(house: Installation, owner: asyncpg.Connection, model: str, password: str) -> None:
    """All accounts that were not copied yet become as the one whose address is `model`."""
    accounts = await owner.fetch(ACCOUNTS)
    await owner.execute(PREPARE)
    await owner.execute(MODEL.replace("$1", f"'{model}'"))
    waiting, found = iter(accounts), list[tuple[object, ...]]()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(_seen(house, waiting, password, found))
    await owner.copy_records_to_table("seen", records=found)
    assert not await owner.fetchval(MOST_UIDS), "the mailboxes differ by more than their validities"
    async with owner.transaction():
        await owner.execute(MAKE)


async def _seen(
    house: Installation, waiting: Iterable[asyncpg.Record], password: str, found: list[tuple[object, ...]]
) -> None:
    for number, address, settings in waiting:
        found += await _folders(house, AccountId(number), Login(address, json.loads(settings), password))


async def _folders(house: Installation, account: AccountId, login: Login) -> Sequence[tuple[object, ...]]:
    async with house.providers["imap"].open(login) as mailbox:
        listed = await mailbox.folders()
    told = [(folder.name, folder.status) for folder in listed if folder.status is not None]
    assert len(told) == len(listed)
    return [(account, name, at.validity, at.uid_next, at.modseq, at.messages) for name, at in told]
