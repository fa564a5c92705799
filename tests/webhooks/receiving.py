"""Receivers on loopback, as a program would have them, and some as no program should."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from servers.tenants import ONE

from postroom.accounts import store as accounts
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.events import feed, log
from postroom.events.model import TENANT, Event, Stream
from postroom.ids import AccountId, TenantId
from postroom.net.egress import Egress
from postroom.net.kept import LIMIT
from postroom.vault.seal import Vault
from postroom.webhooks import change, store
from postroom.webhooks.model import Delivery, Webhook
from postroom.webhooks.pace import Pace
from postroom.webhooks.run import delivering

ANYWHERE = Egress(private_allowed=True)
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops"
MAIL = "0" * 36
QUICK = Pace(
    first=timedelta(milliseconds=20),
    longest=timedelta(milliseconds=200),
    tell_after=timedelta(milliseconds=100),
    look_every=timedelta(milliseconds=200),
    write_every=timedelta(milliseconds=20),
)


@dataclass(frozen=True, slots=True)
class Message:
    """What came, with its headers in lower case."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    @property
    def place(self) -> tuple[int, int]:
        data = self.told["data"]
        return data["stream"], data["seq"]


Reply: TypeAlias = bytes | Callable[[Message, asyncio.StreamWriter], Awaitable[bytes | None]]


@dataclass
class Receiver:
    """`reply`: what it answers; None: nothing, it has said what it wants, and goes."""

    reply: Reply = OK
    url: str = ""
    got: list[Message] = field(default_factory=list)
    first: dict[str, Message] = field(default_factory=dict)  # by their ids
    taken: set[str] = field(default_factory=set)  # their ids, as far as it has answered that it has them
    connections: int = 0
    open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = field(default_factory=dict)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, is_enough: Callable[["Receiver"], bool]) -> None:
        async with self.news:
            await self.news.wait_for(lambda: is_enough(self))

    async def count(self, count: int) -> None:
        """Until so many different messages have come."""
        await self.until(lambda it: len(it.first) >= count)

    @property
    def firsts(self) -> list[Message]:
        """Each when it first came."""
        return list(self.first.values())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open[writer] = asyncio.current_task()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = [line.partition(": ") for line in head.split("\r\n")[1:-2]]
                headers = {name.lower(): value for name, _, value in lines}
                body = await reader.readexactly(int(headers["content-length"]))
                message = Message(headers, body)
                reply = self.reply
                said = reply if isinstance(reply, bytes) else await reply(message, writer)
                if said is not None and said.startswith(b"HTTP/1.1 2"):
                    self.taken.add(message.id)
                async with self.news:
                    self.got.append(message)
                    self.first.setdefault(message.id, message)
                    self.news.notify_all()
                if said is None:
                    break
                writer.write(said)
                await writer.drain()
        writer.transport.abort()
        del self.open[writer]

    async def close(self) -> None:
        tasks = [task for task in self.open.values() if task is not None]
        for writer in self.open:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def receiving(reply: Reply = OK, port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver(reply)
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", port) as server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield receiver
        server.close()
        await receiver.close()


def added(number: int = 0) -> Event:
    return Event("mail.added", {"message": MAIL, "folder": f"{number:036}", "flags": []})


async def append(db: Database, stream: int, *events: Event, tenant: TenantId = ONE) -> None:
    async with db.transaction(tenant) as conn:
        await log.append(conn, tenant, Stream(stream), events)


async def subscribe(
    db: Database,
    vault: Vault,
    url: str,
    *,
    tenant: TenantId = ONE,
    types: list[str] | None = None,
    accounts: list[AccountId] | None = None,
) -> tuple[Webhook, str]:
    return await change.create(db, vault, tenant, url=url, types=types, accounts=accounts)


@asynccontextmanager
async def running(
    db: Database,
    vault: Vault,
    pace: Pace = QUICK,
    *,
    allowed: Egress = ANYWHERE,
    limit: timedelta = LIMIT,
) -> AsyncIterator[None]:
    """A process that delivers."""
    async with open_hints(db) as hints, delivering(db, hints, vault, allowed, pace, limit):
        yield


async def delivered(db: Database, webhook: Webhook, least: int = 1) -> list[Delivery]:
    """What was tried, the latest first, as soon as it is so many."""
    while True:
        async with db.transaction(webhook.tenant) as conn:
            found = await store.deliveries(conn, webhook, None, 100)
        if len(found) >= least:
            return found
        await asyncio.sleep(0.01)


def is_in_order(messages: list[Message]) -> bool:
    """Whether the events of each stream came one after the other, without a gap."""
    last: dict[int, int] = {}
    for stream, seq in (message.place for message in messages):
        if last.setdefault(stream, seq - 1) != seq - 1:
            return False
        last[stream] = seq
    return True


@dataclass(frozen=True, slots=True)
class Logged:
    cursor: str
    at: str


async def told(db: Database, account: AccountId) -> tuple[Logged, UUID]:
    """The first event of an account, and what that is called outside."""
    async with db.transaction(ONE) as conn:
        [entry] = await log.read(conn, ONE, Stream(account), limit=1)
        called = await accounts.public_ids(conn, ONE, [account])
    at = orjson.loads(orjson.dumps(entry.at))
    return Logged(feed.cursor_of(entry), at), called[account]


async def alerts(db: Database, least: int) -> list[tuple[str, str, str | None]]:
    """What the tenant was told of its webhooks, as soon as it is so much: kind, webhook, code."""
    while True:
        async with db.transaction(ONE) as conn:
            entries = await log.read(conn, ONE, TENANT)
        told = [(entry.kind, orjson.loads(entry.body)) for entry in entries]
        found = [
            (kind, data["webhook"], data.get("code")) for kind, data in told if kind.startswith("webhooks.")
        ]
        if len(found) >= least:
            return found
        await asyncio.sleep(0.01)


def has(least: int, receiver: Receiver) -> bool:
    """Whether so much has come, whatever it is."""
    return len(receiver.got) >= least
