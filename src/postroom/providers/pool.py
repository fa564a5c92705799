"""Connections to mail servers: each is lent, and some are kept for a while, so that nobody need log in again.

lend ──┬─ one is kept ──> does it still stand? ──┬─ yes ──> used ──> at rest ──> kept
       │                                         └─ no ───┐
       └─ none is ──> others close theirs ─> a slot ─> log in ─> used ...

Only accounts that are polled more often than every `IDLE` gain by it. Only one that ended well is kept, for
`IDLE` after its last use and for `LIFE` in all: a server may believe for ever what it believes of a session's
folders. One that has died says nothing of the server or the account: its user gets a new one, in its slot.

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
    AbstractAsyncContextManager,
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
from postroom.errors import PostroomError, TryLater
from postroom.ids import AccountId, TenantId

from .hosts import Hosts
from .model import (
    Incomplete,
    Mailbox,
    NoConnection,
    OpenFolder,
    PortClosed,
    Purpose,
    RemoteFolder,
    SentAway,
    ServerRefused,
    Target,
    TooMany,
    UnknownHost,
    Unreachable,
)
from .slots import SESSIONS, Slot, Slots

IDLE = timedelta(minutes=5)
LIFE = timedelta(hours=1)
REFUSED = timedelta(days=1)  # that a host is remembered which refused a login
TRUSTED = timedelta(seconds=10)  # after its last use: nobody asks whether it still stands
LOOK_EVERY = 15.0  # seconds, for those whose time is over
PATIENCE = 10.0  # seconds for an answer that costs a server nothing
GOODBYE = 3.0  # seconds for all that are closed together
MOMENT = timedelta(seconds=2)  # for a slot, where it is a worker that waits
WHILE = timedelta(seconds=30)  # the same, where it is a person
MOST = 500
SHARE = 4  # of the files that a process may open, one in so many is a mailbox that is kept

Opening = AbstractAsyncContextManager[Mailbox]
Key = tuple[TenantId, AccountId]


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
        self._kept: dict[Key, _Session] = {}  # the longest unused first
        self._lent: set[_Session] = set()
        self._over: list[_Session] = []  # to be closed
        self._refusing: dict[str, float] = {}  # hosts, and until when

    def check(self, target: Target) -> None:
        """Raises `NoConnection` where `lend` would, as far as that is known without asking anybody."""
        self._hosts.check(target.host, monotonic())

    @asynccontextmanager
    async def lend(
        self,
        target: Target,
        opening: Opening,
        *,
        often: bool,
        anew: bool = False,
        purpose: Purpose = Purpose.SYNC,
    ) -> AsyncIterator[Mailbox]:
        """The account's mailbox, by its credentials of today: one that was kept, or what `opening` opens.

        `often`: it will be wanted again within `IDLE`. `anew`: what was kept will not do. Raises what
        `opening` does, and `NoConnection`.
        """
        self.check(target)
        session = self._kept.pop(target.key, None)
        if session is not None and (anew or session.version != target.version):
            await self._close([session])
            session = None
        if session is None:
            session = _Session(target, purpose, self)
            if often:
                self._tell(SESSIONS, of_account(*target.key))
        with self._using(session):
            async with AsyncExitStack() as end:
                end.push_async_callback(self._give_back, [session])
                end.push_async_exit(session.stack)
                with self._noticing(session.host):
                    await session.begin(opening)
                yield session
                if often and self._has_room(session) and await session.rest() and self._has_room(session):
                    end.pop_all()
                    self._keep(target.key, session)

    @contextmanager
    def _using(self, session: "_Session") -> Iterator[None]:
        """Count it among those in use, and learn of the host from how that ends."""
        went: bool | None = None
        self._hosts.begin(session.host)
        self._lent.add(session)
        telemetry.CONNECTIONS_USED.inc()
        try:
            yield
            went = True
        except (Unreachable, ServerRefused, Incomplete):
            went = False
            raise
        finally:
            telemetry.CONNECTIONS_USED.dec()
            self._lent.discard(session)
            self._hosts.end(session.host, monotonic(), went=went, roll=random.random())

    async def _slot(self, target: Target, purpose: Purpose) -> Slot | None:
        if self.slots is None or not target.host:
            return None
        try:
            return await self.slots.take(target, purpose, MOMENT if purpose is Purpose.SYNC else WHILE)
        except NoConnection as error:
            if error.data.get("is_of_host"):
                raise self._hosts.turned_away(target.host, error.message) from error
            raise

    @asynccontextmanager
    async def opened(self, target: Target, opening: Opening, slot: Slot | None) -> AsyncIterator[Mailbox]:
        """What `opening` opens, within the time that its host may take."""
        number, seconds = self._hosts.opens(target.host, monotonic())
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(seconds):
                    mailbox = await stack.enter_async_context(opening)
            except TimeoutError:
                raise self._hosts.turned_away(target.host, "It is slow to let us in.") from None
            except TooMany as error:
                raise await self._learnt(slot, error) from error
            finally:
                self._hosts.opened(target.host, number, monotonic())
            telemetry.CONNECTIONS_OPEN.inc()
            stack.callback(telemetry.CONNECTIONS_OPEN.dec)
            yield mailbox

    async def _learnt(self, slot: Slot | None, error: TooMany) -> PostroomError:
        """Of one that is refused for the sake of others of ours: with one less all goes on."""
        if self.slots is None or slot is None or await self.slots.learn(slot) == 1:
            return error
        telemetry.CONNECTIONS_REFUSED.labels("account").inc()
        return NoConnection(error.message, wait=MOMENT)

    def _keep(self, key: Key, session: "_Session") -> None:
        self._drop(key)
        self._kept[key] = session
        if len(self._kept) > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        if (session := self._kept.pop(key, None)) is not None:
            self._over.append(session)

    def _has_room(self, session: "_Session") -> bool:
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
            await asyncio.sleep(LOOK_EVERY)
            for key in [key for key, session in self._kept.items() if session.is_over]:
                self._drop(key)
            await self._close_over()

    async def _close_over(self) -> None:
        over, self._over = self._over, []
        await self._close(over)

    async def _close(self, sessions: Sequence["_Session"]) -> None:
        """Log out of these, and then give back their slots."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE):
                    await asyncio.gather(*(session.stack.aclose() for session in sessions))
        finally:
            await self._give_back(sessions)

    async def _give_back(self, sessions: Sequence["_Session"]) -> None:
        slots = [session.slot for session in sessions if session.slot is not None]
        if slots and self.slots is not None:
            await self.slots.give_back(slots)

    async def aclose(self) -> None:
        """Log out of all."""
        self._most = 0
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


class _Session:
    """An open mailbox, and itself a `Mailbox`: one that was kept and has died is opened anew."""

    _mailbox: Mailbox

    def __init__(self, target: Target, purpose: Purpose, pool: Pool) -> None:
        self.target, self._purpose, self._pool = target, purpose, pool
        self.stack = AsyncExitStack()  # closes it
        self.slot: Slot | None = None
        self.is_wanted = False  # somebody waits for a slot of its account
        self._opening: Opening | None = None  # as long as it may be needed: it knows the password
        self._opened_at = self._used_at = 0.0

    @property
    def host(self) -> str:
        return self.target.host

    @property
    def version(self) -> int:
        return self.target.version

    @property
    def is_over(self) -> bool:
        now = monotonic()
        return (
            now - self._used_at > IDLE.total_seconds()
            or now - self._opened_at > LIFE.total_seconds()
            or (self.slot is not None and self.slot.wanted.is_set())
        )

    async def begin(self, opening: Opening) -> None:
        if not self._opened_at:
            self.slot = await self._pool._slot(self.target, self._purpose)
            await self._open(opening)
        elif self._is_trusted or await self._stands():
            self._opening = opening
        else:
            await self._open(opening, "it had died")

    @property
    def _is_trusted(self) -> bool:
        return monotonic() - self._used_at <= TRUSTED.total_seconds()

    async def _stands(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._mailbox.ping()
        except (PostroomError, TimeoutError):
            return False
        return True

    async def _open(self, opening: Opening, again: str | None = None) -> None:
        if again is not None:
            telemetry.RECONNECTS.labels(again).inc()
        await self.stack.aclose()
        opened = self._pool.opened(self.target, opening, self.slot)
        self._mailbox = await self.stack.enter_async_context(opened)
        self._opened_at = monotonic()

    @property
    def speed(self) -> float | None:
        return self._mailbox.speed

    async def folders(self) -> Sequence[RemoteFolder]:
        """Of one that was kept this is the first that is asked; who refuses it is logged in to again."""
        opening, self._opening = self._opening, None
        if opening is not None:
            try:
                return await self._mailbox.folders()
            except TryLater as error:
                if isinstance(error, SentAway) and await self.rest():
                    raise  # it stands; the server wants less of us, not another login
                await self._open(opening, "it refused the list")
        return await self._mailbox.folders()

    async def open(self, folder: RemoteFolder) -> OpenFolder:
        return await self._mailbox.open(folder)

    async def ping(self) -> None:
        await self._mailbox.ping()

    async def rest(self) -> bool:
        """Whether it can be kept."""
        self._used_at, self._opening = monotonic(), None
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._mailbox.rest()
        except (PostroomError, TimeoutError):
            return False
