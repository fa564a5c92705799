"""Tell one webhook what it wants to know: each stream in order, different streams beside each other.

    follower ──> lanes: idle ──something came──> ready ──a place is free──> posting ─┬─ delivered ──> ready
                                                   ^                                 └─ failed ──> waits ─┐
                                                   └──── its time has come, or a receiver answers again ──┘

A lane that is behind reads its stream from the log, where everything is: nothing is copied into a queue, so
catching up after any time is reading on. One event of a stream is under way at a time, and the next only
after the receiver has taken it. How far a lane has come is written by `run`, many at once: what a crash
forgets is posted again under the same ids.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import structlog

from postroom import telemetry
from postroom.accounts import store as accounts
from postroom.db.beside import alone
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Connection, Database
from postroom.events import feed, log
from postroom.events.follow import Follower, Following, Heard
from postroom.events.model import TENANT, Event, Stream
from postroom.events.store import removed
from postroom.events.wanted import Types, Wanted
from postroom.ids import AccountId, TenantId
from postroom.net.egress import Egress
from postroom.net.kept import LIMIT, Kept, open_kept
from postroom.vault.seal import Vault

from .health import Health
from .lane import KEPT, Lane
from .message import body_of, id_of
from .model import LogLost, Outcome, Outdated, Webhook, WebhookId
from .pace import Pace
from .post import Secrets, opened, post
from .store import lanes as store

HELD = 2000  # entries of all lanes of a webhook that wait in memory; of each lane a turn's more
AT_ONCE = 8  # lanes of one webhook that are posted from
TURN = 20  # events of a lane, before others of the webhook have their turn
OUTAGE = 3  # failures without a success between them: then it takes one lane to find out whether it is over
NOTED = 10, 50  # deliveries and failures that are written at once; of more the latest
PASSED_EVERY = 10.0  # seconds until it is written how much was passed that is not wanted
AWAY = 1.0  # seconds, before the database is asked again

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes to deliver."""

    db: Database
    following: Following
    vault: Vault
    allowed: Egress
    pace: Pace
    limit: timedelta = LIMIT


@dataclass(frozen=True, slots=True)
class News:
    """What is to be written of a courier."""

    state: store.State
    lanes: Sequence[Lane]
    tried: Sequence[store.Tried]


class Courier:
    """Of one webhook, as it was under one fence."""

    def __init__(self, means: Means, tenant: TenantId, id: WebhookId, fence: int, health: Health) -> None:
        self.tenant, self.id, self.fence, self.health = tenant, id, fence, health
        self.webhook: Webhook | None = None  # before it is loaded
        self._means = means
        self._lanes: dict[Stream, Lane] = {}
        self._fresh: deque[Lane] = deque()  # ready, without a failure
        self._again: deque[Lane] = deque()  # ready, after one
        self._later: list[tuple[float, int, Lane]] = []
        self._numbers = count()
        self._turns = 0
        self._wake = asyncio.Event()
        self._busy = self._streak = self._probes = self._held = self._taken = 0
        self._rests_until = 0.0  # but for lanes without a failure
        self._dirty: set[Lane] = set()
        self._passed: set[Lane] = set()
        self._write_passed = 0.0
        # Since when it fails and with which code, as it is stored; None: nobody knows.
        self._written: tuple[datetime | None, str | None] | None = (None, None)
        self._noted = tuple(deque[store.Tried](maxlen=most) for most in NOTED)

    async def run(self) -> None:
        """For ever: after whatever it raises, `run` begins another."""
        means = self._means
        async with means.db.transaction(self.tenant) as conn:
            place = await feed.end(conn, self.tenant)
        follower = means.following.follower(self.tenant, None, Wanted(), place)
        try:
            secrets = await self._load()
            assert self.webhook is not None
            async with open_kept(self.webhook.url, means.allowed, at_once=AT_ONCE, limit=means.limit) as line:
                with alone():
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._hear(follower))
                        await self._dispatch(group, line, secrets)
        finally:
            follower.close()

    async def _load(self) -> Secrets:
        async with self._means.db.transaction(self.tenant) as conn:
            webhook, found = await store.load(conn, self.tenant, self.id)
        if webhook.fence != self.fence:
            raise _outdated()
        self.webhook = webhook
        self.health.found(webhook)
        self._written = webhook.failing_since, webhook.failure
        secrets = opened(self._means.vault, webhook)
        self.health.begins()
        words = webhook.types
        self._types = None if words is None else _types(words)
        self._streams = None if webhook.accounts is None else frozenset(map(Stream, webhook.accounts))
        for reached, head in found:
            lane = Lane(reached.stream, reached.seq, head, reached.failures, reached.failing_since)
            self._lanes[lane.stream] = lane
            if lane.failures:
                self.health.fails(lane)
                self._streak = self._probes = max(self._streak, lane.failures)
            if lane.is_behind and reached.next_at is not None:
                self._wait(lane, reached.next_at)
            elif lane.is_behind:
                self._go_on(lane)
        return secrets

    # What happens: who is told of what, and when.

    async def _hear(self, follower: Follower) -> None:
        while not follower.is_over:
            follower.wake.clear()
            found = await follower.take()
            for heard in found:
                self._came(heard)
            if not found:
                await follower.wake.wait()
        raise LogLost("The log is followed anew.")

    def _came(self, heard: Heard) -> None:
        stream = heard.entry.stream
        if self._streams is not None and stream not in self._streams:
            return
        lane = self._lanes.get(stream)
        if lane is None:  # of a stream that has begun since
            lane = self._lanes[stream] = Lane(stream, 0, 0)
        self._held += lane.came(heard, KEPT if self._held < HELD else 0)
        if lane.is_idle and lane.is_behind:
            while lane.queue and not self._wants(lane.queue[0]):
                self._pass(lane)
            if lane.is_behind:
                self._go_on(lane)

    def _wants(self, heard: Heard) -> bool:
        return self._types is None or heard.entry.kind in self._types

    def _go_on(self, lane: Lane) -> None:
        lane.is_idle, lane.due = False, None
        (self._again if lane.failures else self._fresh).append(lane)
        self._wake.set()

    def _wait(self, lane: Lane, until: datetime) -> None:
        """No longer than ever: by the clock of whoever wrote down that time it may be years."""
        seconds = min(until - datetime.now(UTC), self._means.pace.longest).total_seconds()
        lane.is_idle, lane.due = False, _now() + seconds
        heapq.heappush(self._later, (lane.due, next(self._numbers), lane))
        self._wake.set()

    def _try_all(self) -> None:
        """The receiver answers again: nobody waits any more, but who failed while it took others' events."""
        waiting, self._later = self._later, []
        for due, number, lane in waiting:
            if lane.alone:
                heapq.heappush(self._later, (due, number, lane))
            elif lane.due == due:
                self._go_on(lane)

    async def _next(self) -> Lane:
        while True:
            self._wake.clear()
            while self._later and self._later[0][0] <= _now():
                due, _, lane = heapq.heappop(self._later)
                if lane.due == due:
                    self._go_on(lane)
            if (chosen := self._chosen()) is not None:
                return chosen
            times = [self._later[0][0]] if self._later else []
            if self._again and self._rests_until > _now():
                times.append(self._rests_until)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(times, default=None)):
                    await self._wake.wait()

    def _chosen(self) -> Lane | None:
        """Who is next, if anybody may be.

        Where nothing gets through, lanes that have failed are not tried one after the other, but one of them
        from time to time, for all. The others find out once: what fails may be one account's alone.
        """
        if self._streak < OUTAGE:
            if self._busy >= AT_ONCE:
                return None
            self._turns += 1
            one, other = (self._fresh, self._again) if self._turns % 2 else (self._again, self._fresh)
            return (one or other).popleft() if one or other else None
        if self._busy:
            return None
        if self._fresh:
            return self._fresh.popleft()
        return self._again.popleft() if self._again and self._rests_until <= _now() else None

    async def _dispatch(self, group: asyncio.TaskGroup, line: Kept, secrets: Secrets) -> None:
        while True:
            lane = await self._next()
            self._busy += 1
            group.create_task(self._turn(lane, line, secrets))

    async def _turn(self, lane: Lane, line: Kept, secrets: Secrets) -> None:
        try:
            for _ in range(TURN):
                heard = await self._first(lane)
                if heard is None or not await self._deliver(lane, heard, line, secrets):
                    break
        except DATABASE_AWAY:
            self._wait(lane, datetime.now(UTC) + timedelta(seconds=AWAY))
        finally:
            self._busy -= 1
            if lane.due is None and lane.is_behind:
                self._go_on(lane)
            elif lane.due is None:
                lane.is_idle = True
            self._wake.set()

    async def _first(self, lane: Lane) -> Heard | None:
        """The next event that is wanted; None where there is none at present."""
        while lane.is_behind:
            if not lane.queue:
                await self._read(lane)
            while lane.queue:
                if self._wants(lane.queue[0]):
                    return lane.queue[0]
                self._pass(lane)
        return None

    def _pass(self, lane: Lane) -> None:
        """The next event was delivered, or is not wanted."""
        lane.passed()
        self._held -= 1
        self._passed.add(lane)
        self.health.is_well(lane)

    async def _read(self, lane: Lane) -> None:
        tenant, stream = self.tenant, lane.stream
        most = KEPT if self._held < HELD else TURN
        async with self._means.db.transaction(tenant, lasting_plans=True) as conn:
            entries = await log.read(conn, tenant, stream, after=lane.seq, limit=most)
            called = {} if stream == TENANT else await accounts.public_ids(conn, tenant, [AccountId(stream)])
            until = entries[0].seq - 1 if entries else await self._removed(conn, lane)
            if until > lane.seq:
                await self._missed(conn, stream, until, called.get(AccountId(stream)))
        if until > lane.seq:
            lane.missed(until)
            self._dirty.add(lane)
            self.health.is_well(lane)
        lane.queue.extend(Heard(entry, called.get(AccountId(stream))) for entry in entries)
        self._held += len(entries)
        lane.head = max(lane.head, lane.seq + len(entries))

    async def _removed(self, conn: Connection, lane: Lane) -> int:
        """Up to where the log was removed, of which nothing is left behind a lane that has not all of it."""
        found = await removed.of_one(conn, self.tenant, lane.stream)
        if found is None or found.seq <= lane.seq:
            raise LogLost("What the log had is not there any more.")
        return found.seq

    async def _missed(self, conn: Connection, stream: Stream, until: int, account: UUID | None) -> None:
        """The log is not kept for ever, and the receiver took nothing for longer. Raises `Outdated`."""
        assert self.webhook is not None
        if not await store.miss(conn, self.webhook, stream, until):
            raise _outdated()
        logger.error("webhooks.missed", webhook=self.id, seq=until)
        about = {"webhook": str(self.webhook.public_id), "seq": until}
        whose = {} if account is None else {"account": str(account)}
        await log.append(conn, self.tenant, TENANT, [Event("webhooks.missed", about | whose)])

    async def _deliver(self, lane: Lane, heard: Heard, line: Kept, secrets: Secrets) -> bool:
        """Whether the receiver took it."""
        assert self.webhook is not None
        entry, attempt = heard.entry, lane.failures + 1
        message = id_of(self.webhook.public_id, entry)
        posted = await post(line, secrets, message, body_of(heard))
        outcome = posted.outcome
        is_delivered = outcome.code is None
        telemetry.WEBHOOKS_ATTEMPTS.labels("delivered" if is_delivered else "failed").inc()
        tried = store.Tried(self.id, message, entry.stream, entry.seq, entry.kind, attempt, outcome)
        self._noted[0 if is_delivered else 1].append(tried)
        self._dirty.add(lane)
        if is_delivered:
            self._took(lane, outcome.at)
        else:
            self._refused(lane, outcome, posted.wait)
        return is_delivered

    def _took(self, lane: Lane, at: datetime) -> None:
        self._pass(lane)
        self._taken += 1
        self.health.delivered_at = at
        is_over, self._streak, self._probes = self._streak >= OUTAGE, 0, 0
        if is_over:
            self._try_all()

    def _refused(self, lane: Lane, outcome: Outcome, asked: timedelta | None) -> None:
        again_after = self._means.pace.again_after
        self._held -= len(lane.queue)
        lane.failed(outcome.at, self._taken)
        lane.next_at = datetime.now(UTC) + again_after(lane.alone or lane.failures, asked, random.random())
        self.health.fails(lane, outcome.code)
        self._streak += 1
        if lane.failures > 1:
            self._probes += 1
            rest = again_after(self._probes, asked, random.random())
            self._rests_until = _now() + rest.total_seconds()
        self._wait(lane, lane.next_at)

    # What is written of it.

    def take(self) -> News | None:
        """What is to be written, once."""
        if self._passed and _now() >= self._write_passed:
            self._dirty |= self._passed
            self._passed = set()
            self._write_passed = _now() + PASSED_EVERY
        self.health.count()
        failing = self.health.failing_since, self.health.failure
        if not self._dirty and failing == self._written:
            return None
        self._written = failing
        lanes, self._dirty = list(self._dirty), set()
        tried = sorted((each for noted in self._noted for each in noted), key=lambda each: each.outcome.at)
        for noted in self._noted:
            noted.clear()
        state = store.State(self.id, self.fence, self.health.delivered_at, *failing)
        return News(state, lanes, tried)

    def give_back(self, news: News) -> None:
        """It could not be written. Of what was tried it is not told then."""
        self._dirty.update(news.lanes)
        self._written = None


def _outdated() -> Outdated:
    return Outdated("Another process delivers this webhook, or its owner has changed it.")


def _types(words: Sequence[str]) -> Types:
    """As they were read once; what another release does not know it never meets."""
    rooms = tuple(word[:-1] for word in words if word.endswith("*"))
    return Types(frozenset(words), rooms)


def _now() -> float:
    return asyncio.get_running_loop().time()
