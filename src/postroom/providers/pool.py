"""Connections to mail servers: each is lent, and some are kept for a while, so that nobody need log in again.

lend ──┬─ one is kept ──> does it still stand? ──┬─ yes ──> used ──> at rest ──> kept
       │                                         └─ no ───┐              └────> listens
       └─ none is ──> others close theirs ─> a slot ─> log in ─> used ...

Only accounts that are polled more often than every `IDLE` gain by it. Only one that ended well is kept, for
`IDLE` after its last use and for `LIFE` in all: a server may believe for ever what it believes of a session's
folders. One that has died says nothing of the server or the account: its user gets a new one, in its slot.

Of accounts that are watched the session listens meanwhile, for as long as it stands: the very one that the
next sync uses, so an account takes one connection, and what is told of needs no login.

Servers count connections: how many there may be is decided in `slots`, over all processes. So of one
account one is kept in all processes, which tell each other by hints, and none when somebody waits for a
slot; and of a host that has refused a login none is kept for a day. One in trouble is given few at a time
(`hosts`).
"""

import asyncio
import random
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from datetime import timedelta
from time import monotonic

from postroom import telemetry
from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.errors import PostroomError
from postroom.ids import AccountId, TenantId

from .further import Chosen
from .hosts import Hosts
from .kept import Opening, Session
from .listening import Listening
from .model import (
    Incomplete,
    Mailbox,
    NoConnection,
    PortClosed,
    ServerRefused,
    TooMany,
    UnknownHost,
    Unreachable,
)
from .slots import SESSIONS, Slot, Slots
from .target import Key, Purpose, Target

REFUSED = timedelta(days=1)  # that a host is remembered which refused a login
LOOK_EVERY = 15.0  # seconds, for those whose time is over
GOODBYE = 3.0  # seconds for all that are closed together
MOMENT = timedelta(seconds=2)  # for a slot, where it is a worker that waits
WHILE = timedelta(seconds=30)  # the same, where it is a person
MOST = 500
SHARE = 4  # of the files that a process may open, one in so many is a mailbox that is kept


def _nobody(_topic: str, _subject: str) -> None: ...


def of_account(tenant: TenantId, account: AccountId) -> str:
    """The subject of the hint that nobody keeps a session of this account any more."""
    return f"account {tenant} {account}"


class Pool:
    """Mailboxes that are open: those lent, and at most `most` that are not in use.

    `tell` tells a hint to all processes. Without `slots` there may be as many as anybody likes. `share`: how
    many of one host in trouble are lent at a time, where that matters.
    """

    def __init__(
        self,
        most: int = 0,
        tell: Callable[[str, str], None] = _nobody,
        slots: Slots | None = None,
        share: int = 0,
    ) -> None:
        self._most, self._tell, self.slots = most, tell, slots
        self._hosts = Hosts(share)
        self._kept: dict[Key, Session] = {}  # the longest unused first
        self._lent: set[Session] = set()
        self._over: list[Session] = []  # to be closed
        self._is_more = asyncio.Event()  # among them, before it is time for the next look
        self.listening = Listening(self._over_with)
        self._refusing: dict[str, float] = {}  # hosts, and until when

    def check(self, target: Target) -> None:
        """Raises `NoConnection` where `lend` would, as far as that is known without asking anybody.

        Of an account whose session listens none is opened: what others have to bear with the same host says
        nothing of it.
        """
        if target.key not in self.listening:
            self._hosts.check(target.host, monotonic())

    @asynccontextmanager
    async def lend(
        self,
        target: Target,
        opening: Opening,
        wants: Callable[[str], bool] = lambda _path: True,
        chosen: Chosen | None = None,
        *,
        often: bool,
        anew: bool = False,
        purpose: Purpose = Purpose.SYNC,
    ) -> AsyncIterator[Mailbox]:
        """The account's mailbox, by its credentials of today: one that was kept, or what `opening` opens.

        `wants` says which folders matter, by their paths, if it is to listen afterwards; which of them are
        watched by sessions of their own, `chosen` says. `often`: it will be
        wanted again within `IDLE`. `anew`: what was kept will not do. Raises what `opening` does, and
        `NoConnection`.
        """
        key = target.key
        self.check(target)
        listens, has_listened = self._most > 0 and self.listening.wants(key), key in self.listening
        began = None
        try:
            session = await self._taken(target, anew=anew)
            if session is None:
                session = Session(target, self._opened)
                if often or listens:
                    self._tell(SESSIONS, of_account(*key))
            async with self._in_use(session) as end:
                with self._noticing(session.host):
                    if session.is_new:
                        session.slot = await self._slot(target, Purpose.WATCH if listens else purpose)
                    await session.begin(opening)
                yield session
                listens = listens and not session.is_wanted_elsewhere
                if listens and (began := await self.listening.begin(key, session, wants)):
                    end.pop_all()
                elif often and self._has_room(session) and await session.rest() and self._has_room(session):
                    end.pop_all()
                    self._keep(key, session)
            if began is not None:
                await self.listening.further.mind(target, began, chosen, self._one_more)
        finally:
            if has_listened and key not in self.listening:
                self.listening.lost(key)

    async def _taken(self, target: Target, *, anew: bool) -> Session | None:
        """One that was kept and will do."""
        session = self._kept.pop(target.key, None) or await self.listening.taken(target.key)
        if session is not None and (anew or session.version != target.version):
            await self._close([session])
            return None
        return session

    @asynccontextmanager
    async def _in_use(self, session: Session) -> AsyncIterator[AsyncExitStack]:
        """It is closed, and its slot given back, at the end; unless the stack is emptied."""
        with self._using(session):
            async with AsyncExitStack() as end:
                end.push_async_callback(self._give_back, [session])
                end.push_async_exit(session.stack)
                yield end

    @contextmanager
    def _using(self, session: Session) -> Iterator[None]:
        """Count it among those in use, and learn of the host from how that ends."""
        self._hosts.begin(session.host)
        self._lent.add(session)
        telemetry.CONNECTIONS_USED.inc()
        try:
            with self._learning(session.host):
                yield
        finally:
            telemetry.CONNECTIONS_USED.dec()
            self._lent.discard(session)
            self._hosts.end(session.host)

    @contextmanager
    def _learning(self, host: str) -> Iterator[None]:
        """Of the host, from how the use of a connection ends."""
        began, went = monotonic(), list[bool]()
        try:
            yield
            went.append(True)
        except (Unreachable, ServerRefused, Incomplete):
            went.append(False)
            raise
        finally:
            if went:
                self._hosts.learn(host, began, monotonic(), went=went[0], roll=random.random())

    async def _one_more(self, target: Target, opening: Opening) -> Session | None:
        """Another session of an account that is watched, where a slot is free. Raises as `lend` does."""
        is_counted = self.slots is not None and bool(target.host)
        slot = await self.slots.take_free(target) if self.slots is not None and is_counted else None
        if is_counted and slot is None:
            return None
        session = Session(target, self._opened)
        session.slot = slot
        async with AsyncExitStack() as end:
            end.push_async_callback(self._give_back, [session])
            end.push_async_exit(session.stack)
            await session.begin(opening)
            end.pop_all()
        return session

    async def _slot(self, target: Target, purpose: Purpose) -> Slot | None:
        if self.slots is None or not target.host:
            return None
        try:
            return await self.slots.take(target, purpose, WHILE if purpose is Purpose.COMMAND else MOMENT)
        except NoConnection as error:
            if error.data.get("is_of_host"):
                raise self._hosts.turned_away(target.host, error.message) from error
            raise

    @asynccontextmanager
    async def _opened(self, session: Session, opening: Opening) -> AsyncIterator[Mailbox]:
        """What `opening` opens, within the time that its host may take."""
        host = session.host
        number, seconds = self._hosts.opens(host, monotonic())
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(seconds):
                    mailbox = await stack.enter_async_context(self._in(session.slot, opening))
            except TimeoutError:
                raise self._hosts.turned_away(host, "It is slow to let us in.") from None
            finally:
                self._hosts.opened(host, number, monotonic())
            yield mailbox

    @asynccontextmanager
    async def _in(self, slot: Slot | None, opening: Opening) -> AsyncIterator[Mailbox]:
        async with AsyncExitStack() as stack:
            try:
                mailbox = await stack.enter_async_context(opening)
            except TooMany as error:
                raise await self._learnt(slot, error) from error
            telemetry.CONNECTIONS_OPEN.inc()
            stack.callback(telemetry.CONNECTIONS_OPEN.dec)
            yield mailbox

    async def _learnt(self, slot: Slot | None, error: TooMany) -> PostroomError:
        """Of one that is refused for the sake of others of ours: with one less all goes on."""
        if self.slots is None or slot is None or await self.slots.learn(slot) == 1:
            return error
        telemetry.CONNECTIONS_REFUSED.labels("account").inc()
        return NoConnection(error.message, wait=MOMENT)

    def _keep(self, key: Key, session: Session) -> None:
        self._drop(key)
        self._kept[key] = session
        if len(self._kept) > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        if (session := self._kept.pop(key, None)) is not None:
            self._over.append(session)
        self.listening.drop(key)

    def _over_with(self, session: Session) -> None:
        self._over.append(session)
        self._is_more.set()

    def interval(self, key: Key, every: timedelta) -> timedelta:
        """How soon an account is to be polled again: more often where its server tells of one folder only."""
        watcher = self.listening.watcher
        return watcher.interval(key, every) if watcher and key in self.listening else every

    def _has_room(self, session: Session) -> bool:
        refusing = self._refusing.get(session.host, 0.0) > monotonic()
        is_ours = session.slot is None or not session.slot.wanted.is_set()
        return self._most > 0 and not refusing and not session.is_wanted and is_ours

    @contextmanager
    def _noticing(self, host: str) -> Iterator[None]:
        """A host that refuses a login may count what is kept of it, here or elsewhere."""
        try:
            yield
        except (UnknownHost, PortClosed):
            raise
        except (ServerRefused, Unreachable):
            if any(session.host == host for session in self._kept.values()):
                self._tell(SESSIONS, f"host {host}")
                self._hear(f"host {host}")
            raise

    async def hear(self, hints: Hints) -> None:
        """Close what other processes want closed. For ever."""
        with hints.hear(SESSIONS) as hearing:
            async for hint in hearing:
                self._hear(hint or "")
                await self._close_over()

    def _hear(self, hint: str) -> None:
        match hint.split(" "):
            case ["account", tenant, account] if tenant.isdecimal() and account.isdecimal():
                self._drop((TenantId(int(tenant)), AccountId(int(account))))
            case ["wait", tenant, account] if tenant.isdecimal() and account.isdecimal():
                key = (TenantId(int(tenant)), AccountId(int(account)))
                if not self.listening.further.give_way(key):
                    self._drop(key)
                for session in self._lent:
                    session.is_wanted |= session.target.key == key
            case ["room", host]:
                self._make_room(host)
            case ["host", host]:
                self._refusing[host] = monotonic() + REFUSED.total_seconds()
                for key in [key for key, session in self._kept.items() if session.host == host]:
                    self._drop(key)

    def _make_room(self, host: str) -> None:
        """Somebody wants a connection to a host of which there are as many as may be."""
        oldest = next((key for key, session in self._kept.items() if session.host == host), None)
        if oldest is not None:
            self._drop(oldest)

    async def expire(self) -> None:
        """Log out of those that were not used for long, or are old. For ever."""
        while True:
            self._is_more.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._is_more.wait()
            for key in [key for key, session in self._kept.items() if session.is_over]:
                self._drop(key)
            self.listening.expire()
            await self._close_over()

    async def _close_over(self) -> None:
        over, self._over = self._over, []
        await self._close(over)

    async def _close(self, sessions: Sequence[Session]) -> None:
        """Log out of these, and then give back their slots."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE):
                    await asyncio.gather(*(session.stack.aclose() for session in sessions))
        finally:
            await self._give_back(sessions)

    async def _give_back(self, sessions: Sequence[Session]) -> None:
        slots = [session.slot for session in sessions if session.slot is not None]
        if slots and self.slots is not None:
            await self.slots.give_back(slots)

    async def aclose(self) -> None:
        """Log out of all."""
        self._most = 0
        self.listening.drop_all()
        for key in list(self._kept):
            self._drop(key)
        await self._close_over()


@asynccontextmanager
async def open_pool(hints: Hints, slots: Slots | None = None, *, share: int = 0) -> AsyncIterator[Pool]:
    """Mailboxes are kept for as long as the block runs."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = Pool(min(MOST, files // SHARE), hints.tell, slots, share)
    async with aclosing(kept), beside(kept.expire(), kept.hear(hints)):
        yield kept
