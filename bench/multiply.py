"""A database of very many messages of fifty tenants, made of a few thousand in minutes.

What is real: tenants, accounts and folders, and the first `templates` mails of the lab, which go through the
product's own write path (`sync.prepare`, `sync.write.Writer`, `search.store.settle`).

What is multiplied: their rows, by SQL of the tables' owner, copy after copy, with all indexes but one in
place: messages, texts, attachments, placements, threads, references, words, blobs and events. Every row has
ids, dates, digests and Message-IDs of its own. A fifth of each copy goes to one tenant, a tenth of all to the
first one, so tenants lie in pieces among each other, and one is five times as large as the rest.

What differs from mail that was synced:

- The lab knows a hundred words of a language. So each mail gets a hundred more, of 200,000 in the frequencies
  of a language (the nth is as frequent as the first divided by n): most of them in pieces of fifty that some
  other mails have as well, three by themselves.
- The index of words is built in one go when the rows are there, not in steps of `settle`.
- Content is not multiplied, which would be 59 KB a message: each blob is its row and one small page.
- Events have no hashes that could be verified.

In the end it is vacuumed and analyzed, as autovacuum does once nothing more comes.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg

from bench.mailbox import flags
from postroom.accounts import store as accounts
from postroom.accounts.model import Scope
from postroom.db import leases
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId, new_public_id
from postroom.lab.mails import folders as names
from postroom.lab.mails import mail, received_at
from postroom.mail.model import Folder
from postroom.mail.store import folders
from postroom.people import store as people
from postroom.providers.model import FolderRole, RemoteFolder, RemoteItem, RemoteMessage
from postroom.search import store as search
from postroom.sync.model import Counts, key
from postroom.sync.prepare import Batch, prepare
from postroom.sync.workshop import Workshop
from postroom.sync.write import Writer

SEED = 1
TENANTS = 50
FOLDERS = 12
MOST_TEMPLATES = 4000
FIRST_UID = 1 << 30  # those of multiplied mails are below it
BATCH = 100  # messages that one transaction of a sync stores
SETTLED = 500  # mails whose words move on in one transaction, as the executor does it
ROLES = {"INBOX": FolderRole.INBOX, "Sent": FolderRole.SENT, "Trash": FolderRole.TRASH}

PREPARE = """
    SET search_path = postroom, pg_temp;
    SET session_replication_role = replica;  -- foreign keys need no proof here
    SET maintenance_work_mem = '1GB';
    SET max_parallel_maintenance_workers = 2;

    CREATE TEMP TABLE t_thread AS
        SELECT row_number() OVER (ORDER BY id) AS n, id, subject, messages
          FROM mail_thread WHERE merged_into IS NULL;
    CREATE TEMP TABLE t_message WITH (toast_tuple_target = 8160) AS
        SELECT row_number() OVER (ORDER BY t.n % 5, m.id) AS n, t.n AS thread_n, t.n % 5 AS part, m.*,
               x.body, f.path, p.flags
          FROM mail_message m
          JOIN t_thread t ON t.id = m.thread_id
          JOIN mail_placement p ON p.message_id = m.id
          JOIN mail_folder f ON f.id = p.folder_id
          LEFT JOIN mail_text x ON x.message_id = m.id;
    CREATE TEMP TABLE t_vector WITH (toast_tuple_target = 8160) AS
        SELECT t.n, ts_delete(d.vector, ARRAY(SELECT lexeme FROM unnest(d.vector)
                                               WHERE lexeme ~ '^[oam]:')) AS vector
          FROM t_message t JOIN search_document d ON d.message_id = t.id;
    CREATE TEMP TABLE t_attachment AS
        SELECT t.n, t.part, a.* FROM t_message t JOIN mail_attachment a ON a.message_id = t.id;
    CREATE TEMP TABLE t_reference AS
        SELECT t.n AS thread_n, r.key FROM mail_reference r JOIN t_thread t ON t.id = r.thread_id;

    CREATE FUNCTION pg_temp.word() RETURNS text LANGUAGE sql VOLATILE
        RETURN 'q' || translate(floor(exp(random() * ln(200000)))::int::text, '0123456789', 'bcdfghjklm');
    CREATE TEMP TABLE t_piece AS
        SELECT n, string_agg(word, ' ') AS body, string_agg(word || ':' || place, ' ')::tsvector AS vector
          FROM (SELECT n, place, pg_temp.word() AS word
                  FROM generate_series(0, 4999) AS n, generate_series(1, 50) AS place) AS drawn
         GROUP BY n;
    CREATE INDEX ON t_piece (n);
    CREATE TEMP TABLE t_unit (copy int, part int, tenant_id bigint, account_id bigint);
    CREATE TEMP TABLE t_said (n bigint, words text, vector tsvector);
    CREATE TEMP TABLE t_now AS
        SELECT mails, threads, 0::float8 AS copies, 0::bigint AS copy, 0::bigint AS mail, 0::bigint AS thread,
               now() AS since, interval '1 d' AS lasting
          FROM (SELECT count(*) AS mails FROM t_message), (SELECT count(*) AS threads FROM t_thread);
    ANALYZE t_message; ANALYZE t_vector; ANALYZE t_piece; ANALYZE t_thread;
    DROP INDEX search_settled_vector;
    TRUNCATE mail_thread, mail_reference, mail_message, mail_text, mail_attachment, mail_placement,
             search_document, blobs_blob, blobs_page, events_event, events_head;
"""
COPIES = "UPDATE t_now SET copies = ceil($1::bigint / mails::float8) RETURNING copies::int"
UNITS = """
    INSERT INTO t_unit
    SELECT copy, part, ($2::bigint[])[place], ($3::bigint[])[place]
      FROM generate_series(0, $1 - 1) AS copy, generate_series(0, 4) AS part,
           LATERAL (SELECT abs(hashint4(copy * 5 + part)::bigint) AS hash) AS h,
           LATERAL (SELECT CASE WHEN hash % 10 = 0 THEN 1
                           ELSE 2 + hash / 10 % (cardinality($2::bigint[]) - 1) END AS place) AS p
"""
NEXT = """
    UPDATE t_now SET copy = $1, mail = $1 * mails, thread = $1 * threads,
                     since = now() - interval '2 d' - interval '5 y' * (1 - $1 / copies),
                     lasting = interval '5 y' / copies
"""
COPY = """
    INSERT INTO mail_thread (tenant_id, account_id, id, public_id, subject, messages, last_at)
    OVERRIDING SYSTEM VALUE
    SELECT u.tenant_id, u.account_id, c.thread + t.n, uuidv7(), t.subject, t.messages,
           c.since + c.lasting * t.n / c.threads
      FROM t_now c, t_thread t JOIN t_unit u ON u.part = t.n % 5 WHERE u.copy = c.copy
     ORDER BY t.n % 5, t.n;

    INSERT INTO mail_reference (tenant_id, account_id, key, thread_id)
    SELECT u.tenant_id, u.account_id, md5(c.copy || r.key::text)::uuid, c.thread + r.thread_n
      FROM t_now c, t_reference r JOIN t_unit u ON u.part = r.thread_n % 5 WHERE u.copy = c.copy;

    INSERT INTO mail_message
           (tenant_id, account_id, id, public_id, thread_id, digest, size, message_id, subject, sender_name,
            sender_address, recipients, sent_at, received_at, preview, list_id, attachments, seen, flagged,
            answered, draft, defects, parser)
    OVERRIDING SYSTEM VALUE
    SELECT u.tenant_id, u.account_id, c.mail + t.n, uuidv7(), c.thread + t.thread_n,
           sha256((c.copy || ' ' || t.n)::bytea), t.size, c.copy || t.message_id, t.subject, t.sender_name,
           t.sender_address, t.recipients, t.sent_at,
           c.since + c.lasting * t.thread_n / c.threads - random() * interval '1 d',
           t.preview, t.list_id, t.attachments, t.seen, t.flagged, t.answered, t.draft, t.defects, t.parser
      FROM t_now c, t_message t JOIN t_unit u USING (part) WHERE u.copy = c.copy ORDER BY t.n;

    TRUNCATE t_said;
    INSERT INTO t_said
    SELECT drawn.n, a.body || ' ' || b.body || ' ' || own, a.vector || b.vector || own::tsvector
      FROM (SELECT n, floor(5000 * random())::int AS one, floor(5000 * random())::int AS other,
                   pg_temp.word() || ' ' || pg_temp.word() || ' ' || pg_temp.word() AS own
              FROM t_message) AS drawn
      JOIN t_piece a ON a.n = one JOIN t_piece b ON b.n = other;

    INSERT INTO mail_text (tenant_id, message_id, body)
    SELECT u.tenant_id, c.mail + t.n, concat_ws(' ', t.body, s.words)
      FROM t_now c, t_message t JOIN t_said s USING (n) JOIN t_unit u USING (part) WHERE u.copy = c.copy
     ORDER BY t.n;

    INSERT INTO mail_attachment (tenant_id, message_id, number, name, content_type, size, content_id,
                                 disposition, first_byte, past_byte, encoding)
    SELECT u.tenant_id, c.mail + t.n, t.number, t.name, t.content_type, t.size, t.content_id,
           t.disposition, t.first_byte, t.past_byte, t.encoding
      FROM t_now c, t_attachment t JOIN t_unit u USING (part) WHERE u.copy = c.copy;

    INSERT INTO mail_placement (tenant_id, folder_id, uid, message_id, flags)
    SELECT u.tenant_id, f.id, c.mail + t.n, c.mail + t.n, t.flags
      FROM t_now c, t_message t JOIN t_unit u USING (part)
      JOIN mail_folder f ON f.account_id = u.account_id AND f.path = t.path
     WHERE u.copy = c.copy ORDER BY t.n;

    INSERT INTO search_document (tenant_id, message_id, account_id, received_at, settled, vector)
    SELECT m.tenant_id, m.id, m.account_id, m.received_at, true,
           t.vector || s.vector || format('''o:%s'' ''a:%s'' ''m:%s''', m.tenant_id, m.account_id,
                                          left(md5(m.id::text), 20))::tsvector
      FROM t_now c, t_vector t JOIN t_said s USING (n), mail_message m
     WHERE m.id = c.mail + t.n ORDER BY t.n;

    WITH blob AS (
        INSERT INTO blobs_blob (tenant_id, digest, size, refs)
        SELECT m.tenant_id, m.digest, m.size, 1 FROM t_now c, mail_message m
         WHERE m.id > c.mail AND m.id <= c.mail + c.mails
        RETURNING content
    )
    INSERT INTO blobs_page (content, chunk, number, data) SELECT content, 0, 0, '' FROM blob;
"""
EVENTS = """
    INSERT INTO events_event (tenant_id, stream, position, at, seq, kind, body, hash)
    SELECT tenant_id, account_id, 1, now(), row_number() OVER (PARTITION BY account_id ORDER BY id),
           'mail.added', format('{"backfill":true,"flags":[],"folder":"%s","message":"%s"}', public_id,
           public_id), digest
      FROM mail_message
"""
FINISH = """
    INSERT INTO events_head (tenant_id, stream, seq, hash, position)
    SELECT tenant_id, stream, max(seq), sha256(''), 1 FROM events_event GROUP BY tenant_id, stream;
    SELECT setval('mail_message_id_seq', max(id)) FROM mail_message;
    SELECT setval('mail_thread_id_seq', max(id)) FROM mail_thread;
"""
INDEX = "SELECT pg_get_indexdef('postroom.search_settled_vector'::regclass)"
NOT_SETTLED = "SELECT count(*) FROM postroom.search_fresh"
FLUSH = "SELECT gin_clean_pending_list('postroom.search_settled_vector')"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A tenant's only account."""

    tenant: TenantId
    account: AccountId
    folders: Sequence[Folder]

    def batches(self, first: int, count: int) -> Iterator[tuple[Folder, Batch]]:
        """Mails from number `first` on: half of them for INBOX, the rest for the other folders."""
        for start in range(first, first + count, 2 * BATCH):
            past = min(start + 2 * BATCH, first + count)
            other = self.folders[1 + start // (2 * BATCH) % (len(self.folders) - 1)]
            for folder, numbers in (
                (self.folders[0], range(start, past, 2)),
                (other, range(start + 1, past, 2)),
            ):
                if numbers:
                    yield folder, [_message(number) for number in numbers]


def _message(number: int) -> tuple[RemoteMessage, RemoteItem]:
    raw, seen = mail(SEED, number), frozenset(flags(SEED, number))
    item = RemoteItem(FIRST_UID + number, seen, len(raw), received_at(SEED, number))
    return RemoteMessage(item.uid, raw, len(raw)), item


@dataclass(slots=True)
class Spent:
    """Seconds."""

    reading: float = 0.0
    storing: float = 0.0
    settling: float = 0.0

    @contextmanager
    def on(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        setattr(self, step, getattr(self, step) + time.perf_counter() - began)


async def fill(db: Database, owner: asyncpg.Connection, count: int) -> None:
    """So many messages."""
    templates = min(count, max(200, min(MOST_TEMPLATES, count // TENANTS)))
    filled = [await _mailbox(db, number) for number in range(1, TENANTS + 1)]
    await store(db, owner, filled[0], 0, templates)
    index = await owner.fetchval(INDEX)
    async with owner.transaction():
        await owner.execute(PREPARE)
        copies = await owner.fetchval(COPIES, count)
        tenants, own = [one.tenant for one in filled], [one.account for one in filled]
        await owner.execute(UNITS, copies, tenants, own)
        for copy in range(copies):
            await owner.execute(NEXT, copy)
            await owner.execute(COPY)
        await owner.execute(EVENTS)
        await owner.execute(FINISH)
        await owner.execute(index)
    await owner.execute("RESET session_replication_role")
    await owner.execute("VACUUM ANALYZE")


ACCOUNTS = "SELECT tenant_id, id FROM postroom.accounts_account ORDER BY id"


async def mailboxes(db: Database, owner: asyncpg.Connection) -> list[Mailbox]:
    """Those of a filled database, the largest first."""
    found = []
    for tenant, account in await owner.fetch(ACCOUNTS):
        async with db.transaction(tenant) as conn:
            listed = (await folders.listed(conn, tenant, account)).values()
        found.append(Mailbox(tenant, account, sorted(listed, key=lambda one: one.role != FolderRole.INBOX)))
    return found


STORED = "SELECT max(uid) FROM postroom.mail_placement WHERE uid >= $1"


async def stored(owner: asyncpg.Connection) -> int:
    """Up to which number the product's functions have stored mails."""
    last = await owner.fetchval(STORED, FIRST_UID)
    return 0 if last is None else int(last) - FIRST_UID + 1


async def store(db: Database, owner: asyncpg.Connection, mailbox: Mailbox, first: int, count: int) -> Spent:
    """Read, store and settle mails from number `first` on with the product's functions; what that took."""
    spent, counts, tenant = Spent(), Counts(), mailbox.tenant
    async with leases.holding(db, tenant, key(mailbox.account)) as lease:
        writer = Writer(db, lease, tenant, mailbox.account, counts, Workshop())
        for folder, batch in mailbox.batches(first, count):
            with spent.on("reading"):
                prepared = prepare(tenant, folder, batch)
            with spent.on("storing"):
                await writer.messages(folder, 1, prepared, old=None)
    assert counts.added == count, f"{counts.added} of {count} mails were stored"
    with spent.on("settling"):
        moved = SETTLED
        while moved == SETTLED:
            async with db.transaction(tenant) as conn:
                moved = await search.settle(conn, tenant, SETTLED)
        await owner.execute(FLUSH)
    return spent


async def _mailbox(db: Database, number: int) -> Mailbox:
    async with db.unbound() as conn:
        tenant = await people.tenant_named(conn, f"tenant {number}")
    async with db.transaction(tenant) as conn:
        account = await accounts.add(
            conn,
            tenant,
            new_public_id(),
            address=f"{number}@bench.example",
            provider="imap",
            settings={},
            secret=None,
            scope=Scope(),
        )
    assert account is not None  # the database was empty
    async with leases.holding(db, tenant, key(account.id)) as lease:
        writer = Writer(db, lease, tenant, account.id, Counts(), Workshop())
        remote = [RemoteFolder(name.encode(), name, "/", ROLES.get(name)) for name in names(SEED, FOLDERS)]
        saved = await writer.folders(remote, frozenset())
    return Mailbox(tenant, account.id, saved)
