"""PostgreSQL stops, dies and comes back under callers who ask without end: each is answered in time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import httpx2
import pytest
from servers.api import Client
from servers.live import on_a_port
from servers.stopping import Stopping, stopping
from servers.tenants import MAKE, ONE
from walls.load import Follower, Mood, Question, ask_on, follow_socket, follow_stream, write_on
from walls.sides import Side, side

from postroom.api.app import create_app
from postroom.api.live import live
from postroom.db.listen import open_hints
from postroom.db.migrate import migrate
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database, open_pool
from postroom.events import feed, log, store
from postroom.events.model import Event, stream_of
from postroom.net.egress import Egress
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.vault.seal import Vault

LIMIT = 5.0
"""Seconds that a request may take here; three times as long where it changes something."""
PATIENCE = 30.0
"""Seconds until things are as they were, on a machine that has others to serve."""
ROUNDS: dict[str, Callable[[Stopping], Awaitable[None]]] = {
    "stopped": Stopping.stop,
    "killed": Stopping.kill,
    "stopped again": Stopping.stop,
    "killed again": Stopping.kill,
}


def questions(one: Side) -> list[Question]:
    shown = one.shown
    reads = [
        "/v1/people/me",
        "/v1/people/keys",
        "/v1/accounts",
        f"/v1/accounts/{shown['account']}/sync-status",
        f"/v1/accounts/{shown['account']}/budget",
        "/v1/mail/messages",
        f"/v1/mail/messages/{shown['message']}",
        f"/v1/mail/messages/{shown['message']}/raw",
        f"/v1/mail/messages/{shown['message']}/attachments/1",
        "/v1/mail/threads",
        "/v1/mail/folders?counted=true",
        "/v1/search?q=report",
        "/v1/jobs/overview",
        "/v1/sync/parked",
        "/health/ready",
    ]
    return [
        *(Question(path, "GET", path) for path in reads),
        Question("sync now", "POST", f"/v1/accounts/{shown['account']}/sync", (202,)),
        Question("pause", "PATCH", f"/v1/accounts/{one.other.public_id}", (200,), {"paused": True}),
    ]


def limit_of(question: Question) -> float:
    """Seconds, with one for a machine that has others to serve."""
    return LIMIT * (1 if question.method == "GET" else 3) + 1


@asynccontextmanager
async def answering(db: Database, vault: Vault, one: Side) -> AsyncIterator[Client]:
    """The application on a port, and a client that may do everything in that tenant."""
    settings = Settings(request_seconds=LIMIT, rate_limit_per_minute=0)
    async with AsyncExitStack() as stack:
        hints = await stack.enter_async_context(open_hints(db))
        news = await stack.enter_async_context(live(db, hints))
        app = create_app(db, settings, vault, Registry(Egress(private_allowed=True)), news)
        url = await stack.enter_async_context(on_a_port(app))
        yield await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=url,
                headers={"Authorization": f"Bearer {one.key}"},
                timeout=LIMIT * 3 + 5,
                limits=httpx2.Limits(max_connections=None),
            )
        )


@pytest.fixture
async def server() -> AsyncIterator[Stopping]:
    async with stopping() as made:
        await migrate(made.dsn)
        conn = await asyncpg.connect(made.dsn)
        await conn.execute(MAKE)
        await conn.close()
        yield made


async def everything(db: Database) -> list[str]:
    """The cursors of the whole log."""
    async with db.transaction(ONE) as conn:
        entries = await store.feed(conn, ONE, feed.START, feed.EVERYTHING, 1_000_000)
    return [feed.cursor_of(entry) for entry in entries]


@pytest.mark.slow
async def test_callers_are_answered_in_time_while_the_database_comes_and_goes(
    server: Stopping, vault: Vault
) -> None:
    async with open_pool(server.dsn) as db:
        one = await side(db, vault, ONE, "annika")
        event = Event("mail.folder_added", {"folder": str(one.folder.public_id)})
        mood, asked = Mood(), questions(one)
        followers = [Follower(f"follower {number}", mood) for number in range(4)]

        async def append() -> None:
            async with db.transaction(ONE) as conn:
                await log.append(conn, ONE, stream_of(one.account.id), [event])

        async with answering(db, vault, one) as client, asyncio.TaskGroup() as group:
            url = str(client.base_url).rstrip("/").replace("http", "ws", 1)
            askers = [group.create_task(ask_on(client, question, mood)) for question in asked]
            askers.append(group.create_task(write_on(append, DATABASE_AWAY)))
            listeners = []
            for number, follower in enumerate(followers):
                following = follow_socket(url, one.key, follower) if number % 2 else None
                listeners.append(group.create_task(following or follow_stream(client, follower)))
            everybody = {question.name for question in asked} | {each.name for each in followers}
            for how in ROUNDS.values():
                async with asyncio.timeout(PATIENCE):
                    await mood.until(mood.good, everybody)
                    await how(server)
                    await mood.until(mood.refused, {question.name for question in asked}, 3)
                    await server.start()
                    await mood.until(mood.good, everybody)
                assert mood.wrong == []
            for task in askers:
                task.cancel()
            await asyncio.wait(askers)
            whole = await everything(db)
            async with asyncio.timeout(PATIENCE), mood.changed:
                await mood.changed.wait_for(lambda: all(whole[-1] in each.seen for each in followers))
            for task in listeners:
                task.cancel()

        assert mood.wrong == []
        assert {q.name: mood.slowest[q.name] for q in asked if mood.slowest[q.name] > limit_of(q)} == {}
        # What a caller had asked for when it was stopped may have come since.
        later = await everything(db)
        assert later[: len(whole)] == whole
        assert [len(each.seen) for each in followers if each.seen != later[: len(each.seen)]] == []
        assert min(len(each.seen) for each in followers) >= len(whole)
