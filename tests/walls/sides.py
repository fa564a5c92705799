"""Two tenants that have one of everything, alike in all but whose it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from servers.copies import START, Copy
from servers.tenants import ONE, TWO

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, AccountState, Scope
from postroom.accounts.store import consents, tokens
from postroom.alerts import store as alerts
from postroom.alerts.model import Begins, Channel
from postroom.blobs import store as blobs
from postroom.blobs.pack import pack
from postroom.db import leases
from postroom.db.model import Lease
from postroom.db.pool import Connection, Database
from postroom.events import consumers, feed, log
from postroom.events.model import TENANT, Entry, Event, Removed, stream_of
from postroom.events.seal import seal, tell
from postroom.events.store import removed
from postroom.ids import TenantId, ThreadId, new_public_id
from postroom.jobs import store as jobs
from postroom.jobs.model import Enqueued, Job, Reason, State, Wish
from postroom.jobs.store import queue
from postroom.library import store as handling
from postroom.mail.model import Folder, Placed
from postroom.mail.store import places, read
from postroom.people import keys, sessions
from postroom.people import store as people
from postroom.providers import store as budgets
from postroom.providers.model import FolderRole
from postroom.providers.spent import Cost
from postroom.search import store as search
from postroom.sync import store as syncs
from postroom.sync.model import Cursor, Failure
from postroom.sync.model import key as sync_key
from postroom.sync.store import quarantine, reread
from postroom.vault.seal import Vault
from postroom.webhooks import change as webhooks
from postroom.webhooks import store as hooks
from postroom.webhooks.model import Outcome, Webhook
from postroom.webhooks.store import lanes

HOUR = timedelta(hours=1)
NAMES = "annika", "bertil"
LIMITED = """
    INSERT INTO providers_limit (tenant_id, account_id, connections, expires_at)
    VALUES ($1, $2, 3, now() + interval '1 hour')
"""
WATCHED = "INSERT INTO sync_watch (tenant_id, account_id, process, means) VALUES ($1, $2, 'p', 'idle')"
TOLD = "INSERT INTO sync_told (tenant_id, account_id) VALUES ($1, $2)"
CONNECTED = """
    INSERT INTO providers_connection (tenant_id, account_id, id, process, host, purpose, granted_at)
    VALUES ($1, $2, 1, 'p', 'imap.example.org', 'sync', now())
"""
OBJECT = "UPDATE mail_message SET object_id = $1 WHERE id = $2"
KEY = "SELECT id FROM people_key WHERE public_id = $1"
TO_BE_SAID = "SELECT id FROM alerts_message"
SESSION = "SELECT id FROM people_session WHERE public_id = $1"


@dataclass
class Side:
    """What a tenant has. `shown`: the names by which callers of the API ask for it, by kind."""

    tenant: TenantId
    name: str  # a word that stands in all that it has
    key: str  # may do everything
    account: Account
    other: Account  # fails
    folder: Folder
    own: Folder  # of a path that only this tenant has
    placed: Sequence[Placed]
    digest: bytes  # of what is parked
    said: Job  # is over, and has said two things
    waits: Enqueued
    runs: Job
    entries: Sequence[Entry]
    lease: Lease
    session: UUID
    person: UUID
    thread: ThreadId
    token: int  # the number of the account's access token
    key_number: int
    session_number: int
    alert: int
    message: int  # that is still to be said
    webhook: Webhook
    shown: dict[str, str]


def letter(name: str, number: int, *, answers: int | None = None) -> bytes:
    """With a text, HTML and an attachment, of which each names whose it is."""
    reply = f"In-Reply-To: <{name}-{answers}@example.org>\r\n" if answers is not None else ""
    return (
        f"Message-ID: <{name}-{number}@example.org>\r\n{reply}From: {name} <{name}@sender.example>\r\n"
        f"To: {name}s friend <friend@{name}.example>\r\nSubject: {name} writes {number}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
        f"--B\r\nContent-Type: text/html\r\n\r\n<p>report of {name} number {number}</p>\r\n"
        f"--B\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename={name}.pdf\r\n"
        f"\r\n%PDF of {name} {number}\r\n--B--\r\n"
    ).encode()


async def sides(db: Database, vault: Vault) -> tuple[Side, Side]:
    """Both, in a database that knows the tenants ONE and TWO."""
    return await side(db, vault, ONE, "annika"), await side(db, vault, TWO, "bertil")


async def side(db: Database, vault: Vault, tenant: TenantId, name: str) -> Side:
    account = await _account(db, vault, tenant, f"{name}@{name}.example")
    other = await _account(db, vault, tenant, f"other@{name}.example")
    inbox, own, placed = await _mail(Copy(db, tenant, account.id), name)
    said, waits, runs = await _jobs(db, tenant, name, account)
    async with db.transaction(tenant) as conn:
        await log.append(conn, tenant, stream_of(account.id), _events(inbox, own))
        digest = await _parked(conn, tenant, name, inbox, own)
        token = await _synced(conn, account, placed, inbox)
        await _failed(conn, other, name)
        state = sha256(name.encode()).digest()
        await handling.begin(conn, tenant, f"handler.of.{name}", feed.START)
        await handling.mark(conn, tenant, f"handler.of.{name}", feed.START, 0)
        await handling.fail(conn, tenant, f"handler.of.{name}", feed.START, 10)
        gone = Removed(stream_of(account.id), 0, 0, bytes(32), START)  # nothing
        await removed.put(conn, tenant, [gone])
        await consumers.put(conn, tenant, f"reader-of-{name}", feed.BEGINNING)
        await consents.add(
            *(conn, tenant, state), browser=None, client="x", account=None, secret="sealed", good_for=HOUR
        )
        await people.add_reader(conn, tenant, f"reader of {name}")
        alert = await _alert(conn, tenant, runs)
        await tell(conn, tenant, new_public_id(), is_refused=True)
    lease = await leases.acquire(db, tenant, sync_key(account.id), "somebody", HOUR)
    assert lease is not None
    await seal(db, vault.signer, tenant)
    await sessions.open_session(db, (await sessions.new_link(db, tenant)).text)
    webhook = await _told(db, vault, tenant, name, account)
    spare, _ = await keys.create(db, tenant, f"spare key of {name}", accounts=[account.public_id])
    _, text = await keys.create(db, tenant, "admin")
    async with db.transaction(tenant) as conn:
        [session] = await people.sessions(conn, tenant)
        message = await read.message(conn, tenant, placed[0].public_id)
        made = Side(
            tenant=tenant,
            name=name,
            key=text,
            account=await accounts.get_by_id(conn, tenant, account.id),
            other=other,
            folder=inbox,
            own=own,
            placed=placed,
            digest=digest,
            said=said,
            waits=waits,
            runs=runs,
            entries=await log.read(conn, tenant, stream_of(account.id)),
            lease=lease,
            session=session.public_id,
            person=session.person_id,
            thread=message.thread_number,
            token=token,
            key_number=await conn.fetchval(KEY, spare.public_id),
            session_number=await conn.fetchval(SESSION, session.public_id),
            alert=alert,
            message=await conn.fetchval(TO_BE_SAID),
            webhook=webhook,
            shown={"key": str(spare.public_id), "thread": str(message.thread)},
        )
        made.shown |= await _shown(conn, made)
    return made


async def _mail(copy: Copy, name: str) -> tuple[Folder, Folder, Sequence[Placed]]:
    """The inbox with three mails and one that has just left it; a folder with a mail of unknown number."""
    inbox, own = await copy.folder("INBOX", FolderRole.INBOX), await copy.folder(f"{name}s own")
    letters = letter(name, 1), letter(name, 2), letter(name, 3, answers=1)
    placed = await copy.deliver(*letters, flags=(f"${name}",))
    [left] = await copy.deliver(letter(name, 4))
    await copy.deliver(letter(name, 5), path=own.path)
    async with copy.database.transaction(copy.tenant) as conn:
        await places.displace(conn, copy.tenant, inbox, [left.uid])
        await places.unnumber(conn, copy.tenant, own.id)
        await search.remove(conn, copy.tenant, [placed[2].id])  # as if it were still to be indexed
        await conn.execute(OBJECT, f"object of {name}", placed[0].id)
    return inbox, own, placed


async def _account(db: Database, vault: Vault, tenant: TenantId, address: str) -> Account:
    public_id = new_public_id()
    settings = {"host": "imap.example.org", "port": 993, "security": "tls", "username": address}
    async with db.transaction(tenant) as conn:
        made = await accounts.add(
            conn,
            tenant,
            public_id,
            address=address,
            provider="imap",
            settings=settings,
            secret=credentials.seal(vault, tenant, public_id, f"the password of {address}"),
            scope=Scope(),
        )
    assert made is not None
    return made


async def _jobs(db: Database, tenant: TenantId, name: str, account: Account) -> tuple[Job, Enqueued, Job]:
    """One that is over, one that waits, one that runs."""
    holder, lock = "an executor", f"{name}.lock"
    wishes = [
        Wish("test.said", {"whose": name}, account.id),
        Wish("test.runs", {"whose": name}, account.id, key=lock, dedupe=lock, is_kept=False),
    ]
    async with db.transaction(tenant) as conn:
        await jobs.enqueue(conn, tenant, wishes)
    async with db.unbound() as conn:
        said, runs = sorted(
            await queue.claim(conn, holder, ["test.said", "test.runs"], 2, HOUR, 0),
            key=lambda job: job.kind,
            reverse=True,
        )
    async with db.transaction(tenant) as conn:
        for number in range(2):
            await jobs.say(conn, said, f"{name} says {number}")
        [waits] = await jobs.enqueue(conn, tenant, [Wish(f"test.{name}", account=account.id, key=lock)])
    async with db.unbound() as conn:
        reason = Reason("test.failed", f"{name} failed")
        await queue.finish(conn, [queue.End(said, State.FAILED, error=reason)])
    return said, waits, runs


async def _alert(conn: Connection, tenant: TenantId, job: Job) -> int:
    """Of a job that has not failed any more, and one more."""
    await alerts.place(conn, tenant)
    begins = Begins("jobs.failed", job.public_id, "test.failed", job.created_at, TENANT)
    [number] = await alerts.begin(conn, tenant, begins)
    await alerts.begin(conn, tenant, replace(begins, subject=new_public_id()))
    await alerts.say(conn, tenant, [number], [Channel.URL], is_over=False)
    return number


def _events(*folders: Folder) -> list[Event]:
    named = [Event("mail.folder_added", {"folder": str(folder.public_id)}) for folder in folders]
    return [*named, Event("mail.removed", {"message": str(new_public_id())})]


async def _parked(conn: Connection, tenant: TenantId, name: str, inbox: Folder, own: Folder) -> bytes:
    """A message with its bytes, and a folder."""
    blob = pack(f"Subject: parked of {name}\r\n\r\nparked\r\n".encode())
    await blobs.keep(conn, tenant, [blob])
    why = "It cannot be stored."
    failure = Failure(1, "sync.not_storable", why, blob.size, blob.digest, frozenset(), START)
    await syncs.park(conn, tenant, inbox.id, 99, failure, HOUR)
    await quarantine.fail(
        conn, tenant, own.id, code="providers.refused", reason="Refused.", times=3, retry=HOUR
    )
    return blob.digest


async def _synced(conn: Connection, account: Account, placed: Sequence[Placed], folder: Folder) -> int:
    """What a sync leaves behind beside mail; the number of its token."""
    tenant, number = account.tenant_id, account.id
    await syncs.move(conn, tenant, folder.id, Cursor(1, 4, 7, 3))
    await reread.reach(conn, tenant, number, (START, placed[0].id))
    await budgets.spend(conn, tenant, number, Cost(bytes=1000, connections=1, logins=1))
    for statement in (LIMITED, WATCHED, TOLD, CONNECTED):
        await conn.execute(statement, tenant, number)
    await accounts.mark_sync_succeeded(conn, tenant, number, wait=HOUR)
    await accounts.mark_compared(conn, tenant, number, HOUR * 0, is_equal=True)
    token = await tokens.begin(conn, account)
    assert token is not None
    await tokens.keep(conn, account, token, "sealed", fresh=HOUR, life=HOUR)
    return token + 1


async def _told(db: Database, vault: Vault, tenant: TenantId, name: str, account: Account) -> Webhook:
    """A webhook that has failed twice, and is behind."""
    made, _ = await webhooks.create(
        db, vault, tenant, url=f"http://127.0.0.1:1/{name}", accounts=[account.id], description=name
    )
    outcome = Outcome(datetime.now(UTC), 0.1, None, "net.port_closed", f"Nobody answers {name}.")
    async with db.unbound() as conn:
        await lanes.claim(conn, f"delivers for {name}", [f"delivers for {other}" for other in NAMES], 1)
        [((_, number), _)] = (await lanes.mine(conn, f"delivers for {name}")).items()
        stream = stream_of(account.id)
        tried = [lanes.Tried(number, "msg_1", stream, 1, "mail.added", n, outcome) for n in (1, 2)]
        await lanes.note(conn, f"delivers for {name}", tried)
    async with db.transaction(tenant) as conn:
        await log.append(conn, tenant, stream, [Event("mail.removed", {"message": str(new_public_id())})])
        return await hooks.get(conn, tenant, made.public_id)


async def _failed(conn: Connection, account: Account, name: str) -> None:
    error = {"code": "providers.port_closed", "message": f"Nobody answers {name}."}
    await accounts.mark_sync_failed(
        conn, account.tenant_id, account.id, wait=HOUR, error=error, state=AccountState.ERROR
    )


async def _shown(conn: Connection, side: Side) -> dict[str, str]:
    waiting = await quarantine.waiting(conn, side.tenant)
    events = await jobs.events(conn, side.tenant, side.said.id)
    return {
        "account": str(side.account.public_id),
        "session": str(side.session),
        "message": str(side.placed[0].public_id),
        "folder": str(side.own.public_id),
        "path": side.own.path,
        "label": f"${side.name}",
        "address": f"{side.name}@sender.example",
        "mailbox": side.account.address,
        "kind": f"test.{side.name}",
        "word": side.name,
        "said": str(side.said.public_id),
        "job": str(side.waits.public_id),
        "parked": next(str(entry.id) for entry in waiting if entry.digest is not None),
        "event": feed.cursor_of(side.entries[0]),
        "consumer": f"reader-of-{side.name}",
        "line": str(events[0].id),
        "webhook": str(side.webhook.public_id),
    }
