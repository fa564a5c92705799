"""Handlers: each event once, in the application's transaction, in order.

    hint "events", every second ──▶ (tenant, handler) ──▶ read the log behind its place        our connection
                                          ▲                    │
                                          │       ┌────────────▼─ the application's transaction ───────────┐
                                          │       │ take: lock its row, if it stands there; events; advance │
                                          │       └────────────┬────────────────────────────────────────────┘
                                          └── place moved ◀── commit, or nothing of it

Who has the row's lock handles; whoever is killed loses it with the connection. A transaction holds several
events; if one fails, all of them are undone and handled one by one, and the one that fails alone is tried
again and again, later each time, until its handler stops there and says so in the log. Where a process was
killed while it handled (see `marks`), the next one does so one by one, too, and nothing else meanwhile: it is
known then by what it is killed, and that is tried no more often than what fails.
"""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import orjson
import structlog

from postroom.accounts import store as accounts
from postroom.db.beside import beside, require_uncancelled
from postroom.db.listen import Hints
from postroom.db.pool import Connection, Database
from postroom.errors import Conflict, PostroomError
from postroom.events import feed, log
from postroom.events.model import APPENDED, TENANT, Entry, Place
from postroom.events.model import Event as Appended
from postroom.events.wanted import Types
from postroom.ids import AccountId, TenantId
from postroom.people import store as people

from . import store
from .host import Host, Work
from .marks import Key, Marks
from .model import Event, HandlerCancelled, HandlerEnded

PAGE = 500  # entries that are read at once
TOGETHER = 50  # events in one transaction
AT_ONCE = 4  # transactions of one process
TENANTS = 1000  # looked at in one statement
EVERY = 1.0  # seconds between looks at everything, or
SHARE = 20  # times as long as the last one took
AWAY = 1.0  # seconds before a database is asked again, or a handler that somebody else is at
NEVER = float("inf")
KILLED = "library.process_killed"
FIRST: Place = (1, 0, 0)  # before the number of any transaction that writes

logger = structlog.get_logger()

Do: TypeAlias = Callable[[Event, Any], Awaitable[object]]
Start: TypeAlias = Literal["beginning", "now"]


@dataclass(frozen=True, slots=True)
class Handler:
    """A function of the application's, and which events it is for."""

    name: str
    types: Types
    do: Do
    start: Start
    attempts: int  # tries of one event before it stops there
    limit: timedelta  # how long one event may take


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are handled in one transaction, and where the handler stands before and behind them."""

    after: Place
    events: Sequence[Event]
    to: Place


@dataclass(eq=False, slots=True)
class Line:
    """One handler of one tenant, that has something to do in this process."""

    tenant: TenantId
    handler: Handler
    due: float  # when it is looked at next
    rest: float = 0.0  # it is not looked at before, whatever is told
    is_busy: bool = False
    singly: int = 0  # so many events are handled one by one
    is_suspect: bool = False  # a process ended here: these are handled while nothing else is
    begun: int = 0  # processes that ended here

    @property
    def key(self) -> Key:
        return self.tenant, self.handler.name

    @property
    def at(self) -> float:
        return max(self.due, self.rest)


class Handling:
    """Runs the handlers of a process, for all tenants."""

    def __init__(self, db: Database, hints: Hints, host: Host, handlers: Mapping[str, Handler]) -> None:
        self._db, self._hints, self._host, self._handlers = db, hints, host, handlers
        self._lines: dict[tuple[TenantId, str], Line] = {}
        self._tenants: dict[TenantId, UUID] = {}
        self._enders: set[str] = set()  # handlers that end the transactions of others
        self._marks = Marks(db)
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Handle for as long as the block runs."""
        try:
            async with beside(self._hear(), self._sweep(), *(self._handle() for _ in range(AT_ONCE))):
                yield
        finally:
            await self._marks.take_back()

    def hurry(self, tenant: TenantId, name: str) -> None:
        """Look at it now."""
        line = self._lines.get((tenant, name))
        if line is None:
            line = self._lines[tenant, name] = Line(tenant, self._handlers[name], NEVER)
        line.due = min(line.due, _now())
        self._wake.set()

    async def _hear(self) -> None:
        with self._hints.hear(APPENDED) as hearing:
            async for hint in hearing:
                if hint is not None and hint.isdecimal():
                    for name in self._handlers:
                        self.hurry(TenantId(int(hint)), name)

    async def _sweep(self) -> None:
        """A hint may be lost, and nobody tells when an older transaction ends."""
        while True:
            began = _now()
            try:
                await self._look()
            except PostroomError as error:
                logger.warning("library.database_away", code=error.code)
            await asyncio.sleep(max(EVERY, SHARE * (_now() - began)))

    async def _look(self) -> None:
        names, after = list(self._handlers), 0
        while True:
            async with self._db.unbound() as conn:
                found = await store.due(conn, names, after, TENANTS)
            for tenant, name in found:
                self.hurry(tenant, name)
            if len(found) < TENANTS:
                return
            after = found[-1][0]

    async def _handle(self) -> None:
        while True:
            line = await self._next()
            try:
                wait = await self._turn(line)
            except Conflict as error:  # the log does not go back to where it stands
                wait = await self._stop(line, error.code)
            except PostroomError as error:
                logger.warning("library.database_away", code=error.code)
                wait = AWAY
            line.is_busy = False
            line.due = min(line.due, _now() + wait)
            if line.due == NEVER:
                del self._lines[line.tenant, line.handler.name]
            self._wake.set()

    async def _next(self) -> Line:
        """What has waited for the longest; a suspect when nothing else is at work, and then nothing else."""
        while True:
            self._wake.clear()
            busy = [line for line in self._lines.values() if line.is_busy]
            waiting = (line for line in self._lines.values() if not line.is_busy)
            first = min(waiting, key=lambda line: line.at, default=None)
            is_held = first is not None and bool(busy) and any(line.is_suspect for line in [first, *busy])
            if first is not None and first.at <= _now() and not is_held:
                first.is_busy, first.due = True, NEVER
                return first
            with suppress(TimeoutError):
                async with asyncio.timeout(None if first is None or is_held else first.at - _now()):
                    await self._wake.wait()

    async def _turn(self, line: Line) -> float:
        """Handle what there is; the seconds until the next look, unless there is a hint."""
        tenant, handler = line.tenant, line.handler
        async with self._db.transaction(tenant, lasting_plans=True) as conn:
            stand = await _stand(conn, line)
            if stand is None or stand.is_stopped:
                return NEVER
            if not self._marks.is_at(line.key, stand.place):
                if stand.wait:
                    return stand.wait.total_seconds()
                if stand.begun and not line.is_suspect:
                    return await _suspect(conn, line)
                line.begun = stand.begun
            seen = await feed.look(conn, tenant, stand.place, limit=PAGE)
            wanted = [entry for entry in seen.entries if entry.kind in handler.types]
            events = await self._events(conn, tenant, wanted)
        for batch in self._batches(line, stand.place, seen.entries, events):
            if batch.events and line.begun > handler.attempts:
                return await self._stop(line, KILLED, batch.events[0])
            wait = await self._together(line, batch)
            if wait is not None or line.is_suspect:
                return wait or 0.0  # others have their turn
        if not seen.is_all:
            return 0.0
        return feed.HELD_SECONDS[1] if seen.is_held else NEVER

    async def _events(
        self, conn: Connection, tenant: TenantId, entries: Sequence[Entry]
    ) -> dict[Place, Event]:
        if not entries:
            return {}
        if tenant not in self._tenants:
            self._tenants[tenant] = (await people.tenant_of(conn, tenant)).public_id
        numbers = {AccountId(entry.stream) for entry in entries} - {AccountId(TENANT)}
        called = await accounts.public_ids(conn, tenant, list(numbers))
        return {
            feed.place_of(entry): Event(
                cursor=feed.cursor_of(entry),
                account=called.get(AccountId(entry.stream)),
                stream=entry.stream,
                seq=entry.seq,
                at=entry.at,
                kind=entry.kind,
                data=orjson.loads(entry.body),
                tenant=self._tenants[tenant],
            )
            for entry in entries
        }

    def _batches(
        self, line: Line, after: Place, entries: Sequence[Entry], events: Mapping[Place, Event]
    ) -> Iterator[Batch]:
        """All of the entries; what is not wanted is passed over together with what is."""
        wanted, to = list[Event](), after
        for entry in entries:
            to = feed.place_of(entry)
            if to in events:
                wanted.append(events[to])
            if len(wanted) >= (1 if line.singly or line.handler.name in self._enders else TOGETHER):
                yield Batch(after, wanted, to)
                after, wanted = to, []
        if to != after:
            yield Batch(after, wanted, to)

    async def _together(self, line: Line, batch: Batch) -> float | None:
        """Handle a batch. None when that is done, else the seconds until the next look."""
        if not batch.events:
            async with self._db.transaction(line.tenant, lasting_plans=True) as conn:
                await store.pass_over(conn, line.tenant, line.handler.name, batch.after, batch.to)
            return None
        is_taken = False
        try:
            async with self._host.transaction() as work:
                taken = await self._take(line, batch, work)
                is_taken = taken is not None
                if taken is not None:
                    await _carry_out(line.handler, batch.events, work)
                    await store.advance(work, line.tenant, line.handler.name, taken, batch.to)
        except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit, too, or the panic of an extension
            require_uncancelled()
            return await self._failed(line, batch, error) if is_taken else _away(line, error)
        if not is_taken:
            line.rest = _now() + AWAY
            return AWAY
        self._marks.passed(line.key)
        line.begun, line.singly = 0, max(0, line.singly - 1)
        line.is_suspect = line.is_suspect and line.singly > 0
        return None

    async def _take(self, line: Line, batch: Batch, work: Work) -> str | None:
        """As `store.take`; from then on it is known that this process is at it."""
        tenant, handler = line.tenant, line.handler
        if line.is_suspect:
            [event] = batch.events
            logger.warning(
                "library.handled_alone", handler=handler.name, kind=event.kind, cursor=event.cursor
            )
        if not await self._marks.leave(line.key, batch.after, line.begun, is_suspect=line.is_suspect):
            return None
        return await store.take(work, tenant, handler.name, batch.after, handler.limit * 2)

    async def _stop(self, line: Line, code: str, event: Event | None = None) -> float:
        tenant, name = line.tenant, line.handler.name
        logger.error("library.handler_stopped", handler=name, code=code)
        async with self._db.transaction(tenant) as conn:
            after = await store.stop(conn, tenant, name, line.begun)
            if after is not None:
                stopped = _stopped(name, event.seq, event.account) if event else _stopped(name, after + 1)
                await log.append(conn, tenant, TENANT, [stopped])
        return NEVER

    async def _failed(self, line: Line, batch: Batch, error: BaseException) -> float:
        """The seconds until the next try."""
        tenant, name = line.tenant, line.handler.name
        if isinstance(error, HandlerEnded):
            self._enders.add(name)
        if len(batch.events) > 1:
            line.singly = len(batch.events)
            return 0.0
        [event] = batch.events
        # As text: who logs for people may show the values of all variables with it, and so the mail.
        trace = "".join(traceback.format_exception(error))
        logger.warning(
            "library.handler_failed", handler=name, kind=event.kind, cursor=event.cursor, traceback=trace
        )
        async with self._db.transaction(tenant) as conn:
            is_marked = self._marks.is_at(line.key, batch.after)
            most = line.handler.attempts
            found = await store.fail(conn, tenant, name, batch.after, most, is_marked=is_marked)
            if found is None:  # it was committed after all, or somebody else is further
                return 0.0
            wait, is_stopped = found
            if is_stopped:
                await log.append(conn, tenant, TENANT, [_stopped(name, event.seq, event.account)])
        self._marks.forget(line.key)
        return NEVER if is_stopped else wait.total_seconds()


async def place_of(conn: Connection, tenant: TenantId, start: Start) -> Place:
    """Where a handler begins: never at the `feed.START`, which is wherever the log begins at the time.

    One that had failed there for as long as the log is kept would pass what was removed.
    """
    if start == "now":
        return max(await feed.end(conn, tenant), FIRST)
    entries = await feed.read(conn, tenant, limit=1)
    return (entries[0].position, entries[0].stream, entries[0].seq - 1) if entries else FIRST


async def _stand(conn: Connection, line: Line) -> store.Stand | None:
    """Where a handler is; it begins here if it has not. None: there is no such tenant (any more)."""
    tenant, handler = line.tenant, line.handler
    found = await store.find(conn, tenant, handler.name)
    if found is None:
        await store.begin(conn, tenant, handler.name, await place_of(conn, tenant, handler.start))
        found = await store.find(conn, tenant, handler.name)
    return found


async def _suspect(conn: Connection, line: Line) -> float:
    """Somebody began where a line is: if they are not at it any more, what they began with is suspect."""
    if not await store.lock(conn, line.tenant, line.handler.name):
        line.rest = _now() + AWAY
        return AWAY
    line.is_suspect, line.singly = True, TOGETHER
    return 0.0


async def _carry_out(handler: Handler, events: Sequence[Event], work: Work) -> None:
    for event in events:
        async with asyncio.timeout(handler.limit.total_seconds()):
            await _call(handler, event, work)
        require_uncancelled()  # a handler may keep to itself that it was
        await work.settle()
    await work.finish()


async def _call(handler: Handler, event: Event, work: Work) -> None:
    """A cancellation that nobody asked us for is the handler's: it awaited a task that was cancelled.

    Taken for ours, it would end who handles, and nobody would notice.
    """
    try:
        await handler.do(event, work.given)
    except asyncio.CancelledError as error:
        require_uncancelled()
        raise HandlerCancelled("The handler waited for something that was cancelled.") from error


def _stopped(name: str, seq: int, account: UUID | None = None) -> Appended:
    whose = {} if account is None else {"account": str(account)}
    return Appended("library.handler_stopped", {"handler": f"library.{name}", "seq": seq, **whose})


def _away(line: Line, error: BaseException) -> float:
    """The application's connections are at fault, not its handler."""
    logger.warning("library.host_away", handler=line.handler.name, error=type(error).__name__)
    line.rest = _now() + AWAY
    return AWAY


def _now() -> float:
    return asyncio.get_running_loop().time()
