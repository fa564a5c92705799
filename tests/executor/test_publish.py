"""What is ready is told to a real Redis: few at a time, in turn, and anew when the broker was away."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from executor.celery_app import opening
from executor.work import HANDLERS
from servers.redis import Redis
from servers.tenants import ONE

from postroom.db.beside import beside
from postroom.db.listen import Hints, open_hints
from postroom.db.pool import Database
from postroom.executor import publish
from postroom.executor.publish import MOST, BrokerAway, Publisher
from postroom.executor.tasks import JOBS, Messages, make_app
from postroom.jobs import store
from postroom.jobs.model import Wish

pytestmark = pytest.mark.usefixtures("tenants")


@pytest.fixture
async def hints(db: Database) -> AsyncIterator[Hints]:
    async with open_hints(db) as hints:
        yield hints


@pytest.fixture
def messages(redis: Redis) -> Iterator[Messages]:
    redis.ask("FLUSHALL")
    app = make_app(redis.url, opening)
    yield Messages(app)
    app.close()


@pytest.fixture
def publisher(db: Database, hints: Hints, messages: Messages) -> Publisher:
    return Publisher(db, hints, list(HANDLERS), messages)


async def want(db: Database, count: int) -> None:
    async with db.transaction(ONE) as conn:
        await store.enqueue(conn, ONE, [Wish("test.turn")] * count)


async def test_only_so_many_messages_wait_at_a_time(
    db: Database, publisher: Publisher, messages: Messages, redis: Redis
) -> None:
    await want(db, MOST + 30)

    assert (await publisher.publish(), await publisher.publish()) == (MOST, 0)
    assert messages.waiting() == MOST
    redis.ask("DEL", JOBS)
    assert await publisher.publish() == 30


async def test_a_hint_has_what_is_ready_published_at_once(
    db: Database, publisher: Publisher, messages: Messages
) -> None:
    async with beside(publisher.publishing()), asyncio.timeout(20):
        await want(db, 3)
        while await asyncio.to_thread(messages.waiting) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_what_redis_lost_is_published_again_but_not_what_may_still_wait_there(
    db: Database, publisher: Publisher, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "LOST", timedelta(0))
    await want(db, 2)
    assert await publisher.publish() == 2
    assert await publisher.publish() == 0

    redis.ask("FLUSHALL")
    assert await publisher.publish() == 2


@pytest.mark.slow
async def test_a_broker_that_is_away_is_said_to_be_so(db: Database, hints: Hints) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app = make_app(f"redis://127.0.0.1:{port}/0", opening)
    await want(db, 1)

    with pytest.raises(BrokerAway):
        await Publisher(db, hints, list(HANDLERS), Messages(app)).publish()
    app.close()
