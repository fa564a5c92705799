"""Deliver this process's share of all webhooks.

    nobody's, or of a process that is gone ──claimed, fence + 1──> a courier ──> how far it has come

One process at a time delivers a webhook: whoever takes it, and whoever changes it, makes its fence grow, and
what is written under an older one is refused. A process that wakes up late may still post what it had begun:
the same messages, under the same ids, of each stream in the same order.
"""

import asyncio
import random
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from math import ceil

import structlog

from postroom.accounts import store as accounts
from postroom.db import processes
from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database, hint
from postroom.errors import PostroomError
from postroom.events import log
from postroom.events.follow import following
from postroom.events.model import TENANT, Event
from postroom.ids import TenantId
from postroom.jobs.guard import failure_of
from postroom.net.egress import Egress
from postroom.net.kept import LIMIT
from postroom.vault.seal import Vault

from .courier import Courier, Means, News
from .health import Health
from .model import CHANGED, FAULT, WebhookId
from .pace import Pace
from .store import lanes as store

KIND = "deliverer"  # what such a process is registered as
CONNECTIONS = 4  # of its own, so that neither it nor a sync waits for the other
GOODBYE = 2.0  # seconds

Key = tuple[TenantId, WebhookId]

logger = structlog.get_logger()


class Deliverer:
    """The webhooks that this process delivers. Made by `delivering`."""

    def __init__(self, means: Means, hints: Hints, me: processes.Process) -> None:
        self._means, self._hints, self._me = means, hints, me
        self._ours: dict[Key, tuple[Courier, asyncio.Task[None]]] = {}

    async def work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._writing())
            await self._looking(group)

    async def _looking(self, group: asyncio.TaskGroup) -> None:
        wait = self._means.pace.look_every.total_seconds()
        with self._hints.hear(CHANGED) as hearing:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait * random.uniform(0.8, 1.2)):
                        await anext(hearing)
                try:
                    mine = await self._claim()
                except DATABASE_AWAY as error:
                    logger.warning("webhooks.database_away", code=error.code)
                    continue
                for key, (courier, _) in list(self._ours.items()):
                    if mine.get(key) != courier.fence:
                        self._drop(key)
                for key in mine.keys() - self._ours.keys():
                    courier = Courier(self._means, *key, mine[key], Health(self._means.pace))
                    self._ours[key] = courier, group.create_task(self._run(key, courier))

    async def _claim(self) -> dict[Key, int]:
        """Take what is nobody's, as far as it is our share, and let go of more than that; what is ours."""
        me = self._me.identity
        async with self._means.db.unbound() as conn:
            living = await processes.alive(conn, KIND)
            if me not in living:
                return {}  # for the moment others may take what is ours
            shares = await store.shares(conn, living)
            held, fair = shares.of[me], ceil(shares.webhooks / len(living))
            if held < fair:
                await store.claim(conn, me, living, fair - held)
            elif held > fair:
                await store.release(conn, me, held - fair)
                hint(conn, CHANGED)
            return await store.mine(conn, me)

    async def _run(self, key: Key, courier: Courier) -> None:
        """Until it is dropped. What ends a courier is this webhook's trouble alone, whatever it is."""
        while True:
            code = _told(courier, await failure_of(courier.run()))
            await asyncio.sleep(courier.health.stops(code).total_seconds())
            courier = Courier(self._means, *key, courier.fence, courier.health)
            self._ours[key] = courier, self._ours[key][1]

    def _drop(self, key: Key) -> None:
        courier, task = self._ours.pop(key)
        task.cancel()
        courier.health.count(is_over=True)

    async def _writing(self) -> None:
        while True:
            await asyncio.sleep(self._means.pace.write_every.total_seconds())
            try:
                await self.write()
            except DATABASE_AWAY as error:
                logger.warning("webhooks.database_away", code=error.code)

    async def write(self) -> None:
        """How far all have come, at once; and what is worth an event."""
        # Decided first: who hears that one delivers again finds that written.
        known = [(one, one.health.is_to_be_told()) for one, _ in self._ours.values() if one.webhook]
        taken: list[tuple[Key, Courier, News]] = []
        for key, (courier, _) in self._ours.items():
            if (news := courier.take()) is not None:
                taken.append((key, courier, news))
        if taken:
            await self._reach(taken)
        for courier, is_failing in known:
            await self._tell(courier, is_failing=is_failing)

    async def _reach(self, taken: list[tuple[Key, Courier, News]]) -> None:
        me = self._me.identity
        lanes = [(courier.id, lane.reached) for _, courier, news in taken for lane in news.lanes]
        try:
            async with self._means.db.unbound() as conn:
                written = await store.reach(conn, me, [news.state for *_, news in taken], lanes)
                await store.note(
                    conn,
                    me,
                    [each for _, courier, news in taken for each in news.tried if courier.id in written],
                )
        except DATABASE_AWAY:
            for _, courier, news in taken:
                courier.give_back(news)
            raise
        for key, courier, _ in taken:
            if courier.id not in written and key in self._ours and self._ours[key][0] is courier:
                self._drop(key)
                self._hints.tell(CHANGED)

    async def _tell(self, courier: Courier, *, is_failing: bool) -> None:
        """That it fails, once until it does no more; and that."""
        health = courier.health
        if is_failing == health.is_told or (is_failing and health.failure is None):
            return
        webhook = courier.webhook
        assert webhook is not None
        name = {"webhook": str(webhook.public_id)}
        event = (
            Event("webhooks.failing", {**name, "code": health.failure})
            if is_failing
            else Event("webhooks.recovered", name)
        )
        async with self._means.db.transaction(webhook.tenant) as conn:
            if await store.tell(conn, webhook, is_failing=is_failing):
                await log.append(conn, webhook.tenant, TENANT, [event])
        health.is_told = is_failing

    async def let_go(self) -> None:
        """Of all, so that others go on at once, and where it stopped."""
        try:
            with suppress(*DATABASE_AWAY, TimeoutError):
                async with asyncio.timeout(GOODBYE):
                    await self.write()
                    async with self._means.db.unbound() as conn:
                        await store.release(conn, self._me.identity)
                        hint(conn, CHANGED)
        finally:
            for key in list(self._ours):
                self._drop(key)


@asynccontextmanager
async def delivering(
    db: Database,
    hints: Hints,
    vault: Vault,
    allowed: Egress,
    pace: Pace | None = None,
    limit: timedelta = LIMIT,
) -> AsyncIterator[None]:
    """Deliver a share of all webhooks for as long as the block runs. `limit`: of one request."""
    async with (
        db.reserved(CONNECTIONS) as own,
        following(own, hints, accounts.public_ids) as live,
        processes.registered(db, KIND) as me,
    ):
        deliverer = Deliverer(Means(own, live, vault, allowed, pace or Pace(), limit), hints, me)
        try:
            async with beside(deliverer.work()):
                yield
        finally:
            await deliverer.let_go()


def _told(courier: Courier, failure: Exception | None) -> str | None:
    """Log what stopped a courier; the code that its webhook fails with, unless the database is away."""
    if isinstance(failure, PostroomError):
        logger.warning("webhooks.interrupted", webhook=courier.id, code=failure.code)
        return None if isinstance(failure, DATABASE_AWAY) else failure.code
    # As text: who logs for people may show the values of all variables with it, and so the mail.
    trace = "".join(traceback.format_exception(failure))
    logger.error("webhooks.fault", webhook=courier.id, traceback=trace)
    return FAULT
